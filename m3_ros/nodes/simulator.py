"""The simulator node: a quadruped in a simulated room; publishes what a real one's drivers do and walks to goals."""

import json
import sys
from queue import Empty, SimpleQueue
from threading import Thread

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from std_msgs.msg import String

from m3_ros.errors import M3Error
from m3_ros.nodes.conversions import pose_to_matrix
from m3_ros.nodes.parameters import Parameters
from m3_ros.nodes.qos import latched
from m3_ros.nodes.robot_publishers import RobotPublishers
from m3_ros.nodes.runtime import quiet_after_shutdown, run
from m3_ros.nodes.simulated_robot import SimulatedRobot
from m3_ros.nodes.simulator_settings import SimulatorSettings

STOP_S = 2.0
"""How long the robot has to end its day [s]."""
FRAMES = ("map", "odom", "")
"""Frames in which a goal may be given; map and odom are one, since the robot has no localisation."""


class Simulator(Node):
    """Declares what a robot publishes and passes goals on to the thread in which the robot lives."""

    def __init__(self) -> None:
        super().__init__("simulator", namespace="m3")
        settings = Parameters(self, SimulatorSettings).current
        self._status = self.create_publisher(String, "sim/status", latched())
        self.create_subscription(PoseStamped, settings.goal_topic, self._on_goal, latched())
        publishers = RobotPublishers(self, settings.camera, settings.publish_clock)
        self._robot = SimulatedRobot(settings, publishers, self._now_ns, self._publish_status)
        self._failures: SimpleQueue[M3Error] = SimpleQueue()
        self.create_timer(0.5, self._check)
        self._thread = Thread(target=self._live, name="simulated robot", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the robot's thread; lighting a room cannot be interrupted, and is left behind."""
        self._robot.stop()
        self._thread.join(STOP_S)

    def _live(self) -> None:
        """Run the robot; OpenGL wants to be used by one thread, this one."""
        try:
            with quiet_after_shutdown(self):
                self._robot.live()
        except M3Error as error:
            self._failures.put(error)

    def _check(self) -> None:
        try:
            raise self._failures.get_nowait()
        except Empty:
            return

    def _on_goal(self, goal: PoseStamped) -> None:
        if goal.header.frame_id not in FRAMES:
            self.get_logger().warning(f"a goal in frame {goal.header.frame_id!r} was refused: give it in 'map'")
            return
        try:
            self._robot.go(pose_to_matrix(goal.pose))
        except ValueError as error:
            self.get_logger().warning(f"a goal was refused: {error}")

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _publish_status(self, **state: object) -> None:
        if self.context.ok():
            self._status.publish(String(data=json.dumps({"node": self.get_name(), **state})))


def main(args: list[str] | None = None) -> int:
    """Run the simulator node."""
    return run(Simulator, args)


if __name__ == "__main__":
    sys.exit(main())
