"""Camera poses and points that explain matched features best: sparse, robust, and held by the poses as given.

Gauss-Newton with Levenberg's damping on the reduced camera system (Triggs et al. 2000, "Bundle adjustment").
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.geometry.pose import inverse
from m3_ros.training.tracks import Check, Tracks
from m3_ros.training.twists import exp, log

Stack = Float[NDArray[np.float64], "V n n"]
Points = Float[NDArray[np.float64], "P 3"]
Errors = Float[NDArray[np.float64], "M 3"]

_ROUNDS_PX = ((4.0, 30.0), (2.0, 12.0), (1.0, 5.0), (0.7, 3.0))
"""Of each round: errors beyond the first count less and less, observations worse than the second leave [px]."""
_STEPS = 6
"""Steps a round."""
_GUESSES = 2
"""Times that the spread of the given poses is guessed anew after a round."""
_PIXEL_NOISE = 0.5
"""Standard deviation of a matched feature [px]."""
_DEPTH_NOISE = (0.005, 0.01)
"""Standard deviation of a measured depth: [m], and as a share of it."""
_FIRST_PRIOR = np.array([0.1, 0.1, 0.1, 0.05, 0.05, 0.05])
"""First guess of the standard deviation of the poses as given [m, rad]; then the corrections tell."""
_LEAST_PRIOR = 1e-4
"""The poses as given are never trusted more than this [m, rad]."""
_NEAREST_M = 0.1
"""Points nearer to a camera than this are not there [m]."""


def adjust(given: Stack, Ks: Stack, tracks: Tracks, check: Check = lambda: None) -> Stack:
    """Return the poses T_map_camera that explain the tracks best; a camera without tracks keeps its own.

    How far the given poses are trusted is learned on the way (expectation maximisation of their spread), so that
    exact poses stay nearly as they are.
    """
    T_camera_map = np.stack([inverse(T) for T in given])
    start, spread = T_camera_map.copy(), _FIRST_PRIOR
    for softness, outlier in _ROUNDS_PX:
        points = _triangulated(T_camera_map, Ks, tracks)
        error, depth = _errors(T_camera_map, Ks, points, tracks)
        tracks = tracks.only((np.linalg.norm(error[:, :2], axis=1) < outlier) & (depth > _NEAREST_M))
        if not len(tracks.point):
            return given.copy()
        problem = _Problem(start, Ks, tracks, softness)
        points, damping = _triangulated(T_camera_map, Ks, tracks), 1e-3
        for _ in range(_STEPS):
            check()
            T_camera_map, points, damping = problem.step(T_camera_map, points, spread, damping)
        spread = problem.spread(T_camera_map, points, spread)
    return np.stack([inverse(T) for T in T_camera_map])


def _triangulated(T_camera_map: Stack, Ks: NDArray[np.float64], tracks: Tracks) -> Points:
    """Return the points nearest to the rays on which they are seen."""
    inverse_Ks = np.linalg.inv(Ks)[tracks.camera]
    homogeneous = np.concatenate([tracks.pixel, np.ones((len(tracks.pixel), 1))], 1)
    R = T_camera_map[tracks.camera, :3, :3]
    rays = np.einsum("mji,mj->mi", R, np.einsum("mij,mj->mi", inverse_Ks, homogeneous))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    centres = -np.einsum("mji,mj->mi", R, T_camera_map[tracks.camera, :3, 3])
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    A, b = np.zeros((tracks.points, 3, 3)), np.zeros((tracks.points, 3))
    np.add.at(A, tracks.point, across)
    np.add.at(b, tracks.point, np.einsum("mij,mj->mi", across, centres))
    return np.asarray(np.linalg.solve(A + 1e-6 * np.eye(3), b[..., None])[..., 0])


def _errors(T_camera_map: Stack, Ks: Stack, points: Points, tracks: Tracks) -> tuple[Errors, NDArray[np.float64]]:
    """Return by how much each point is seen elsewhere [px], and farther (as much as it counts), and its depth [m]."""
    local = _local(T_camera_map, points, tracks)
    drawn = np.einsum("mij,mj->mi", Ks[tracks.camera], local)
    ahead = np.where(np.abs(local[:, 2]) > 1e-6, local[:, 2], 1e-6)
    error = np.empty((len(local), 3))
    error[:, :2] = drawn[:, :2] / ahead[:, None] - tracks.pixel
    error[:, 2] = (local[:, 2] - tracks.depth) * _depth_weight(tracks)
    return error, local[:, 2]


def _depth_weight(tracks: Tracks) -> NDArray[np.float64]:
    """Return how many pixels a metre of depth counts; 0 where it was not measured."""
    fixed, share = _DEPTH_NOISE
    return np.where(tracks.depth > 0, _PIXEL_NOISE / (fixed + share * tracks.depth), 0)


def _local(T_camera_map: Stack, points: Points, tracks: Tracks) -> NDArray[np.float64]:
    T = T_camera_map[tracks.camera]
    return np.asarray(np.einsum("mij,mj->mi", T[:, :3, :3], points[tracks.point]) + T[:, :3, 3])


def _jacobians(T_camera_map: Stack, Ks: Stack, points: Points, tracks: Tracks) -> tuple[NDArray[np.float64], Errors]:
    """Return the derivatives of the errors by the camera's motion in its own axes [M 3 6] and by the point [M 3 3]."""
    local = _local(T_camera_map, points, tracks)
    K = Ks[tracks.camera]
    x, y, z = local[:, 0], local[:, 1], np.maximum(local[:, 2], _NEAREST_M)
    projection = np.zeros((len(local), 3, 3))
    projection[:, 0, 0], projection[:, 0, 2] = K[:, 0, 0] / z, -K[:, 0, 0] * x / z**2
    projection[:, 1, 1], projection[:, 1, 2] = K[:, 1, 1] / z, -K[:, 1, 1] * y / z**2
    projection[:, 2, 2] = _depth_weight(tracks)
    turn = np.zeros((len(local), 3, 3))  # of (rotation vector) x local
    turn[:, 0, 1], turn[:, 0, 2], turn[:, 1, 2] = local[:, 2], -local[:, 1], local[:, 0]
    turn -= turn.transpose(0, 2, 1)
    by_camera = np.concatenate([projection, projection @ turn], axis=2)
    return by_camera, projection @ T_camera_map[tracks.camera, :3, :3]


def _deviation(T_camera_map: Stack, start: Stack) -> Float[NDArray[np.float64], "V 6"]:
    return np.stack([log(T @ inverse(S)) for T, S in zip(T_camera_map, start, strict=True)])


@dataclass(frozen=True)
class _Problem:
    """One round: poses to begin with, cameras, observations, and the error beyond which they count less [px]."""

    start: Stack
    Ks: Stack
    tracks: Tracks
    softness: float

    def step(
        self, T_camera_map: Stack, points: Points, spread: NDArray[np.float64], damping: float
    ) -> tuple[Stack, Points, float]:
        """Take one step if it lowers the cost; returns poses, points and the damping of the next."""
        system = self._system(T_camera_map, points, spread, damping)
        motion, shift = system.solved()
        moved = np.stack([exp(m) @ T for m, T in zip(motion, T_camera_map, strict=True)])
        if self._cost(moved, points + shift, spread) < self._cost(T_camera_map, points, spread):
            return moved, points + shift, max(damping / 10, 1e-9)
        return T_camera_map, points, damping * 10

    def spread(self, T_camera_map: Stack, points: Points, spread: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far the given poses seem to be off: the corrections, and what is still uncertain about them."""
        for _ in range(_GUESSES):
            uncertain = self._system(T_camera_map, points, spread, 0.0).pose_variances() * _PIXEL_NOISE**2
            squared = (np.square(_deviation(T_camera_map, self.start)) + uncertain).mean(0).reshape(2, 3).mean(1)
            spread = np.maximum(np.sqrt(squared).repeat(3), _LEAST_PRIOR)
        return spread

    def _cost(self, T_camera_map: Stack, points: Points, spread: NDArray[np.float64]) -> float:
        error, _ = _errors(T_camera_map, self.Ks, points, self.tracks)
        held = _deviation(T_camera_map, self.start) / spread * _PIXEL_NOISE
        soft = self.softness**2
        squared = np.stack([np.square(error[:, :2]).sum(1), np.square(error[:, 2])])
        return float(soft * np.log1p(squared / soft).sum() + np.square(held).sum())

    def _system(self, T_camera_map: Stack, points: Points, spread: NDArray[np.float64], damping: float) -> "_System":
        tracks, soft = self.tracks, self.softness**2
        error, _ = _errors(T_camera_map, self.Ks, points, tracks)
        by_camera, by_point = _jacobians(T_camera_map, self.Ks, points, tracks)
        weight = np.empty_like(error)
        weight[:, :2] = (1 / (1 + np.square(error[:, :2]).sum(1) / soft))[:, None]
        weight[:, 2] = 1 / (1 + np.square(error[:, 2]) / soft)
        weighted_c, weighted_p = by_camera * weight[..., None], by_point * weight[..., None]
        held = (_PIXEL_NOISE / spread) ** 2
        H_c = _summed(weighted_c.transpose(0, 2, 1) @ by_camera, tracks.camera, len(T_camera_map)) + np.diag(held)
        g_c = _summed(np.einsum("mki,mk->mi", weighted_c, error), tracks.camera, len(T_camera_map))
        H_p = _summed(weighted_p.transpose(0, 2, 1) @ by_point, tracks.point, len(points))
        g_p = _summed(np.einsum("mki,mk->mi", weighted_p, error), tracks.point, len(points))
        g_c += held * _deviation(T_camera_map, self.start)
        H_c *= 1 + damping * np.eye(6)
        H_p = H_p * (1 + damping * np.eye(3)) + 1e-9 * np.eye(3)
        return _System(H_c, g_c, H_p, g_p, weighted_c.transpose(0, 2, 1) @ by_point, tracks)


@dataclass(frozen=True)
class _System:
    """Normal equations in blocks."""

    H_c: Float[NDArray[np.float64], "V 6 6"]
    g_c: Float[NDArray[np.float64], "V 6"]
    H_p: Float[NDArray[np.float64], "P 3 3"]
    g_p: Float[NDArray[np.float64], "P 3"]
    H_cp: Float[NDArray[np.float64], "M 6 3"]
    tracks: Tracks

    def solved(self) -> tuple[Float[NDArray[np.float64], "V 6"], Points]:
        """Return the motions of the cameras and the shifts of the points."""
        reduced, W, V = self._reduced()
        motion = np.linalg.solve(reduced, -self.g_c.ravel() + V @ self.g_p.ravel())
        shift = -np.linalg.solve(self.H_p, (self.g_p.ravel() + W.T @ motion).reshape(-1, 3, 1))[..., 0]
        return motion.reshape(-1, 6), shift

    def pose_variances(self) -> Float[NDArray[np.float64], "V 6"]:
        """Return the variances of the cameras' motions, in units of that of an error."""
        return np.diag(np.linalg.inv(self._reduced()[0])).reshape(-1, 6)

    def _reduced(self) -> tuple[NDArray[np.float64], Any, Any]:
        """Eliminate the points; returns the system of the cameras and what the points need to follow."""
        from scipy.sparse import bsr_matrix

        cameras, tracks = len(self.H_c), self.tracks
        order = np.argsort(tracks.camera, kind="stable")
        rows = np.concatenate([[0], np.cumsum(np.bincount(tracks.camera, minlength=cameras))])
        point, blocks = tracks.point[order], self.H_cp[order]
        shape = (6 * cameras, 3 * len(self.H_p))
        W = bsr_matrix((blocks, point, rows), shape=shape)
        V = bsr_matrix((blocks @ np.linalg.inv(self.H_p)[point], point, rows), shape=shape)
        reduced = -(V @ W.T).toarray()
        for i, block in enumerate(self.H_c):
            reduced[6 * i : 6 * i + 6, 6 * i : 6 * i + 6] += block
        return reduced, W, V


def _summed(values: NDArray[np.float64], index: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    total = np.zeros((count, *values.shape[1:]))
    np.add.at(total, index, values)
    return total
