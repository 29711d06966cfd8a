"""What the first Gaussians are made of, and what every source of them needs."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from m3_ros.training.plane_sweep import SweptView

_FLATNESS = 0.25
"""Thickness of a Gaussian on a surface, as a share of its width."""
_WIDTH = 0.7
"""Standard deviation of a Gaussian along a surface, as a share of the distance to its neighbours."""

Samples = Float[NDArray[np.float32], "M 9"]
"""Points of surfaces: position in the map [m], RGB in [0, 1], unit normal (zero where unknown)."""


@dataclass(frozen=True)
class Seeds:
    """What the first Gaussians are made of."""

    points: Float[NDArray[np.float32], "N 3"]
    """Centres in the map [m]."""
    colours: Float[NDArray[np.float32], "N 3"]
    """RGB in [0, 1]."""
    normals: Float[NDArray[np.float32], "N 3"]
    """Unit normals of the surface; zero where unknown (round Gaussians)."""
    scales: Float[NDArray[np.float32], " N"]
    """Standard deviation along the surface [m]."""
    opacities: Float[NDArray[np.float32], " N"]
    """Opacities in (0, 1): the less a source is trusted, the fainter."""
    source: str
    """Where they come from, in words."""
    swept: tuple[SweptView, ...] = ()
    """Depth estimated from the poses on the way, by number of frame; none where there was better."""

    def __len__(self) -> int:
        return len(self.points)


def seeds_of_samples(samples: Samples, count: int, opacity: float, source: str) -> Seeds:
    """Turn points of surfaces into at most `count` seeds, evenly spread."""
    merged = merge_voxels(samples, count)
    points, colours, normals = merged[:, :3], merged[:, 3:6], merged[:, 6:9]
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(length > 0.5, normals / np.maximum(length, 1e-9), 0).astype(np.float32)
    opacities = np.full(len(points), opacity, np.float32)
    return Seeds(points, colours, normals, _WIDTH * neighbour_distance(points), opacities, source)


def merge_voxels(samples: Samples, count: int) -> Float[NDArray[np.float32], "N 9"]:
    """Merge samples (point, colour, normal) in cubes as small as gives at most `count`.

    A cube keeps its mean colour, but the point nearest to its middle: the mean of two walls lies on neither.
    """
    points = samples[:, :3]
    origin = points.min(0)
    low, high = 1e-3, float(max(np.ptp(points, axis=0).max(), 2e-3))
    probe = points[:: max(1, len(points) // 200_000)]
    for _ in range(12):  # bisect on a part: occupied cubes of a surface hardly depend on how densely it is sampled
        size = float(np.sqrt(low * high))
        low, high = (low, size) if len(np.unique(_cells(probe, origin, size))) <= 0.9 * count else (size, high)
    cells, index = np.unique(_cells(points, origin, high), return_inverse=True)
    weight = np.bincount(index, minlength=len(cells))
    means = np.stack([np.bincount(index, samples[:, c], len(cells)) for c in range(6)], 1) / weight[:, None]
    merged = samples[_nearest(points, means[:, :3], index)]
    merged[:, 3:6] = means[:, 3:]
    return merged[np.sort(np.argsort(-weight, kind="stable")[:count])]


def neighbour_distance(points: Float[NDArray[np.float32], "N 3"]) -> Float[NDArray[np.float32], " N"]:
    """Return the mean distance to the three nearest other points [m], held within a factor of three of the median."""
    from scipy.spatial import cKDTree

    if len(points) < 2:
        return np.full(len(points), 0.05, np.float32)
    nearest = np.asarray(cKDTree(points).query(points, k=min(4, len(points)))[0])
    distance = nearest[:, 1:].mean(1)
    middle = max(float(np.median(distance)), 1e-4)
    return np.asarray(np.clip(distance, middle / 3, middle * 3), np.float32)


def joined(first: Seeds, second: Seeds) -> Seeds:
    """Put the seeds of two sources together."""
    pairs = (
        (first.points, second.points), (first.colours, second.colours), (first.normals, second.normals),
        (first.scales, second.scales), (first.opacities, second.opacities),
    )  # fmt: skip
    points, colours, normals, scales, opacities = (np.concatenate(pair) for pair in pairs)
    return Seeds(points, colours, normals, scales, opacities, f"{first.source}; {second.source}", first.swept)


def quats_from_normals(normals: Float[NDArray[np.float32], "N 3"]) -> Float[NDArray[np.float32], "N 4"]:
    """Return quaternions wxyz that turn the z axis onto the normals; the identity for zero normals."""
    x, y, z = normals.T
    quats = np.stack([1 + z, -y, x, np.zeros_like(z)], 1)
    opposite = z < -1 + 1e-5
    quats[opposite] = (0, 1, 0, 0)
    return np.asarray(quats / np.linalg.norm(quats, axis=1, keepdims=True), np.float32)


def axis_scales(seeds: Seeds) -> Float[NDArray[np.float32], "N 3"]:
    """Return the three standard deviations [m]: flat along a known normal, else round."""
    flat = np.linalg.norm(seeds.normals, axis=1) > 0.5
    scales = np.repeat(seeds.scales[:, None], 3, axis=1)
    scales[flat, 2] *= _FLATNESS
    return scales


def _nearest(points: NDArray[np.float32], centres: NDArray[np.float64], index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each group the number of its member nearest to the group's centre."""
    distance = ((points - centres[index]) ** 2).sum(1)
    order = np.lexsort((distance, index))
    return np.asarray(order[np.searchsorted(index[order], np.arange(len(centres)))])


def _cells(points: NDArray[np.float32], origin: NDArray[np.float32], size: float) -> Int[NDArray[np.int64], " N"]:
    c = ((points - origin) / size).astype(np.int64)
    return np.asarray((c[:, 0] << 42) | (c[:, 1] << 21) | c[:, 2])
