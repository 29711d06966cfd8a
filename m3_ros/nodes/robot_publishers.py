"""What a robot's drivers publish: pictures, calibration, depth, odometry, transforms; one stamp for one moment."""

from nav_msgs.msg import Odometry
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import Transform, inverse, transform
from m3_ros.nodes.conversions import camera_to_info, header, matrix_to_pose, matrix_to_transform, ns_to_stamp
from m3_ros.nodes.images import depth_to_millimetres, from_numpy
from m3_ros.nodes.qos import latched, reliable
from m3_ros.sim import RobotState, Shot, T_base_camera

OPTICAL_AXES: Transform = transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], (0, 0, 0))
"""T_link_optical: REP-103's optical axes (x right, y down, z forward) in a body frame (x forward, y left, z up)."""


HISTORY = 300
"""Pictures that DDS keeps for a subscriber that falls behind; beyond that the oldest are lost."""


class RobotPublishers:
    """The topics of a camera driver and a legged base; reliable, so that a recorder loses nothing."""

    def __init__(self, node: Node, camera: Camera, clock: bool) -> None:
        self.frames_published = 0
        self._node, self._camera = node, camera
        self._clock = node.create_publisher(Clock, "/clock", reliable(10)) if clock else None
        self._tf_static = node.create_publisher(TFMessage, "/tf_static", latched())
        self._tf = node.create_publisher(TFMessage, "/tf", reliable(100))
        self._odom = node.create_publisher(Odometry, "/odom", reliable(HISTORY))
        self._info = node.create_publisher(CameraInfo, "/camera/camera_info", reliable(HISTORY))
        self._depth = node.create_publisher(Image, "/camera/depth/image_raw", reliable(HISTORY))
        # The last: whoever has matched this one has matched those above, discovery keeps their order.
        self._image = node.create_publisher(Image, "/camera/image_raw", reliable(HISTORY))

    @property
    def watchers(self) -> int:
        """Subscribers of the images."""
        return int(self._image.get_subscription_count())

    def fixed_frames(self, stamp_ns: int) -> None:
        """Publish map -> odom (REP-105; there is no localisation) and base_link -> camera_link -> optical."""
        T_base_link = T_base_camera() @ inverse(OPTICAL_AXES)
        frames = [
            matrix_to_transform(transform([[1, 0, 0], [0, 1, 0], [0, 0, 1]], (0, 0, 0)), "map", "odom", stamp_ns),
            matrix_to_transform(T_base_link, "base_link", "camera_link", stamp_ns),
            matrix_to_transform(OPTICAL_AXES, "camera_link", "camera_optical_frame", stamp_ns),
        ]
        self._tf_static.publish(TFMessage(transforms=frames))

    def tick(self, stamp_ns: int) -> None:
        """Publish the simulated time, where that is wanted."""
        if self._clock is not None:
            self._clock.publish(Clock(clock=ns_to_stamp(stamp_ns)))

    def motion(self, T_odom_base: Transform, state: RobotState, stamp_ns: int) -> None:
        """Publish odometry and its transform."""
        self._tf.publish(TFMessage(transforms=[matrix_to_transform(T_odom_base, "odom", "base_link", stamp_ns)]))
        message = Odometry(header=header("odom", stamp_ns), child_frame_id="base_link")
        message.pose.pose = matrix_to_pose(T_odom_base)
        message.twist.twist.linear.x = float(state.vx)
        message.twist.twist.linear.y = float(state.vy)
        message.twist.twist.angular.z = float(state.yaw_rate)
        self._odom.publish(message)

    def picture(self, shot: Shot, stamp_ns: int) -> None:
        """Publish one picture with its calibration and depth."""
        frame = "camera_optical_frame"
        self._info.publish(camera_to_info(self._camera, frame, stamp_ns))
        self._depth.publish(from_numpy(depth_to_millimetres(shot.depth), "16UC1", frame, stamp_ns))
        self._image.publish(from_numpy(shot.rgb, "rgb8", frame, stamp_ns))
        self.frames_published += 1
