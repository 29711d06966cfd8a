"""Stamps, poses and cameras between ROS messages and ours. Quaternions are xyzw in messages and nowhere else."""

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Transform, TransformStamped, Vector3
from numpy.typing import ArrayLike
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from m3_ros.geometry import pose
from m3_ros.geometry.camera import Camera
from m3_ros.nodes.quaternions import quaternion_from_matrix, quaternion_matrix
from m3_ros.recording.lens import OPENCV_CENTRE, Lens
from m3_ros.recording.messages import lens_of

NANOSECONDS = 1_000_000_000


def stamp_to_ns(stamp: Time) -> int:
    """Return a message stamp as one number [ns]."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def ns_to_stamp(stamp_ns: int) -> Time:
    """Return the message stamp of a time [ns]."""
    return Time(sec=stamp_ns // NANOSECONDS, nanosec=stamp_ns % NANOSECONDS)


def header(frame_id: str, stamp_ns: int) -> Header:
    """Build a header from a frame and a time [ns]."""
    return Header(frame_id=frame_id, stamp=ns_to_stamp(stamp_ns))


def point(xyz: ArrayLike) -> Point:
    """Build a point message from three coordinates [m]."""
    x, y, z = (float(v) for v in np.asarray(xyz, np.float64))
    return Point(x=x, y=y, z=z)


def vector(xyz: ArrayLike) -> Vector3:
    """Build a vector message from three components."""
    x, y, z = (float(v) for v in np.asarray(xyz, np.float64))
    return Vector3(x=x, y=y, z=z)


def pose_to_matrix(message: Pose) -> pose.Transform:
    """Return the 4x4 matrix of a pose.

    Raises:
        ValueError: the quaternion is zero or a number is not finite.
    """
    return _matrix(message.position, message.orientation)


def transform_to_matrix(message: Transform) -> pose.Transform:
    """Return the 4x4 matrix of a transform message.

    Raises:
        ValueError: the quaternion is zero or a number is not finite.
    """
    return _matrix(message.translation, message.rotation)


def matrix_to_pose(T: pose.Transform) -> Pose:
    """Build a pose message from a 4x4 matrix."""
    return Pose(position=point(T[:3, 3]), orientation=_quaternion(T))


def matrix_to_pose_stamped(T: pose.Transform, frame_id: str, stamp_ns: int) -> PoseStamped:
    """Build a stamped pose message from a 4x4 matrix."""
    return PoseStamped(header=header(frame_id, stamp_ns), pose=matrix_to_pose(T))


def matrix_to_transform(T_parent_child: pose.Transform, parent: str, child: str, stamp_ns: int) -> TransformStamped:
    """Build the TF message that puts frame `child` into frame `parent`."""
    message = TransformStamped(header=header(parent, stamp_ns), child_frame_id=child)
    message.transform = Transform(translation=vector(T_parent_child[:3, 3]), rotation=_quaternion(T_parent_child))
    return message


def lens_from_info(info: CameraInfo, topic: str = "camera_info", rectified: bool = False) -> Lens:
    """Return the lens of a camera_info message, its principal point in our pixels.

    Raises:
        RecordingError: the camera is not calibrated or its distortion model is unknown.
    """
    return lens_of(info, topic, rectified)


def camera_to_info(camera: Camera, frame_id: str, stamp_ns: int) -> CameraInfo:
    """Build the camera_info message of an undistorted camera; ROS counts pixels from the centre of the first one."""
    K = camera.K
    K[:2, 2] -= OPENCV_CENTRE
    message = CameraInfo(header=header(frame_id, stamp_ns), width=camera.width, height=camera.height)
    message.distortion_model = "plumb_bob"
    message.d = [0.0] * 5
    message.k = K.ravel()
    message.r = np.eye(3).ravel()
    message.p = np.hstack([K, np.zeros((3, 1))]).ravel()
    return message


def _matrix(position: Point | Vector3, rotation: Quaternion) -> pose.Transform:
    values = np.array([position.x, position.y, position.z, rotation.x, rotation.y, rotation.z, rotation.w], np.float64)
    if not np.isfinite(values).all() or np.linalg.norm(values[3:]) < 1e-9:
        raise ValueError(
            f"a pose needs finite numbers and a non-zero quaternion; got position {values[:3]}, "
            f"orientation xyzw {values[3:]}"
        )
    T = np.array(quaternion_matrix(values[3:].tolist()), np.float64)
    T[:3, 3] = values[:3]
    return T


def _quaternion(T: pose.Transform) -> Quaternion:
    rotation = np.eye(4)
    rotation[:3, :3] = T[:3, :3]
    x, y, z, w = (float(v) for v in quaternion_from_matrix(rotation))
    return Quaternion(x=x, y=y, z=z, w=w)
