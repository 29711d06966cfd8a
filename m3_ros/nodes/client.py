"""The other side of the nodes: ask, train, load, watch states, send goals; every call has a deadline."""

import json
import sys
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Any, Self

import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import Trigger

from m3_ros.action import TrainMemory
from m3_ros.errors import Cancelled, M3Error
from m3_ros.geometry.pose import Transform
from m3_ros.nodes.conversions import matrix_to_pose_stamped, stamp_to_ns
from m3_ros.nodes.qos import latched
from m3_ros.srv import LoadMemory, Query


class Client:
    """Talks to the nodes of one namespace from ordinary, blocking code."""

    def __init__(self, name: str = "m3_client", namespace: str = "m3") -> None:
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(name, namespace=namespace, context=self._context)
        self._states: dict[str, dict[str, dict[str, Any]]] = {}
        self._news = Condition()
        self._goals = self.node.create_publisher(PoseStamped, "goal_pose", latched())
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = Thread(target=self._spin, name="m3 client")
        self._thread.start()

    def query(self, text: str, timeout_s: float = 30.0, **fields: Any) -> Query.Response:
        """Ask the memory; `fields` are further fields of m3_ros/srv/Query.

        Raises:
            M3Error: nobody answers.
        """
        return self._call(Query, "query", Query.Request(text=text, **fields), timeout_s)

    def load_memory(self, path: Path | str, timeout_s: float = 60.0) -> LoadMemory.Response:
        """Let the memory node load a saved memory.

        Raises:
            M3Error: nobody answers.
        """
        return self._call(LoadMemory, "load_memory", LoadMemory.Request(map_url=str(path)), timeout_s)

    def trigger(self, service: str, timeout_s: float = 30.0) -> str:
        """Call a std_srvs/Trigger such as "recorder/stop" or "navigator/go" and return its message.

        Raises:
            M3Error: nobody answers, or the node refuses.
        """
        response = self._call(Trigger, service, Trigger.Request(), timeout_s)
        if not response.success:
            raise M3Error(f"{service}: {response.message}")
        return str(response.message)

    def train(
        self,
        recording: Path | str,
        memory: Path | str = "",
        preset: str = "",
        encoders: tuple[str, ...] = (),
        on_feedback: Callable[[Any], None] = lambda _: None,
        cancel: Event | None = None,
        timeout_s: float = inf,
        resume: bool = False,
    ) -> TrainMemory.Result:
        """Let the trainer build a memory and wait for it; setting `cancel` cancels the training and still waits.

        Raises:
            M3Error: nobody answers, the trainer is busy, or the time is over.
        """
        client = ActionClient(self.node, TrainMemory, "train")
        try:
            if not client.wait_for_server(10.0):
                raise M3Error(f"nobody offers the action {self._resolved('train')}: start the trainer, as `m3 up` does")
            goal = TrainMemory.Goal(recording_url=str(recording), memory_url=str(memory), preset=preset)
            goal.resume = resume
            goal.encoders = list(encoders)
            sent = client.send_goal_async(goal, feedback_callback=lambda message: on_feedback(message.feedback))
            handle = self._wait(sent, 10.0, "the trainer")
            if not handle.accepted:
                raise M3Error("the trainer refused the goal: a training is running; cancel it or wait")
            return self._result(handle, cancel or Event(), timeout_s)
        finally:
            client.destroy()

    def status(
        self,
        until: Callable[[dict[str, Any]], bool],
        node: str = "simulator",
        topic: str = "sim/status",
        timeout_s: float = 60.0,
    ) -> dict[str, Any]:
        """Wait until the state that a node publishes as JSON fulfils a condition, and return it.

        Raises:
            M3Error: it did not in time; the message holds the last state.
        """
        if topic not in self._states:
            self._states[topic] = {}
            self.node.create_subscription(String, topic, lambda m: self._on_state(topic, m), latched(10))
        deadline = time.monotonic() + timeout_s
        with self._news:
            while True:
                state = self._states[topic].get(node)
                if state is not None and until(state):
                    return state
                left = deadline - time.monotonic()
                if left <= 0:
                    raise M3Error(f"the {node} did not get there within {timeout_s:g} s; its last state is {state}")
                self._news.wait(left)

    def go(self, answer: Query.Response, timeout_s: float = 10.0) -> str:
        """Let the navigator send the robot to the best candidate of an answer just given; returns its message.

        Raises:
            M3Error: nothing was found, the navigator does not run, or there is no place to stand.
        """
        if not answer.candidates:
            raise M3Error(f"there is nowhere to go: {answer.message}")
        stamp_ns = stamp_to_ns(answer.candidates[0].header.stamp)
        self.status(lambda s: s["stamp_ns"] >= stamp_ns, "navigator", "status", timeout_s)
        return self.trigger("navigator/go", timeout_s)

    def send_goal(self, T_map_base: Transform, frame_id: str = "map") -> None:
        """Publish a goal for the robot on `goal_pose`."""
        self._goals.publish(matrix_to_pose_stamped(T_map_base, frame_id, self.node.get_clock().now().nanoseconds))

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the graph."""
        self.close()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def _on_state(self, topic: str, message: String) -> None:
        state = json.loads(message.data)
        with self._news:
            self._states[topic][str(state.get("node"))] = state
            self._news.notify_all()

    def _call(self, kind: Any, service: str, request: Any, timeout_s: float) -> Any:
        client = self.node.create_client(kind, service)
        try:
            if not client.wait_for_service(min(10.0, timeout_s)):
                raise M3Error(f"nobody offers the service {self._resolved(service)}: start the nodes, as `m3 up` does")
            return self._wait(client.call_async(request), timeout_s, self._resolved(service))
        finally:
            self.node.destroy_client(client)

    def _result(self, handle: Any, cancel: Event, timeout_s: float) -> TrainMemory.Result:
        result = handle.get_result_async()
        done = Event()
        result.add_done_callback(lambda _: done.set())
        deadline = time.monotonic() + timeout_s
        asked = False
        while not done.wait(0.05 if not asked else 1.0):
            if cancel.is_set() and not asked:
                handle.cancel_goal_async()
                asked = True
            if time.monotonic() > deadline:
                raise Cancelled(f"the training took longer than {timeout_s:g} s")
        return result.result().result

    def _wait(self, future: Future, timeout_s: float, who: str) -> Any:
        done = Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout_s):
            raise M3Error(f"{who} did not answer within {timeout_s:g} s")
        return future.result()

    def _resolved(self, name: str) -> str:
        return str(self.node.resolve_service_name(name))


if __name__ == "__main__":
    from m3_ros.nodes.ask import main

    sys.exit(main())
