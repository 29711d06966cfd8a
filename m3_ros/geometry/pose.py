"""Rigid transforms as 4x4 matrices. `T_a_b` maps points of frame b into a: `p_a = T_a_b @ p_b`. Quaternions: wxyz."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

Transform = Float[NDArray[np.float64], "4 4"]


def transform(rotation: ArrayLike, translation: ArrayLike) -> Transform:
    """Build a transform from a 3x3 rotation matrix and a translation [m]."""
    T = np.eye(4)
    T[:3, :3] = rotation
    T[:3, 3] = translation
    return T


def inverse(T_a_b: Transform) -> Transform:
    """Return T_b_a, exact for rigid transforms."""
    R = T_a_b[:3, :3]
    return transform(R.T, -R.T @ T_a_b[:3, 3])


def quat_to_matrix(quat: ArrayLike) -> Float[NDArray[np.float64], "3 3"]:
    """Return the rotation matrix of a quaternion wxyz of any non-zero length.

    Raises:
        ValueError: the quaternion is zero or not finite.
    """
    q = np.asarray(quat, np.float64)
    norm = float(np.linalg.norm(q))
    if not np.isfinite(norm) or norm < 1e-12:
        raise ValueError(f"a rotation needs a finite, non-zero quaternion; got {q.tolist()}")
    w, x, y, z = q / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def matrix_to_quat(rotation: ArrayLike) -> Float[NDArray[np.float64], "4"]:
    """Return the unit quaternion wxyz (w >= 0) closest to a rotation matrix (Bar-Itzhack's eigenvector)."""
    R = np.asarray(rotation, np.float64)
    trace = np.trace(R)
    M = np.empty((4, 4))
    M[0, 0] = trace
    M[0, 1:] = M[1:, 0] = R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]
    M[1:, 1:] = R + R.T - trace * np.eye(3)
    q = np.linalg.eigh(M)[1][:, -1]
    return np.asarray(q if q[0] >= 0 else -q)


def slerp(quat_0: ArrayLike, quat_1: ArrayLike, fraction: float) -> Float[NDArray[np.float64], "4"]:
    """Interpolate between two unit quaternions wxyz along the shorter arc; fraction 0 gives the first."""
    q0, q1 = np.asarray(quat_0, np.float64), np.asarray(quat_1, np.float64)
    cosine = float(q0 @ q1)
    if cosine < 0:
        q1, cosine = -q1, -cosine
    if cosine > 1 - 1e-9:
        q = q0 + fraction * (q1 - q0)
    else:
        angle = np.arccos(cosine)
        q = (np.sin((1 - fraction) * angle) * q0 + np.sin(fraction * angle) * q1) / np.sin(angle)
    return np.asarray(q / np.linalg.norm(q))


def interpolate(T_0: Transform, T_1: Transform, fraction: float) -> Transform:
    """Interpolate between two transforms: translation linearly, rotation by slerp."""
    q = slerp(matrix_to_quat(T_0[:3, :3]), matrix_to_quat(T_1[:3, :3]), fraction)
    return transform(quat_to_matrix(q), (1 - fraction) * T_0[:3, 3] + fraction * T_1[:3, 3])


def from_yaw(x: float, y: float, yaw: float, z: float = 0.0) -> Transform:
    """Build a planar pose: position [m] and heading [rad] about +z (REP-103)."""
    c, s = np.cos(yaw), np.sin(yaw)
    return transform([[c, -s, 0], [s, c, 0], [0, 0, 1]], [x, y, z])


def yaw_of(T_map_body: Transform) -> float:
    """Return the heading [rad] of a body's x axis in the map's xy plane."""
    return float(np.arctan2(T_map_body[1, 0], T_map_body[0, 0]))


def look_at(eye: ArrayLike, target: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> Transform:
    """Return T_map_camera (OpenCV axes: x right, y down, z forward) of a camera at `eye` that looks at `target`.

    Raises:
        ValueError: eye and target coincide, or the view is parallel to `up`.
    """
    p, q = np.asarray(eye, np.float64), np.asarray(target, np.float64)
    forward = q - p
    right = np.cross(forward, np.asarray(up, np.float64))
    if np.linalg.norm(right) < 1e-9:
        raise ValueError(f"no view from {p.tolist()} to {q.tolist()}: the points coincide or lie along `up`")
    z = forward / np.linalg.norm(forward)
    x = right / np.linalg.norm(right)
    return transform(np.stack([x, np.cross(z, x), z], axis=1), p)


def apply(T_a_b: Transform, points_b: Float[NDArray[np.float64], "N 3"]) -> Float[NDArray[np.float64], "N 3"]:
    """Map points [m] of frame b into frame a."""
    return np.asarray(points_b @ T_a_b[:3, :3].T + T_a_b[:3, 3])


def is_rigid(T: ArrayLike, tolerance: float = 1e-3) -> bool:
    """Tell whether a 4x4 matrix is a finite rotation plus translation."""
    M = np.asarray(T, np.float64)
    return bool(
        M.shape == (4, 4)
        and np.isfinite(M).all()
        and np.allclose(M[:3, :3] @ M[:3, :3].T, np.eye(3), atol=tolerance)
        and np.linalg.det(M[:3, :3]) > 0
        and np.allclose(M[3], [0, 0, 0, 1], atol=1e-9)
    )
