"""Camera poses corrected before a field is trained: from features that the pictures share, by bundle adjustment.

Refining against the growing field instead was tried: the details that it does not show yet pull exact poses away.
Features do not depend on the field, and seeds and depth from several pictures profit too.
"""

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.geometry.pose import inverse, transform
from m3_ros.recording.frame import Frame
from m3_ros.recording.keyframes import motion_between
from m3_ros.training.bundle_adjustment import adjust
from m3_ros.training.geometry_result import PoseReport
from m3_ros.training.pose_carrying import carry
from m3_ros.training.tracks import Check, Features, find_features, find_tracks, line_errors_px
from m3_ros.training.twists import exp, rotation_vector

Stack = Float[NDArray[np.float64], "V 4 4"]
"""T_map_camera of several cameras."""

_DISAGREEMENT_PX = 0.7
"""Median distance of matches from where poses allow them above which poses are refined [px]."""
_PROBED_PAIRS = 20
"""Pairs of successive pictures that tell whether poses are to be refined."""
_LEAST_FRAMES = 3
"""Fewer cameras have nothing to agree on."""

_log = logging.getLogger(__name__)


def refine_poses(
    frames: Sequence[Frame],
    training: Sequence[int],
    mode: Literal["auto", "on"],
    edge_px: int,
    check: Check = lambda: None,
) -> Float[NDArray[np.float64], "F 4 4"] | None:
    """Return corrected poses of all frames, or None where there is nothing to correct.

    Only training pictures are looked at; the others are moved as those around them are.

    Args:
        frames: posed pictures.
        training: numbers of those whose pixels may be used, ascending.
        mode: auto corrects only where matches contradict the poses.
        edge_px: depth so near to a depth edge is not used [px].
        check: called during slow work; may raise to stop.
    """
    if len(training) < _LEAST_FRAMES:
        return None
    chosen = [frames[i] for i in training]
    pictures = _Pictures(chosen, edge_px, check)
    if mode == "auto" and pictures.disagreement_px() < _DISAGREEMENT_PX:
        return None
    given = np.stack([frame.T_map_camera for frame in frames])
    Ks = np.stack([frame.camera.K for frame in chosen])
    tracks = find_tracks(chosen, [pictures.features(i) for i in range(len(chosen))], check)
    refined = adjust(given[list(training)], Ks, tracks, check)
    refined = without_common_motion(given[list(training)], refined)
    others = [i for i in range(len(frames)) if i not in set(training)]
    result = given.copy()
    result[list(training)] = refined
    result[others] = carry(given[list(training)], refined, training, given[others], others)
    return result


class _Pictures:
    """Pictures and their features, found when they are first asked for."""

    def __init__(self, frames: Sequence[Frame], edge_px: int, check: Check) -> None:
        self._frames, self._edge_px, self._check = frames, edge_px, check
        self._found: dict[int, Features] = {}

    def features(self, number: int) -> Features:
        """Return the features of a picture."""
        if number not in self._found:
            self._check()
            self._found[number] = find_features(self._frames[number], self._edge_px)
        return self._found[number]

    def disagreement_px(self) -> float:
        """Return how far matches of some successive pictures lie from where their poses allow them: the median [px]."""
        spread = np.linspace(0, len(self._frames) - 2, _PROBED_PAIRS).round().astype(int)
        errors = [
            line_errors_px(self._frames[a], self.features(a), self._frames[a + 1], self.features(a + 1))
            for a in np.unique(spread).tolist()
        ]
        together = np.concatenate(errors)
        median = float(np.median(together)) if len(together) else 0.0
        _log.info("%d matches of successive pictures miss by %.2f px (median)", len(together), median)
        return median


def without_common_motion(given: Stack, refined: Stack) -> Stack:
    """Return refined poses with the rigid motion that all cameras have in common undone: the map stays in place."""
    turns = [rotation_vector(b[:3, :3] @ a[:3, :3].T) for a, b in zip(given, refined, strict=True)]
    R = exp(np.concatenate([np.zeros(3), np.mean(turns, axis=0)]))[:3, :3]
    shift = (refined[:, :3, 3] - given[:, :3, 3] @ R.T).mean(0)
    return np.asarray(inverse(transform(R, shift)) @ refined)


def report(given: Stack, refined: Stack, psnr_before_db: float, psnr_after_db: float, seconds: float) -> PoseReport:
    """Return how far training poses were moved, what it was worth on held-out views [dB], and how long it took [s]."""
    pairs = zip(given, refined, strict=True)
    metres, radians = np.array([motion_between(a, b) for a, b in pairs]).T
    return PoseReport(
        float(metres.mean()), float(metres.max()), float(radians.mean()), float(radians.max()),
        psnr_before_db, psnr_after_db, seconds,
    )  # fmt: skip
