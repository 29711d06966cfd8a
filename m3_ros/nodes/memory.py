"""The memory node: loads a memory and says where things are; services `query` and `load_memory`, topic `query_text`."""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from m3_ros.errors import M3Error
from m3_ros.msg import Grounding
from m3_ros.nodes import tf
from m3_ros.nodes.answering import Asker, LoadedMemory, MemorySettings
from m3_ros.nodes.clouds import write_cloud
from m3_ros.nodes.groundings import markers
from m3_ros.nodes.locations import local_path
from m3_ros.nodes.parameters import Parameters
from m3_ros.nodes.qos import latched, reliable
from m3_ros.nodes.reporting import Health, Reporter
from m3_ros.nodes.runtime import run
from m3_ros.query.phrase import subject
from m3_ros.srv import LoadMemory, Query

LEAST_RELEVANCY = 0.1
"""Gaussians that fit less are left out of the published cloud."""


class Memory(LifecycleNode):
    """Holds at most one memory; a question is computed in one worker thread, so callbacks never wait for ever."""

    def __init__(self) -> None:
        super().__init__("memory", namespace="m3")
        self.parameters = Parameters(self, MemorySettings)
        self._loaded: LoadedMemory | None = None
        self._active = False
        self._questions = 0
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="question")
        self._report = Reporter(self)
        self._tf = tf.listen(self)
        self._grounding = self.create_publisher(Grounding, "grounding", latched())
        self._markers = self.create_publisher(MarkerArray, "markers", latched())
        self._relevancy = self.create_publisher(PointCloud2, "relevancy", latched())
        group = ReentrantCallbackGroup()
        self.create_service(Query, "query", self._on_query, callback_group=group)
        self.create_service(LoadMemory, "load_memory", self._on_load, callback_group=group)
        self.create_subscription(String, "query_text", self._on_text, reliable(10), callback_group=group)
        self.create_timer(1.0, self._publish_diagnostics)
        if self.parameters.current.autostart:
            self.trigger_configure()
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the memory that the parameters name; without one the node waits for `load_memory`."""
        super().on_configure(state)
        url = self.parameters.current.memory_path
        if url:
            try:
                self._load(url)
            except M3Error as error:
                self.get_logger().error(f"the memory was not loaded: {error}")
                if not self.parameters.current.autostart:
                    return TransitionCallbackReturn.FAILURE
        self._say()
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to answer."""
        self._active = True
        self._say()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop answering; the memory stays loaded."""
        self._active = False
        self._say()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the memory."""
        self._loaded = None
        self._say()
        return super().on_cleanup(state)

    def close(self) -> None:
        """End the worker thread."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _load(self, url: str) -> LoadedMemory:
        """Load a memory; the one in use stays until the new one is whole."""
        self._loaded = LoadedMemory.open(local_path(url), self.parameters.current)
        self.get_logger().info(f"{self._loaded.gaussians} Gaussians from {self._loaded.path}")
        return self._loaded

    def _on_load(self, request: LoadMemory.Request, response: LoadMemory.Response) -> LoadMemory.Response:
        try:
            if not local_path(request.map_url).exists():
                response.error_code = LoadMemory.Response.DOES_NOT_EXIST
                response.message = (
                    f"there is no memory at {local_path(request.map_url)}: give the folder that training wrote"
                )
            else:
                response.message = f"loaded {self._load(request.map_url).path}"
        except M3Error as error:
            response.error_code, response.message = LoadMemory.Response.INVALID_MEMORY, str(error)
        response.gaussians = self._loaded.gaussians if self._loaded else 0
        self._say()
        return response

    def _on_query(self, request: Query.Request, _: Query.Response) -> Query.Response:
        return self._ask(request)

    def _on_text(self, message: String) -> None:
        response = self._ask(Query.Request(text=message.data))
        self.get_logger().info(response.message)

    def _ask(self, request: Query.Request) -> Query.Response:
        settings = self.parameters.current
        loaded = self._loaded
        if not request.text.strip():
            return _refusal(
                Query.Response.EMPTY_TEXT, 'the question is empty: ask for something, as in "find the chair"'
            )
        if not self._active:
            return _refusal(Query.Response.MEMORY_NOT_LOADED, "the memory node is not active: activate it first")
        if loaded is None:
            return _refusal(
                Query.Response.MEMORY_NOT_LOADED,
                "no memory is loaded: call load_memory or set the parameter memory_path",
            )
        asker = Asker(loaded, self._tf, settings, self.get_clock().now().nanoseconds)
        future = self._worker.submit(asker.respond, request)
        try:
            response = future.result(settings.query_timeout_s)
        except TimeoutError:
            future.cancel()
            return _refusal(
                Query.Response.TIMEOUT, f"no answer within {settings.query_timeout_s:g} s: raise query_timeout_s"
            )
        self._questions += 1
        self._publish(loaded, request.text, response)
        return response

    def _publish(self, loaded: LoadedMemory, text: str, response: Query.Response) -> None:
        self._markers.publish(markers(list(response.candidates)))
        if response.candidates:
            self._grounding.publish(response.candidates[0])
        if response.error_code == Query.Response.NONE and self._relevancy.get_subscription_count():
            self._worker.submit(self._publish_relevancy, loaded, text)

    def _publish_relevancy(self, loaded: LoadedMemory, text: str) -> None:
        fit = loaded.finder.relevancy(subject(text)).probability
        shown = fit > LEAST_RELEVANCY
        rows = np.concatenate([loaded.finder.memory.gaussians.means[shown].numpy(), fit[shown, None].numpy()], axis=1)
        stamp_ns = self.get_clock().now().nanoseconds
        self._relevancy.publish(
            write_cloud(rows.astype(np.float32), ("x", "y", "z", "intensity"), loaded.frame, stamp_ns)
        )

    def _say(self) -> None:
        state: dict[str, Any] = {"state": "active" if self._active else "inactive", "memory": ""}
        if self._loaded is not None:
            state.update(memory=str(self._loaded.path), gaussians=self._loaded.gaussians)
        self._report.status(**state)

    def _publish_diagnostics(self) -> None:
        message = "ready" if self._active and self._loaded else "no memory is loaded" if self._active else "not active"
        path = self._loaded.path if self._loaded else ""
        self._report.diagnostics(Health(message == "ready", message, {"questions": self._questions, "memory": path}))


def _refusal(code: int, message: str) -> Query.Response:
    return Query.Response(error_code=code, message=message)


def main(args: list[str] | None = None) -> int:
    """Run the memory node."""
    return run(Memory, args, threads=4)


if __name__ == "__main__":
    sys.exit(main())
