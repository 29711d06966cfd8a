"""Which keyframes saw an object: its points inside the picture and not behind anything."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch.nn import functional

from m3_ros.geometry.pose import inverse
from m3_ros.memory.spatial_memory import SpatialMemory

_GRID_WIDTH = 56
_MAX_POINTS = 400
_NEAREST_M = 0.05
_WIDEST_GAP = 3
"""Gaps in a surface narrower than this are closed [cells], an odd number; edges stay where they are."""


class ViewIndex:
    """Coarse depth of every keyframe, from the Gaussians' centres alone: cheap, and it tells what hides what."""

    def __init__(self, memory: SpatialMemory) -> None:
        frames = memory.keyframes
        cameras = [c.scaled(_GRID_WIDTH, max(1, round(c.height * _GRID_WIDTH / c.width))) for c in frames.cameras]
        lenses = [(c.fx, c.fy, c.cx, c.cy, c.width, c.height) for c in cameras]
        self._lenses = np.array(lenses, np.float32).reshape(-1, 6, 1)
        poses = [inverse(T) for T in frames.T_map_camera]
        self._T_camera_map = np.array(poses, np.float32).reshape(-1, 4, 4)
        self._means = memory.gaussians.means.numpy()
        self._depths = np.full((len(cameras), max((c.height for c in cameras), default=1), _GRID_WIDTH), np.inf, "f4")
        solid = memory.seen & (memory.gaussians.opacities > 0.3)
        points = self._means[solid.numpy()]
        for view in range(len(cameras)):
            row, column, z, inside = self._cells(slice(view, view + 1), points[self._in_front(view, points)])
            np.minimum.at(self._depths[view], (row[inside], column[inside]), z[inside])
        self._depths = _closed(self._depths)  # a wall has gaps between its centres, through which nothing is seen

    def best(self, gaussians: torch.Tensor, count: int) -> tuple[int, ...]:
        """Return the keyframes that show most of these Gaussians, best first; those that show none are left out."""
        return self.seeing(gaussians, 0.0)[:count]

    def seeing(self, gaussians: torch.Tensor, least: float = 0.05) -> tuple[int, ...]:
        """Return the keyframes that show these Gaussians, best first.

        Args:
            gaussians: which of them, as a mask.
            least: views that score this share of the best one's score, or less, are left out.
        """
        points = self._means[gaussians.numpy()]
        scores = self._scores(points[:: max(1, len(points) // _MAX_POINTS)])
        order = np.argsort(-scores, kind="stable")
        return tuple(int(i) for i in order if scores[i] > least * scores.max())

    def _in_front(self, view: int, points: Float[NDArray[np.float32], "n 3"]) -> Bool[NDArray[np.bool_], " n"]:
        T = self._T_camera_map[view]
        return np.asarray(points @ T[2, :3] + T[2, 3] > _NEAREST_M)

    def _cells(
        self, views: slice, points: Float[NDArray[np.float32], "n 3"]
    ) -> tuple[
        Int[NDArray[np.int64], "V n"],
        Int[NDArray[np.int64], "V n"],
        Float[NDArray[np.float32], "V n"],
        Bool[NDArray[np.bool_], "V n"],
    ]:
        """Return in which row and column of some views points lie, how deep, and whether inside the picture."""
        T = self._T_camera_map[views]
        x, y, z = np.moveaxis(T[:, :3, :3] @ points.T + T[:, :3, 3:], 1, 0)
        fx, fy, cx, cy, width, height = np.moveaxis(self._lenses[views], 1, 0)
        depth = np.maximum(z, _NEAREST_M)
        u, v = fx * x / depth + cx, fy * y / depth + cy
        inside = (z > _NEAREST_M) & (u >= 0) & (v >= 0) & (u < width) & (v < height)
        return np.where(inside, v, 0).astype(np.int64), np.where(inside, u, 0).astype(np.int64), z, inside

    def _scores(self, points: Float[NDArray[np.float32], "n 3"]) -> Float[NDArray[np.float64], " V"]:
        """Weigh the share of points in plain sight by how large they appear, up to a distance of one metre."""
        if len(points) == 0 or len(self._depths) == 0:
            return np.zeros(len(self._depths))
        row, column, z, inside = self._cells(slice(None), points)
        shown = inside & (z <= self._depths[np.arange(len(row))[:, None], row, column] * 1.05 + 0.15)
        return np.asarray((shown / np.maximum(z, 1.0)).mean(axis=1), np.float64)


def _closed(depths: Float[NDArray[np.float32], "V h w"]) -> Float[NDArray[np.float32], "V h w"]:
    """Give gaps in near surfaces the depth of what is around them: the nearest in reach, then the farthest of those."""
    if len(depths) == 0:
        return depths
    nearness = functional.max_pool2d(-torch.from_numpy(depths)[:, None], _WIDEST_GAP, 1, _WIDEST_GAP // 2)
    return functional.max_pool2d(-nearness, _WIDEST_GAP, 1, _WIDEST_GAP // 2)[:, 0].numpy()
