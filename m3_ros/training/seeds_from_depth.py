"""Points of surfaces out of depth images, measured or estimated."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from m3_ros.geometry.pose import apply
from m3_ros.recording.frame import Frame
from m3_ros.recording.keyframes import resize_frame
from m3_ros.training.plane_sweep import SweptView
from m3_ros.training.seeds import Samples

_MAX_SAMPLES = 2_000_000
"""Pixels looked at in all; more cost time and change nothing."""
_SWEPT_EDGE_PX = 1
"""Estimated depth so near to a depth edge is not used [px]."""
_EDGE_RATIO = 0.08
"""Relative depth step that counts as an edge."""


def depth_samples(frames: Sequence[Frame], edge_px: int) -> Samples:
    """Return point, colour and normal of the pixels whose depth can be relied on, thinned out where they are many."""
    stride = _stride(frames)
    return np.concatenate([np.zeros((0, 9), np.float32), *(_frame_samples(f, edge_px, stride) for f in frames)])


def swept_samples(frames: Sequence[Frame], views: Sequence[SweptView]) -> tuple[Samples, Samples]:
    """Return the samples of confirmed depth and those of mere guesses."""
    small = [resize_frame(frames[view.frame], view.depth.shape[1]) for view in views]
    known = [replace(frame, depth=view.depth) for frame, view in zip(small, views, strict=True)]
    guessed = [replace(frame, depth=view.guess) for frame, view in zip(small, views, strict=True)]
    return depth_samples(known, _SWEPT_EDGE_PX), depth_samples(guessed, _SWEPT_EDGE_PX)


def reliable_depth(depth: Float[NDArray[np.float32], "H W"], edge_px: int) -> Bool[NDArray[np.bool_], "H W"]:
    """Tell which pixels hold a depth and have no depth edge within `edge_px` pixels."""
    import cv2

    known = np.isfinite(depth) & (depth > 0)
    if edge_px == 0 or not known.any():
        return known
    kernel = np.ones((2 * edge_px + 1, 2 * edge_px + 1), np.uint8)
    safe = np.where(known, depth, 0).astype(np.float32)
    far = cv2.dilate(safe, kernel)
    near = cv2.erode(np.where(known, safe, np.float32(1e9)), kernel)
    return np.asarray(known & (far - near < _EDGE_RATIO * near * (1 + edge_px)))


def normals_of(points: Float[NDArray[np.float32], "H W 3"]) -> Float[NDArray[np.float32], "H W 3"]:
    """Return unit normals of a grid of points [m] from its central differences; zero where they vanish."""
    du = np.gradient(points, axis=1)
    dv = np.gradient(points, axis=0)
    normals = np.cross(du, dv)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.asarray(normals / np.maximum(length, 1e-12), np.float32)


def _stride(frames: Sequence[Frame]) -> int:
    pixels = sum(frame.camera.width * frame.camera.height for frame in frames if frame.depth is not None)
    return max(1, int(np.ceil(np.sqrt(pixels / _MAX_SAMPLES))))


def _frame_samples(frame: Frame, edge_px: int, stride: int) -> Samples:
    if frame.depth is None or min(frame.depth.shape) < 2:
        return np.zeros((0, 9), np.float32)
    mask = reliable_depth(frame.depth, edge_px)
    local = frame.camera.unproject(np.where(np.isfinite(frame.depth), frame.depth, np.float32(0)))
    normals = normals_of(local)[::stride, ::stride]
    picked = mask[::stride, ::stride]
    points = apply(frame.T_map_camera, local[::stride, ::stride][picked].astype(np.float64))
    turned = normals[picked] @ frame.T_map_camera[:3, :3].T
    colours = frame.rgb[::stride, ::stride][picked] / np.float32(255)
    return np.concatenate([points, colours, turned], axis=1).astype(np.float32)
