"""The navigator node: turns the memory's answer into a goal on `goal_pose`, and hands it to Nav2 where Nav2 runs."""

import sys
from dataclasses import dataclass
from typing import Annotated, Any

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from std_srvs.srv import Trigger

from m3_ros.msg import Grounding
from m3_ros.nodes.conversions import stamp_to_ns
from m3_ros.nodes.parameters import Live, Parameters
from m3_ros.nodes.qos import latched
from m3_ros.nodes.reporting import Reporter
from m3_ros.nodes.runtime import run


@dataclass(frozen=True)
class NavigatorSettings:
    """Parameters of the navigator node."""

    auto_go: Annotated[bool, Live()] = False
    """True: every answer with a standing pose becomes a goal at once; False: only when ~/go is called."""
    use_nav2: Annotated[bool, Live()] = True
    """Also send the goal to Nav2's NavigateToPose where nav2_msgs is installed and the server runs."""
    nav2_action: str = "/navigate_to_pose"
    """Name of Nav2's action."""


class Navigator(Node):
    """Remembers the latest answer and makes a goal of it."""

    def __init__(self) -> None:
        super().__init__("navigator", namespace="m3")
        self.parameters = Parameters(self, NavigatorSettings)
        self._report = Reporter(self)
        self._grounding: Grounding | None = None
        self._goals = self.create_publisher(PoseStamped, "goal_pose", latched())
        self._nav2 = Nav2(self, self.parameters.current.nav2_action) if self.parameters.current.use_nav2 else None
        self.create_subscription(Grounding, "grounding", self._on_grounding, latched())
        self.create_service(Trigger, "~/go", self._on_go)
        self._report.status(state="idle", text="", stamp_ns=0)

    def _on_grounding(self, grounding: Grounding) -> None:
        self._grounding = grounding
        self._say("ready", grounding)
        if self.parameters.current.auto_go:
            self._go(grounding)

    def _on_go(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._grounding is None:
            response.success, response.message = (
                False,
                "nothing was found yet: ask `query` or publish on `query_text` first",
            )
        else:
            response.success, response.message = self._go(self._grounding)
        return response

    def _go(self, grounding: Grounding) -> tuple[bool, str]:
        if not grounding.has_approach:
            return False, f"no standing pose is known for {grounding.text!r}: it stands where the robot cannot go"
        goal = PoseStamped(pose=grounding.approach)
        goal.header.frame_id = grounding.header.frame_id
        goal.header.stamp = self.get_clock().now().to_msg()
        self._goals.publish(goal)
        by_nav2 = self._nav2 is not None and self.parameters.current.use_nav2 and self._nav2.send(goal)
        place = f"({goal.pose.position.x:.2f}, {goal.pose.position.y:.2f}) in {goal.header.frame_id!r}"
        message = f"goal for {grounding.text!r}: {place}{', sent to Nav2' if by_nav2 else ''}"
        self.get_logger().info(message)
        self._say("goal", grounding, x=goal.pose.position.x, y=goal.pose.position.y, nav2=by_nav2)
        return True, message

    def _say(self, state: str, grounding: Grounding, **more: object) -> None:
        stamp_ns = stamp_to_ns(grounding.header.stamp)
        self._report.status(state=state, text=grounding.text, stamp_ns=stamp_ns, **more)


class Nav2:
    """Nav2's NavigateToPose, if it is installed and runs."""

    def __init__(self, node: Node, action: str) -> None:
        self._node = node
        self._client: Any = None
        try:
            from nav2_msgs.action import NavigateToPose
        except ImportError:
            return
        from rclpy.action import ActionClient

        self._kind = NavigateToPose
        self._client = ActionClient(node, NavigateToPose, action)

    def send(self, goal: PoseStamped) -> bool:
        """Send a goal without waiting; False: there is no Nav2."""
        if self._client is None or not self._client.server_is_ready():
            return False
        self._client.send_goal_async(self._kind.Goal(pose=goal)).add_done_callback(self._on_answer)
        return True

    def _on_answer(self, future: Any) -> None:
        if not future.result().accepted:
            self._node.get_logger().warning("Nav2 refused the goal: see the log of bt_navigator")


def main(args: list[str] | None = None) -> int:
    """Run the navigator node."""
    return run(Navigator, args)


if __name__ == "__main__":
    sys.exit(main())
