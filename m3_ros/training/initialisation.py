"""Where Gaussians start: on measured depth where there is any, else anywhere in the viewed volume."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from m3_ros.geometry.pose import apply
from m3_ros.recording.frame import Frame

_MAX_SAMPLES = 2_000_000
"""Pixels looked at in all; more cost time and change nothing."""
_EDGE_RATIO = 0.08
"""Relative depth step that counts as an edge."""
_FLATNESS = 0.25
"""Thickness of a Gaussian on a surface, as a share of its width."""


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
    opacity: float
    """Opacity of all of them."""


def make_seeds(frames: Sequence[Frame], count: int, edge_px: int, seed: int) -> Seeds:
    """Seed at most `count` Gaussians from the frames: from depth if any frame has it, else at random."""
    samples = [s for s in (_surface_samples(frame, edge_px, _stride(frames)) for frame in frames) if len(s)]
    if not samples:
        return _random_seeds(frames, count, np.random.default_rng(seed))
    merged = merge_voxels(np.concatenate(samples), count)
    points, colours, normals = merged[:, :3], merged[:, 3:6], merged[:, 6:9]
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(length > 0.5, normals / np.maximum(length, 1e-9), 0).astype(np.float32)
    return Seeds(points, colours, normals, 0.7 * neighbour_distance(points), 0.85)


def reliable_depth(depth: Float[NDArray[np.float32], "H W"], edge_px: int) -> Bool[NDArray[np.bool_], "H W"]:
    """Tell which pixels hold a depth and have no depth edge within `edge_px` pixels."""
    import cv2

    known = np.isfinite(depth) & (depth > 0)
    if edge_px == 0 or not known.any():
        return known
    kernel = np.ones((2 * edge_px + 1, 2 * edge_px + 1), np.uint8)
    safe = np.where(known, depth, 0).astype(np.float32)
    far = cv2.dilate(safe, kernel)
    near = cv2.erode(np.where(known, safe, np.float32(1e9)), kernel)
    return np.asarray(known & (far - near < _EDGE_RATIO * near * (1 + edge_px)))


def normals_of(points: Float[NDArray[np.float32], "H W 3"]) -> Float[NDArray[np.float32], "H W 3"]:
    """Return unit normals of a grid of points [m] from its central differences; zero where they vanish."""
    du = np.gradient(points, axis=1)
    dv = np.gradient(points, axis=0)
    normals = np.cross(du, dv)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.asarray(normals / np.maximum(length, 1e-12), np.float32)


def merge_voxels(samples: Float[NDArray[np.float32], "M 9"], count: int) -> Float[NDArray[np.float32], "N 9"]:
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


def _nearest(points: NDArray[np.float32], centres: NDArray[np.float64], index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each group the number of its member nearest to the group's centre."""
    distance = ((points - centres[index]) ** 2).sum(1)
    order = np.lexsort((distance, index))
    return np.asarray(order[np.searchsorted(index[order], np.arange(len(centres)))])


def neighbour_distance(points: Float[NDArray[np.float32], "N 3"]) -> Float[NDArray[np.float32], " N"]:
    """Return the mean distance to the three nearest other points [m], held within a factor of three of the median."""
    from scipy.spatial import cKDTree

    if len(points) < 2:
        return np.full(len(points), 0.05, np.float32)
    nearest = np.asarray(cKDTree(points).query(points, k=min(4, len(points)))[0])
    distance = nearest[:, 1:].mean(1)
    middle = max(float(np.median(distance)), 1e-4)
    return np.asarray(np.clip(distance, middle / 3, middle * 3), np.float32)


def _stride(frames: Sequence[Frame]) -> int:
    pixels = sum(frame.camera.width * frame.camera.height for frame in frames if frame.depth is not None)
    return max(1, int(np.ceil(np.sqrt(pixels / _MAX_SAMPLES))))


def _cells(points: NDArray[np.float32], origin: NDArray[np.float32], size: float) -> NDArray[np.int64]:
    c = ((points - origin) / size).astype(np.int64)
    return np.asarray((c[:, 0] << 42) | (c[:, 1] << 21) | c[:, 2])


def _surface_samples(frame: Frame, edge_px: int, stride: int) -> Float[NDArray[np.float32], "M 9"]:
    """Return map point, colour and normal of every `stride`-th reliable pixel."""
    if frame.depth is None:
        return np.zeros((0, 9), np.float32)
    mask = reliable_depth(frame.depth, edge_px)
    local = frame.camera.unproject(np.where(np.isfinite(frame.depth), frame.depth, np.float32(0)))
    normals = normals_of(local)[::stride, ::stride]
    picked = mask[::stride, ::stride]
    points = apply(frame.T_map_camera, local[::stride, ::stride][picked].astype(np.float64))
    turned = normals[picked] @ frame.T_map_camera[:3, :3].T
    colours = frame.rgb[::stride, ::stride][picked] / np.float32(255)
    return np.concatenate([points, colours, turned], axis=1).astype(np.float32)


def _random_seeds(frames: Sequence[Frame], count: int, rng: np.random.Generator) -> Seeds:
    """Scatter points along the rays of random pixels, as far as the walk is wide (at least 4 m)."""
    centres = np.array([frame.T_map_camera[:3, 3] for frame in frames])
    far = max(4.0, 1.5 * float(np.linalg.norm(np.ptp(centres, axis=0))))
    points, colours = np.zeros((count, 3), np.float32), np.zeros((count, 3), np.float32)
    which = rng.integers(len(frames), size=count)
    for i, frame in enumerate(frames):
        mine = np.flatnonzero(which == i)
        v, u = rng.integers(frame.camera.height, size=len(mine)), rng.integers(frame.camera.width, size=len(mine))
        z = rng.uniform(0.4, far, len(mine))
        x, y = (u + 0.5 - frame.camera.cx) / frame.camera.fx * z, (v + 0.5 - frame.camera.cy) / frame.camera.fy * z
        points[mine] = apply(frame.T_map_camera, np.stack([x, y, z], 1))
        colours[mine] = frame.rgb[v, u] / np.float32(255)
    return Seeds(points, colours, np.zeros_like(points), 0.7 * neighbour_distance(points), 0.1)


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
