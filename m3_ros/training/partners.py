"""Which pictures show the same things from elsewhere: the ones worth matching with each other."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.recording.frame import Frame

_BEST_ANGLE = np.deg2rad(8.0)
"""Angle between two views of a point that matches best: less is inexact, more looks different."""
_PROBE_DEPTHS_M = (1.5, 3.0, 5.0)
"""Depths at which overlap is judged before any is known [m]."""
_LEAST_SCORE = 0.03
"""Score below which two pictures have nothing to say to each other."""


def match_scores(frames: Sequence[Frame], references: Sequence[int]) -> Float[NDArray[np.float64], "R N"]:
    """Return in [0, 1] how well each frame can be matched with each reference: overlap times goodness of angle.

    1 would be a frame that sees every probe of the reference at the best angle; a frame scores 0 with itself.
    """
    T = np.array([frame.T_map_camera for frame in frames])
    cameras = [frame.camera for frame in frames]
    fx, fy, cx, cy, width, height = (
        np.array([getattr(camera, name) for camera in cameras])[:, None]
        for name in ("fx", "fy", "cx", "cy", "width", "height")
    )
    scores = np.zeros((len(references), len(frames)))
    for row, i in enumerate(references):
        points = _probes(frames[i])
        to_others = points - T[:, None, :3, 3]
        x, y, z = np.moveaxis(to_others @ T[:, :3, :3], -1, 0)
        ahead = np.maximum(z, 1e-6)
        u, v = x / ahead * fx + cx, y / ahead * fy + cy
        seen = (z > 0.1) & (u > 0) & (v > 0) & (u < width) & (v < height)
        lengths = np.linalg.norm(to_others, axis=-1)
        cosine = (to_others * to_others[i]).sum(-1)
        ratio = np.arccos(np.clip(cosine / np.maximum(lengths * lengths[i], 1e-9), -1, 1)) / _BEST_ANGLE
        scores[row] = (seen * ratio * np.exp(1 - ratio)).mean(-1)
        scores[row, i] = 0
    return scores


def best_partners(scores: Float[NDArray[np.float64], "R N"], count: int) -> list[list[int]]:
    """Return for each reference the numbers of up to `count` frames that match it best, best first."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return [[int(j) for j in row if mine[j] > _LEAST_SCORE] for row, mine in zip(order, scores, strict=True)]


def _probes(frame: Frame) -> Float[NDArray[np.float64], "P 3"]:
    """Return points of the map [m] on a grid of the picture's rays."""
    camera = frame.camera
    u, v = np.meshgrid(np.linspace(0.1, 0.9, 5) * camera.width, np.linspace(0.1, 0.9, 5) * camera.height)
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], -1).reshape(-1, 3)
    local = np.concatenate([depth * rays for depth in _PROBE_DEPTHS_M])
    return np.asarray(local @ frame.T_map_camera[:3, :3].T + frame.T_map_camera[:3, 3])
