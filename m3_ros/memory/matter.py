"""Matter: surfaces counted in voxels, so that neither many small Gaussians nor few large ones sway what is found."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Voxels:
    """The occupied voxels around some points, in the order of their keys."""

    keys: Int[NDArray[np.int64], " v"]
    """Flat index of each voxel in the grid, rising."""
    of_point: Int[NDArray[np.int64], " n"]
    """Which voxel each point lies in."""
    shape: tuple[int, int, int]
    """Grid around the points, with an empty layer on every side."""

    @classmethod
    def around(cls, points: Float[NDArray[np.float64], "n 3"], voxel_m: float) -> "Voxels":
        """Sort at least one point [m] into voxels."""
        cells = np.floor(points / voxel_m).astype(np.int64)
        cells -= cells.min(axis=0) - 1
        x, y, z = (cells.max(axis=0) + 2).tolist()
        keys, of_point = np.unique(np.ravel_multi_index(tuple(cells.T), (x, y, z)), return_inverse=True)
        return cls(keys, of_point.reshape(-1), (x, y, z))

    def __len__(self) -> int:
        return len(self.keys)

    def total(self, values: Float[NDArray[np.float64], " n"]) -> Float[NDArray[np.float64], " v"]:
        """Add up what the points of each voxel carry."""
        return np.asarray(np.bincount(self.of_point, values, len(self)), np.float64)


def in_plain_view(visibility: Float[NDArray[np.float64], " n"]) -> Bool[NDArray[np.bool_], " n"]:
    """Tell which voxels carry all but the last twentieth of an object's visible matter.

    What is seen through the gaps of an object's edge takes on a little of its features; it was hardly seen, and would
    make the box too large.
    """
    weight = np.minimum(visibility, np.quantile(visibility, 0.75))
    order = np.argsort(weight)
    plain = np.empty(len(weight), bool)
    plain[order] = np.cumsum(weight[order]) > 0.05 * weight.sum()
    return plain


def spread(
    points: Float[NDArray[np.float64], "n 3"], weight: Float[NDArray[np.float64], " n"], voxel_m: float
) -> Float[NDArray[np.float64], "3 3"]:
    """Return the covariance [m^2] of weighted voxels about their mean, that within a voxel included."""
    centred = points - np.average(points, axis=0, weights=weight)
    within = np.eye(3) * voxel_m**2 / 12
    return np.asarray((centred * weight[:, None]).T @ centred / weight.sum() + within)


def joined(
    row: Int[NDArray[np.int64], " e"], column: Int[NDArray[np.int64], " e"], count: int
) -> Int[NDArray[np.int64], " n"]:
    """Number the groups of `count` things that pairs join."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(row), bool), (row, column)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)
