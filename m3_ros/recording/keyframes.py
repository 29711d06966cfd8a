"""Keyframes: one sharp picture for each bit of motion."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from m3_ros.geometry.pose import Transform
from m3_ros.recording.frame import Frame


@dataclass(frozen=True)
class KeyframeSettings:
    """How frames are thinned out."""

    min_translation_m: Annotated[float, ">= 0"] = 0.08
    """Motion that ends a window, from which the sharpest frame is kept [m]."""
    min_rotation_rad: Annotated[float, ">= 0"] = 0.12
    """Rotation that ends a window [rad]."""
    min_relative_sharpness: Annotated[float, "0..1"] = 0.4
    """A keyframe less sharp than this share of its neighbours' median is dropped as blurred; 0 keeps all."""
    max_keyframes: Annotated[int, ">= 1"] = 300
    """Where more would be kept, the closest pairs are merged; bounds memory."""
    max_width: Annotated[int, ">= 0"] = 640
    """Wider frames are scaled down to this width [px]; 0 keeps the size."""


@dataclass(frozen=True)
class _Candidate:
    """A frame with its sharpness."""

    frame: Frame
    sharpness: float


NEIGHBOURS = 3
"""Keyframes on either side that sharpness is compared with."""


def select_keyframes(frames: Iterable[Frame], settings: KeyframeSettings | None = None) -> list[Frame]:
    """Keep the sharpest frame of each motion window, in order; holds at most `max_keyframes` + 2 frames at a time."""
    chosen = settings or KeyframeSettings()
    kept: list[_Candidate] = []
    anchor: Transform | None = None
    best: _Candidate | None = None
    for frame in frames:
        if best is not None and (anchor is None or _moved(anchor, frame.T_map_camera, chosen)):
            _keep(kept, best, chosen)
            best = None
        if best is None:
            anchor = frame.T_map_camera
        value = sharpness(frame.rgb)
        if best is None or value > best.sharpness:
            best = _Candidate(_bounded(frame, chosen.max_width), value)
    if best is not None:
        _keep(kept, best, chosen)
    return [candidate.frame for candidate in _without_blurred(kept, chosen.min_relative_sharpness)]


def sharpness(rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> float:
    """Return the variance of the Laplacian of the grey image; low where the picture is blurred, or has no texture."""
    import cv2

    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def resize_frame(frame: Frame, width: int) -> Frame:
    """Scale a frame to a width [px]: colours by area, depth by nearest pixel, the camera with them."""
    if width == frame.camera.width:
        return frame
    import cv2

    size = (width, max(1, round(frame.camera.height * width / frame.camera.width)))
    way = cv2.INTER_AREA if width < frame.camera.width else cv2.INTER_LINEAR
    rgb = np.asarray(cv2.resize(frame.rgb, size, interpolation=way), np.uint8)
    depth = None
    if frame.depth is not None:
        depth = np.asarray(cv2.resize(frame.depth, size, interpolation=cv2.INTER_NEAREST_EXACT), np.float32)
    return replace(frame, rgb=rgb, camera=frame.camera.scaled(*size), depth=depth)


def motion_between(T_map_a: Transform, T_map_b: Transform) -> tuple[float, float]:
    """Return how far [m] and by what angle [rad] two poses differ."""
    cosine = (np.trace(T_map_a[:3, :3].T @ T_map_b[:3, :3]) - 1) / 2
    distance = float(np.linalg.norm(T_map_a[:3, 3] - T_map_b[:3, 3]))
    return distance, float(np.arccos(np.clip(cosine, -1, 1)))


def _moved(T_map_a: Transform, T_map_b: Transform, settings: KeyframeSettings) -> bool:
    distance, angle = motion_between(T_map_a, T_map_b)
    return distance >= settings.min_translation_m or angle >= settings.min_rotation_rad


def _bounded(frame: Frame, max_width: int) -> Frame:
    return frame if max_width == 0 or frame.camera.width <= max_width else resize_frame(frame, max_width)


def _keep(kept: list[_Candidate], candidate: _Candidate, settings: KeyframeSettings) -> None:
    """Append a keyframe; if there are too many then, drop the blurrier of the closest neighbours."""
    kept.append(candidate)
    if len(kept) <= settings.max_keyframes or len(kept) < 2:
        return
    gaps = [_gap(a, b, settings) for a, b in pairwise(kept)]
    i = int(np.argmin(gaps))
    kept.pop(i if kept[i].sharpness <= kept[i + 1].sharpness else i + 1)


def _gap(a: _Candidate, b: _Candidate, settings: KeyframeSettings) -> float:
    """Measure the motion between two keyframes in windows."""
    distance, angle = motion_between(a.frame.T_map_camera, b.frame.T_map_camera)
    return distance / max(settings.min_translation_m, 1e-6) + angle / max(settings.min_rotation_rad, 1e-6)


def _without_blurred(kept: list[_Candidate], share: float) -> list[_Candidate]:
    """Leave out keyframes much less sharp than their neighbours: plain walls come in runs, blur does not."""
    values = np.array([candidate.sharpness for candidate in kept])
    sharp = []
    for i, candidate in enumerate(kept):
        around = np.delete(values[max(0, i - NEIGHBOURS) : i + NEIGHBOURS + 1], min(i, NEIGHBOURS))
        if around.size == 0 or candidate.sharpness >= share * float(np.median(around)):
            sharp.append(candidate)
    return sharp
