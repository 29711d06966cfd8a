"""Rotation matrices of quaternions xyzw: tf_transformations where ROS has it, else the same two functions of ours."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from m3_ros.geometry.pose import Transform, matrix_to_quat, quat_to_matrix, transform

__all__ = ["quaternion_from_matrix", "quaternion_matrix"]


def _quaternion_matrix(quaternion: Sequence[float]) -> Transform:
    """Return the homogeneous rotation matrix of a quaternion xyzw."""
    x, y, z, w = quaternion
    return transform(quat_to_matrix((w, x, y, z)), (0.0, 0.0, 0.0))


def _quaternion_from_matrix(matrix: ArrayLike) -> Sequence[float]:
    """Return the quaternion xyzw of a homogeneous rotation matrix."""
    w, x, y, z = matrix_to_quat(np.asarray(matrix, np.float64)[:3, :3])
    return float(x), float(y), float(z), float(w)


if TYPE_CHECKING:
    quaternion_matrix, quaternion_from_matrix = _quaternion_matrix, _quaternion_from_matrix
else:
    try:
        from tf_transformations import quaternion_from_matrix, quaternion_matrix
    except (ImportError, AttributeError):  # its transforms3d may predate the numpy that is installed
        quaternion_matrix, quaternion_from_matrix = _quaternion_matrix, _quaternion_from_matrix
