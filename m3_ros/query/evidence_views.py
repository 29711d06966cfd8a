"""Which keyframes saw an object: its points inside the picture and not behind anything."""

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.geometry.pose import apply, inverse
from m3_ros.memory import SpatialMemory

_GRID_WIDTH = 48
_MAX_POINTS = 400


class ViewIndex:
    """Coarse depth of every keyframe, from the Gaussians' centres alone: cheap, and it tells what hides what."""

    def __init__(self, memory: SpatialMemory) -> None:
        solid = memory.seen & (memory.gaussians.opacities > 0.3)
        self._keyframes = memory.keyframes
        self._means = memory.gaussians.means.numpy()
        points = self._means[solid.numpy()].astype(np.float64)
        self._depths = [self._depth(i, points) for i in range(len(memory.keyframes))]

    def best(self, gaussians: torch.Tensor, count: int) -> tuple[int, ...]:
        """Return the keyframes that show most of these Gaussians, best first; those that show none are left out."""
        points = self._means[gaussians.numpy()].astype(np.float64)
        points = points[:: max(1, len(points) // _MAX_POINTS)]
        scores = np.array([self._score(i, points) for i in range(len(self._depths))])
        order = np.argsort(-scores, kind="stable")[:count]
        return tuple(int(i) for i in order if scores[i] > 0)

    def _cells(
        self, view: int, points: Float[NDArray[np.float64], "n 3"]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        camera = self._keyframes.cameras[view]
        camera = camera.scaled(_GRID_WIDTH, max(1, round(camera.height * _GRID_WIDTH / camera.width)))
        local = apply(inverse(self._keyframes.T_map_camera[view]), points)
        uv = np.nan_to_num(camera.project(local), nan=-1.0, posinf=-1.0, neginf=-1.0)
        inside = (local[:, 2] > 0.05) & (uv >= 0).all(axis=1) & (uv < [camera.width, camera.height]).all(axis=1)
        column, row = np.where(inside[:, None], uv, 0).astype(np.int64).T
        return row, column, local[:, 2], inside

    def _depth(self, view: int, points: Float[NDArray[np.float64], "n 3"]) -> Float[NDArray[np.float64], "h w"]:
        row, column, z, inside = self._cells(view, points)
        camera = self._keyframes.cameras[view]
        depth = np.full((max(1, round(camera.height * _GRID_WIDTH / camera.width)), _GRID_WIDTH), np.inf)
        np.minimum.at(depth, (row[inside], column[inside]), z[inside])
        return depth

    def _score(self, view: int, points: Float[NDArray[np.float64], "n 3"]) -> float:
        """Weigh the share of points in plain sight by how large they appear, up to a distance of one metre."""
        if len(points) == 0:
            return 0.0
        row, column, z, inside = self._cells(view, points)
        shown = inside & (z <= self._depths[view][row, column] * 1.05 + 0.15)
        return float((1 / np.maximum(z[shown], 1.0)).sum() / len(points))
