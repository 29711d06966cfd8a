"""How far an encoder agrees with itself: what it saw of a spot from elsewhere, beside what it sees from here.

Depth tells which cells show the same spot, so no Gaussians are involved. What other views saw there differs in the mean
from what this one sees: a memory that holds one thing for each spot can be expected to come about as near, and where it
comes as near, the rest of the distance lies with the encoder.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.evaluation.fidelity import Fidelity, compare
from m3_ros.evaluation.teacher_views import TeacherView
from m3_ros.geometry.pose import apply, inverse
from m3_ros.recording import Frame

Seen = tuple[Frame, TeacherView]
"""A frame with depth, and what the encoder saw in it."""

_FROM = 40
"""Views that a spot is looked for in: the nearest by place and direction."""
_TURN_M = 1.0
"""Distance that counts as much as a right angle between two views [m]."""
_LEAST = 16
"""Looks that other views must have had at a cell for it to count, at most one at each of _POINTS."""
_POINTS = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
"""Where in a cell spots are taken."""
_WITHIN = 0.03
"""Depths differ by less than this share and _WITHIN_M where the same spot is seen."""
_WITHIN_M = 0.02
"""See _WITHIN [m]."""


def view_agreement(held_out: Sequence[Seen], others: Sequence[Seen]) -> Fidelity:
    """Compare held-out views with the mean of what other views saw at the same spots.

    Args:
        held_out: views to compare with.
        others: views to take the means over.

    Returns:
        Distances; the mask tells the spots that enough views saw. None are known without depth.
    """
    means, known = [], []
    for seen in held_out:
        mean, looks = _mean_of_spots(seen, _nearest(seen[0], others))
        means.append(mean)
        known.append(replace(seen[1], valid=seen[1].valid & (looks >= _LEAST).reshape(seen[1].valid.shape)))
    return compare(known, means)


def _mean_of_spots(seen: Seen, others: Sequence[Seen]) -> tuple[Float[Tensor, "n D"], Int[Tensor, " n"]]:
    """Return the mean feature of other views at the spots of each cell, and how often they saw one."""
    frame, view = seen
    rows, columns = view.valid.shape
    sums, count = torch.zeros(rows * columns, view.dim), torch.zeros(rows * columns, dtype=torch.long)
    for (other, what), point in product(others, _POINTS):
        spots, there = _spots(frame, rows, columns, point)
        cell, visible = _cells_of(spots, other, what.valid.shape[0], what.valid.shape[1])
        visible &= there & what.valid.reshape(-1)[cell]
        sums[visible] += what.features.reshape(-1, view.dim)[cell[visible]].float()
        count += visible
    return sums / count.clamp(min=1)[:, None], count


def _spots(
    frame: Frame, rows: int, columns: int, point: tuple[float, float]
) -> tuple[Float[NDArray[np.float64], "n 3"], Bool[Tensor, " n"]]:
    """Return the point of the map [m] at a place in each cell, and whether depth is known there."""
    v, u = np.meshgrid((np.arange(rows) + point[1]) / rows, (np.arange(columns) + point[0]) / columns, indexing="ij")
    i, j = (v * frame.camera.height).astype(int).ravel(), (u * frame.camera.width).astype(int).ravel()
    points = frame.camera.unproject(_depth(frame))[i, j]
    known = np.isfinite(points[:, 2]) & (points[:, 2] > 0)
    return apply(frame.T_map_camera, points.astype(np.float64)), torch.from_numpy(known)


def _cells_of(
    spots: Float[NDArray[np.float64], "n 3"], frame: Frame, rows: int, columns: int
) -> tuple[Int[Tensor, " n"], Bool[Tensor, " n"]]:
    """Return the cell of a view that each spot lies in, and whether the view sees it there."""
    camera, points = frame.camera, apply(inverse(frame.T_map_camera), spots)
    u, v = np.nan_to_num(camera.project(points), nan=-1.0).T
    inside = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    i, j = np.where(inside, v, 0).astype(int), np.where(inside, u, 0).astype(int)
    near = np.abs(_depth(frame)[i, j] - points[:, 2]) < _WITHIN * points[:, 2] + _WITHIN_M
    cell = (i * rows // camera.height) * columns + j * columns // camera.width
    return torch.from_numpy(cell), torch.from_numpy(inside & near)


def _depth(frame: Frame) -> Float[NDArray[np.float32], "H W"]:
    """Return z-depth [m], 0 where it is not known."""
    return np.zeros(frame.rgb.shape[:2], np.float32) if frame.depth is None else frame.depth


def _nearest(frame: Frame, others: Sequence[Seen]) -> list[Seen]:
    def far(other: Seen) -> float:
        T, S = frame.T_map_camera, other[0].T_map_camera
        return float(np.linalg.norm(T[:3, 3] - S[:3, 3]) + _TURN_M * (1 - T[:3, 2] @ S[:3, 2]))

    return sorted(others, key=far)[:_FROM]
