"""A small recorded walk, as a bag with many options and as a folder."""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from m3_ros.geometry.pose import look_at, matrix_to_quat

STORE = get_typestore(Stores.ROS2_HUMBLE)
T = STORE.types
T0_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
BODY_OPTICAL = np.array([[0, 0, 1, 0.2], [-1, 0, 0, 0], [0, -1, 0, 0.1], [0, 0, 0, 1.0]])
FX, FY, CX, CY = 30.0, 31.0, 15.5, 11.0


@dataclass(frozen=True)
class Walk:
    """Pictures, depths [mm] and camera poses of one walk."""

    count: int = 8
    width: int = 32
    height: int = 24
    rgb: list = field(default_factory=list)
    depth_mm: list = field(default_factory=list)
    poses: list = field(default_factory=list)

    def stamp(self, i):
        return T0_NS + i * PERIOD_NS


def make_walk(count=8, width=32, height=24):
    rng = np.random.default_rng(3)
    walk = Walk(count, width, height)
    for i in range(count):
        walk.rgb.append(rng.integers(0, 256, (height, width, 3), np.uint8))
        depth = rng.integers(500, 4000, (height, width), np.uint16)
        depth[:3] = 0
        walk.depth_mm.append(depth)
        walk.poses.append(look_at((0.2 * i, 0.1 * i, 0.4), (5.0, 1.0 + 0.5 * i, 0.5)))
    return walk


def header(stamp, frame):
    time = T["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    return T["std_msgs/msg/Header"](stamp=time, frame_id=frame)


def tf_message(stamp, parent, child, matrix):
    w, x, y, z = (float(v) for v in matrix_to_quat(matrix[:3, :3]))
    transform = T["geometry_msgs/msg/Transform"](
        translation=T["geometry_msgs/msg/Vector3"](*map(float, matrix[:3, 3])),
        rotation=T["geometry_msgs/msg/Quaternion"](x, y, z, w),
    )
    stamped = T["geometry_msgs/msg/TransformStamped"](
        header=header(stamp, parent), child_frame_id=child, transform=transform
    )
    return T["tf2_msgs/msg/TFMessage"]([stamped])


def odometry_message(stamp, matrix, parent="odom", child="base_link"):
    w, x, y, z = (float(v) for v in matrix_to_quat(matrix[:3, :3]))
    pose = T["geometry_msgs/msg/Pose"](
        position=T["geometry_msgs/msg/Point"](*map(float, matrix[:3, 3])),
        orientation=T["geometry_msgs/msg/Quaternion"](x, y, z, w),
    )
    zero = T["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)
    return T["nav_msgs/msg/Odometry"](
        header=header(stamp, parent),
        child_frame_id=child,
        pose=T["geometry_msgs/msg/PoseWithCovariance"](pose=pose, covariance=np.zeros(36)),
        twist=T["geometry_msgs/msg/TwistWithCovariance"](
            twist=T["geometry_msgs/msg/Twist"](linear=zero, angular=zero), covariance=np.zeros(36)
        ),
    )


def image_message(stamp, pixels, encoding, frame="camera_optical_frame", padding=0, big=False):
    """Build a raw image; `padding` bytes follow each row."""
    if big:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    return T["sensor_msgs/msg/Image"](
        header=header(stamp, frame),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(big),
        step=rows.shape[1],
        data=rows.ravel(),
    )


def compressed_message(stamp, data, fmt, frame="camera_optical_frame"):
    return T["sensor_msgs/msg/CompressedImage"](
        header=header(stamp, frame), format=fmt, data=np.frombuffer(data, np.uint8)
    )


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def compressed_depth_16u(stamp, depth_mm):
    data = struct.pack("<iff", 0, 0.0, 0.0) + png(depth_mm)
    return compressed_message(stamp, data, "16UC1; compressedDepth png")


def camera_info_message(stamp, walk, model="plumb_bob", d=(0.0,) * 5, k=None):
    k = [FX, 0, CX, 0, FY, CY, 0, 0, 1] if k is None else k
    return T["sensor_msgs/msg/CameraInfo"](
        header=header(stamp, "camera_optical_frame"),
        height=walk.height,
        width=walk.width,
        distortion_model=model,
        d=np.array(d, float),
        k=np.array(k, float),
        r=np.eye(3).ravel(),
        p=np.array([k[0], 0, k[2], 0, 0, k[4], k[5], 0, 0, 0, 1, 0], float),
        binning_x=0,
        binning_y=0,
        roi=T["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
    )


class BagBuilder:
    """Collects messages and writes them in the order of their log times."""

    def __init__(self):
        self.messages = []

    def add(self, topic, log_ns, message):
        self.messages.append((log_ns, topic, message))
        return self

    def write(self, path, storage="mcap", topics=()):
        plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        with Writer(path, version=9, storage_plugin=plugin) as writer:
            connections = {}
            for topic, msgtype in topics:
                connections[topic] = writer.add_connection(topic, msgtype, typestore=STORE)
            for log_ns, topic, message in sorted(self.messages, key=lambda entry: entry[0]):
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
                writer.write(connections[topic], log_ns, STORE.serialize_cdr(message, message.__msgtype__))
        return Path(path)


def walk_bag(walk, info=True, tf=True, odometry=True, static=True, depth=True, image=True, encoding="rgb8"):
    """Build the bag of a walk, leaving out what is switched off."""
    builder = BagBuilder()
    if static:
        builder.add("/tf_static", T0_NS, tf_message(T0_NS, "base_link", "camera_optical_frame", BODY_OPTICAL))
    for i in range(walk.count):
        t = walk.stamp(i)
        body = walk.poses[i] @ np.linalg.inv(BODY_OPTICAL)
        if tf:
            builder.add("/tf", t, tf_message(t, "odom", "base_link", body))
        if odometry:
            builder.add("/odom", t, odometry_message(t, body))
        if info:
            builder.add("/camera/camera_info", t, camera_info_message(t, walk))
        if image:
            builder.add("/camera/image_raw", t, image_message(t, walk.rgb[i], encoding))
        if depth:
            builder.add("/camera/depth/image_raw", t, image_message(t, walk.depth_mm[i], "16UC1"))
    return builder


def write_folder(walk, path, up=(0, 0, 1), **extra):
    """Write the walk as a posed sequence."""
    path.mkdir()
    listed = []
    for i in range(walk.count):
        (path / f"{i}.png").write_bytes(png(walk.rgb[i][..., ::-1]))
        (path / f"{i}d.png").write_bytes(png(walk.depth_mm[i]))
        pose = walk.poses[i].tolist()
        listed.append({"t": walk.stamp(i) / 1e9, "rgb": f"{i}.png", "depth": f"{i}d.png", "c2w": pose})
    content = {"width": walk.width, "height": walk.height, "fx": FX, "fy": FY, "cx": CX, "cy": CY, "frames": listed}
    if up is not None:
        content["up"] = list(up)
    (path / "transforms.json").write_text(json.dumps({**content, **extra}))
    return path
