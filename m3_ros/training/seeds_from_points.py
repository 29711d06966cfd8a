"""Points of surfaces out of a measured point cloud: coloured by the pictures, with normals from their neighbours."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from m3_ros.geometry.pose import apply, inverse
from m3_ros.recording.frame import Frame
from m3_ros.recording.point_cloud import PointCloud
from m3_ros.training.seeds import Samples

_VIEWS = 60
"""Pictures that points are looked for in, evenly spread."""
_CELL_PX = 6
"""A point hides those behind it in a square of so many pixels."""
_HIDDEN = 0.05
"""Relative distance behind the nearest point at which one is hidden."""
_NEIGHBOURS = 10
"""Points that a normal is fitted to."""
_FLAT = 0.1
"""Ratio of the least to the middle spread of neighbours below which they lie on a surface."""
_MAX_POINTS = 300_000
"""Points used; more cost time and change nothing."""


def cloud_samples(cloud: PointCloud, frames: Sequence[Frame]) -> Samples:
    """Return the points that a picture sees, with colours (the cloud's own, or the pictures' mean) and normals."""
    step = max(1, -(-len(cloud) // _MAX_POINTS))
    points = cloud.points[::step]
    seen_colours, seen = seen_colours_of(points, frames)
    colours = seen_colours if cloud.colours is None else cloud.colours[::step]
    kept = points[seen]
    return np.concatenate([kept, colours[seen], point_normals(kept)], 1).astype(np.float32)


def seen_colours_of(
    points: Float[NDArray[np.float32], "N 3"], frames: Sequence[Frame]
) -> tuple[Float[NDArray[np.float32], "N 3"], Bool[NDArray[np.bool_], " N"]]:
    """Return the mean colour of each point in the pictures that it is not hidden in, and whether any sees it."""
    total, count = np.zeros((len(points), 3)), np.zeros(len(points), np.int64)
    for frame in frames[:: max(1, -(-len(frames) // _VIEWS))]:
        index, u, v = _visible(points, frame)
        total[index] += frame.rgb[v, u] / 255
        count[index] += 1
    return (total / np.maximum(count, 1)[:, None]).astype(np.float32), count > 0


def _visible(
    points: Float[NDArray[np.float32], "N 3"], frame: Frame
) -> tuple[Int[NDArray[np.int64], " K"], Int[NDArray[np.int64], " K"], Int[NDArray[np.int64], " K"]]:
    """Return the numbers of the points that a frame sees, with their pixels."""
    camera = frame.camera
    local = apply(inverse(frame.T_map_camera), points.astype(np.float64))
    with np.errstate(invalid="ignore"):
        u, v = np.nan_to_num(camera.project(local), nan=-1.0).T
    inside = np.flatnonzero((u >= 0) & (v >= 0) & (u < camera.width) & (v < camera.height))
    z, x, y = local[inside, 2], u[inside].astype(np.int64), v[inside].astype(np.int64)
    cell = y // _CELL_PX * (camera.width // _CELL_PX + 1) + x // _CELL_PX
    nearest = np.full((camera.height // _CELL_PX + 1) * (camera.width // _CELL_PX + 1), np.inf)
    np.minimum.at(nearest, cell, z)
    front = z <= (1 + _HIDDEN) * nearest[cell]
    return inside[front], x[front], y[front]


def point_normals(points: Float[NDArray[np.float32], "N 3"]) -> Float[NDArray[np.float32], "N 3"]:
    """Return the unit normals of planes fitted to each point's neighbours; zero where these lie on none."""
    from scipy.spatial import cKDTree

    if len(points) < _NEIGHBOURS:
        return np.zeros_like(points)
    index = np.asarray(cKDTree(points).query(points, k=_NEIGHBOURS)[1])
    offsets = points[index] - points[index].mean(1, keepdims=True)
    spread, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", offsets, offsets).astype(np.float64))
    flat = spread[:, 0] < _FLAT * spread[:, 1]
    return np.where(flat[:, None], axes[:, :, 0], 0).astype(np.float32)
