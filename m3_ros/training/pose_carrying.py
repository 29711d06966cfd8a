"""Corrections of training poses carried over to frames between them, whose own pixels must not be used."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.training.twists import exp, rotation_vector

Stack = Float[NDArray[np.float64], "V 4 4"]

_REACHES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Candidates for how many keyframes on either side have a say; 0: nobody, the correction is none."""
_METRES_PER_RADIAN = 1.5
"""Weighs turns against shifts: about what they do to a picture of things at this distance."""


def carry(given: Stack, refined: Stack, frames: Sequence[int], others: Stack, numbers: Sequence[int]) -> Stack:
    """Return the poses of other frames, moved as the training frames around them were.

    Drift is common to neighbours and is undone; noise of each frame is not, and then nothing is carried. How many
    neighbours have a say is what predicts each training correction best from the others.

    Args:
        given: training poses T_map_camera as they came.
        refined: the same, corrected.
        frames: their numbers, ascending.
        others: poses of the other frames as they came.
        numbers: their numbers.
    """
    if len(given) < 3:
        return others.copy()
    at, targets = np.asarray(frames, np.float64), np.asarray(numbers, np.float64)
    errors = [_left_out_error(given, refined, at, reach) for reach in _REACHES]
    reach = _REACHES[int(np.argmin(errors))]
    return _moved(others, _predicted(given, refined, at, others, targets, reach))


def _left_out_error(given: Stack, refined: Stack, at: NDArray[np.float64], reach: float) -> float:
    """Return the mean squared error of predicting each correction from those of the other frames [m^2]."""
    truth = _motions(given, refined, given)[np.arange(len(given)), np.arange(len(given))]
    difference = _predicted(given, refined, at, given, at, reach) - truth
    difference[:, 3:] *= _METRES_PER_RADIAN
    return float(np.square(difference).sum(1).mean())


def _predicted(
    given: Stack, refined: Stack, at: NDArray[np.float64], others: Stack, targets: NDArray[np.float64], reach: float
) -> Float[NDArray[np.float64], "M 6"]:
    """Return the shift [m] and turn [rad] of each other pose: the mean of its neighbours' by distance in frames."""
    if reach == 0 or len(others) == 0:
        return np.zeros((len(others), 6))
    gap = np.abs(at - targets[:, None])
    nearest = np.where(gap > 0, gap, np.inf).min(1, keepdims=True)
    weight = np.where(gap > 0, np.exp(-0.5 * ((gap - nearest) / reach) ** 2), 0)
    weight /= weight.sum(1, keepdims=True)
    return np.asarray(np.einsum("mv,mvi->mi", weight, _motions(given, refined, others)))


def _motions(given: Stack, refined: Stack, others: Stack) -> Float[NDArray[np.float64], "M V 6"]:
    """Return what each correction, as a motion of the map, would do to each pose: shift [m] and turn [rad]."""
    turns = refined[:, :3, :3] @ given[:, :3, :3].transpose(0, 2, 1)
    arms = others[:, None, :3, 3] - given[:, :3, 3]
    shifts = refined[:, :3, 3] + np.einsum("vij,mvj->mvi", turns, arms) - others[:, None, :3, 3]
    vectors = np.stack([rotation_vector(R) for R in turns])
    return np.concatenate([shifts, np.broadcast_to(vectors, shifts.shape)], axis=2)


def _moved(poses: Stack, motions: Float[NDArray[np.float64], "M 6"]) -> Stack:
    """Shift and turn poses about their own centres."""
    result = poses.copy()
    for pose, motion in zip(result, motions, strict=True):
        pose[:3, :3] = exp(np.concatenate([np.zeros(3), motion[3:]]))[:3, :3] @ pose[:3, :3]
        pose[:3, 3] += motion[:3]
    return result
