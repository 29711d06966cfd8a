"""Points of the place seen by several cameras: features matched between pictures whose poses are roughly known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from m3_ros.geometry.pose import inverse
from m3_ros.recording.frame import Frame
from m3_ros.training.partners import best_partners, match_scores
from m3_ros.training.seeds_from_depth import reliable_depth

_FEATURES = 800
"""Most features of one picture."""
_PARTNERS = 8
"""Pictures that each picture is matched with, beside the one after it."""
_GATE = 0.045
"""Distance from the line on which a match must lie, as a share of the image width: what bad poses may cost."""
_DISTINCT = 0.75
"""A match must be nearer than this share of the distance to the next best."""
_ALIKE = 0.4
"""Largest distance of the descriptors of a match; of unit vectors."""


Check = Callable[[], None]
"""Called now and then during slow work; may raise to stop it."""

Matches = tuple[Int[NDArray[np.int64], "K 2"], Float[NDArray[np.float32], " K"]]


@dataclass(frozen=True)
class Tracks:
    """M observations of P points by V cameras."""

    camera: Int[NDArray[np.int64], " M"]
    """Number of the camera."""
    point: Int[NDArray[np.int64], " M"]
    """Number of the point."""
    pixel: Float[NDArray[np.float64], "M 2"]
    """Where it is seen [px]."""
    depth: Float[NDArray[np.float64], " M"]
    """Measured z-depth there [m]; 0: unknown."""

    @property
    def points(self) -> int:
        """Number of points."""
        return int(self.point.max()) + 1 if len(self.point) else 0

    def only(self, kept: Bool[NDArray[np.bool_], " M"]) -> "Tracks":
        """Return some of the observations; points seen by fewer than two cameras are left out."""
        often = kept & (np.bincount(self.point[kept], minlength=self.points)[self.point] >= 2)
        numbers = np.unique(self.point[often], return_inverse=True)[1]
        return Tracks(self.camera[often], numbers, self.pixel[often], self.depth[often])


@dataclass(frozen=True)
class Features:
    """What is distinct in one picture."""

    pixels: Float[NDArray[np.float64], "F 2"]
    depth: Float[NDArray[np.float64], " F"]
    descriptors: Float[NDArray[np.float32], "F 128"]


def find_tracks(frames: Sequence[Frame], features: Sequence[Features], check: Check = lambda: None) -> Tracks:
    """Match features between pictures that see the same and join the matches to tracks.

    Args:
        frames: posed pictures.
        features: theirs.
        check: called now and then; may raise to stop.
    """
    first = np.cumsum([0, *(len(f.pixels) for f in features)])
    links = [np.zeros((0, 2), np.int64)]
    for a, b in _pairs(frames):
        check()
        links.append(_matches(frames[a], features[a], frames[b], features[b])[0] + first[[a, b]])
    owner = np.repeat(np.arange(len(frames)), np.diff(first))
    pixels, depth = (np.concatenate([getattr(f, name) for f in features]) for name in ("pixels", "depth"))
    return _joined(np.concatenate(links), owner, pixels, depth)


def line_errors_px(a: Frame, of_a: Features, b: Frame, of_b: Features) -> Float[NDArray[np.float32], " K"]:
    """Return how far each match of two pictures lies from the line on which their poses allow it [px].

    With exact poses it is the error of the features, well below 1 for most.
    """
    return _matches(a, of_a, b, of_b)[1]


def find_features(frame: Frame, edge_px: int) -> Features:
    """Find SIFT features, with the root of their descriptors (Arandjelovic and Zisserman 2012).

    Args:
        frame: the picture; where its depth is reliable, features have it.
        edge_px: depth so near to a depth edge is not used [px].
    """
    import cv2

    grey = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY)
    sift = cv2.SIFT.create(nfeatures=_FEATURES, contrastThreshold=0.01)
    keypoints, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None or not len(keypoints):
        return Features(np.zeros((0, 2)), np.zeros(0), np.zeros((0, 128), np.float32))
    pixels = np.array([k.pt for k in keypoints]) + 0.5
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-9)).astype(np.float32)
    depth = np.zeros(len(pixels))
    if frame.depth is not None:
        reliable = np.where(reliable_depth(frame.depth, edge_px), frame.depth, np.float32(0))
        u, v = np.clip(pixels.astype(int), 0, [frame.camera.width - 1, frame.camera.height - 1]).T
        depth = reliable[v, u].astype(np.float64)
    return Features(pixels, depth, root)


def _pairs(frames: Sequence[Frame]) -> list[tuple[int, int]]:
    numbers = range(len(frames))
    partners = best_partners(match_scores(frames, numbers), _PARTNERS)
    pairs = {(min(i, j), max(i, j)) for i in numbers for j in partners[i]}
    return sorted(pairs | set(pairwise(numbers)))


def _matches(a: Frame, of_a: Features, b: Frame, of_b: Features) -> Matches:
    """Return pairs of features that are each other's best match near the epipolar line, and how far from it [px]."""
    if len(of_a.pixels) < 2 or len(of_b.pixels) < 2:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    distance = np.sqrt(np.maximum(0, 2 - 2 * of_a.descriptors @ of_b.descriptors.T))
    gap = _line_distance(a, of_a.pixels, b, of_b.pixels)
    allowed = np.where(gap < _GATE * b.camera.width, distance, np.inf)
    best, rows = allowed.argmin(1), np.arange(len(distance))
    nearest = allowed[rows, best]
    mutual = allowed.argmin(0)[best] == rows
    distance[rows, best] = np.inf
    found = mutual & (nearest < _DISTINCT * distance.min(1)) & (nearest < _ALIKE)
    return np.stack([rows[found], best[found]], 1), gap[rows, best][found]


def _line_distance(
    a: Frame, in_a: Float[NDArray[np.float64], "A 2"], b: Frame, in_b: Float[NDArray[np.float64], "B 2"]
) -> Float[NDArray[np.float32], "A B"]:
    """Return how far each feature of b lies from the line on which each feature of a must be seen [px]."""
    T_b_a = inverse(b.T_map_camera) @ a.T_map_camera
    rays = np.concatenate([in_a, np.ones((len(in_a), 1))], 1) @ np.linalg.inv(a.camera.K).T @ T_b_a[:3, :3].T
    t = T_b_a[:3, 3]
    if np.linalg.norm(t) < 1e-4:  # no line without a baseline: the point at infinity
        ends = rays @ b.camera.K.T
        gaps = ends[:, None, :2] / ends[:, None, 2:] - in_b[None]
        return np.asarray(np.where(ends[:, 2:] > 0, np.linalg.norm(gaps, axis=-1), np.inf), np.float32)
    lines = np.cross(t, rays) @ np.linalg.inv(b.camera.K)
    lines /= np.maximum(np.linalg.norm(lines[:, :2], axis=1, keepdims=True), 1e-12)
    lines = lines.astype(np.float32)  # twice as fast, and exact to 1e-4 px
    return np.asarray(np.abs(lines[:, :2] @ in_b.T.astype(np.float32) + lines[:, 2:]))


def _joined(
    links: Int[NDArray[np.int64], "K 2"], owner: Int[NDArray[np.int64], " F"],
    pixels: Float[NDArray[np.float64], "F 2"], depth: Float[NDArray[np.float64], " F"],
) -> Tracks:  # fmt: skip
    """Join matches to tracks; one that visits a picture twice is wrong somewhere and is dropped."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(owner)
    graph = coo_matrix((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(n, n))
    label = np.asarray(connected_components(graph, directed=False)[1], np.int64)
    visits = np.unique(np.stack([label, owner]), axis=1, return_counts=True)
    twice = np.unique(visits[0][0][visits[1] > 1])
    kept = (np.bincount(label)[label] >= 2) & ~np.isin(label, twice)
    point = np.unique(label[kept], return_inverse=True)[1].astype(np.int64)
    return Tracks(owner[kept].astype(np.int64), point, pixels[kept], depth[kept])
