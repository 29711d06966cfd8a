"""Small rigid motions as six numbers: translation [m] and rotation vector [rad]."""

import math

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.geometry.pose import Transform, transform

Twist = Float[NDArray[np.float64], "6"]
"""Translation [m] and rotation vector [rad]."""


def exp(twist: Twist) -> Transform:
    """Return the transform of a motion: rotation about the origin, then translation."""
    v, w = twist[:3], twist[3:]
    angle = float(np.linalg.norm(w))
    K = np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])
    a, b = (math.sin(angle) / angle, (1 - math.cos(angle)) / angle**2) if angle > 1e-9 else (1.0, 0.5)
    return transform(np.eye(3) + a * K + b * K @ K, v)


def log(T: Transform) -> Twist:
    """Return the motion of a transform: the inverse of `exp`."""
    return np.concatenate([T[:3, 3], rotation_vector(T[:3, :3])])


def rotation_vector(R: Float[NDArray[np.float64], "3 3"]) -> Float[NDArray[np.float64], "3"]:
    """Return axis times angle [rad] of a rotation of less than half a turn."""
    axis = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]]) / 2
    sine = float(np.linalg.norm(axis))
    angle = math.atan2(sine, (float(np.trace(R)) - 1) / 2)
    return axis * (angle / sine) if sine > 1e-9 else axis
