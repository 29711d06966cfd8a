"""Oddities of frames that training survives but its user should hear of."""

import logging
from collections.abc import Sequence

import numpy as np

from m3_ros.errors import TrainingError
from m3_ros.recording.frame import Frame

_BLACK = 8
"""A picture whose brightest pixel is below this (of 255) is black."""
_BASELINE_M = 0.01
"""Cameras that are all nearer together than this see no parallax [m]."""

_log = logging.getLogger(__name__)


def check_frames(frames: Sequence[Frame]) -> tuple[str, ...]:
    """Log and return a warning for each oddity of the frames.

    Raises:
        TrainingError: there are none.
    """
    if not frames:
        raise TrainingError("the geometry stage needs at least one posed picture; got none: check the recording")
    warnings = [text for text in (_black(frames), _broken_depth(frames), _no_parallax(frames)) if text]
    for text in warnings:
        _log.warning("%s", text)
    return tuple(warnings)


def _black(frames: Sequence[Frame]) -> str:
    count = sum(int(frame.rgb.max()) < _BLACK for frame in frames)
    return f"black pictures: {count} of {len(frames)}: check lens cap, exposure and topic" if count else ""


def _broken_depth(frames: Sequence[Frame]) -> str:
    count = sum(frame.depth is not None and not np.isfinite(frame.depth).all() for frame in frames)
    return f"broken depth: {count} depth images hold nan or inf: those pixels are ignored" if count else ""


def _no_parallax(frames: Sequence[Frame]) -> str:
    """Tell whether the cameras stood still: pictures from one place do not say how far things are."""
    centres = np.stack([frame.T_map_camera[:3, 3] for frame in frames])
    if len(frames) > 1 and float(np.ptp(centres, axis=0).max()) >= _BASELINE_M:
        return ""
    if len(frames) == 1:
        return "no parallax: there is one picture only: record a walk of several metres"
    depth = any(frame.depth is not None for frame in frames)
    return (
        f"no parallax: all {len(frames)} pictures were taken from one place"
        f"{'' if depth else ' and have no depth, so distances are guessed'}: "
        "check that odometry runs, and record a walk of several metres"
    )
