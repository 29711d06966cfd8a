"""What a node says about itself: a latched JSON line on `status` and its rows on /diagnostics."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from std_msgs.msg import String

from m3_ros.nodes.qos import latched, reliable


@dataclass(frozen=True)
class Health:
    """One row of /diagnostics."""

    ok: bool
    """False: a warning."""
    message: str
    """One sentence for a person."""
    values: Mapping[str, Any]
    """Numbers that go with it."""


class Reporter:
    """Publishes the state of one node; a state is published when it changes, the diagnostics when asked."""

    def __init__(self, node: Node, topic: str = "status") -> None:
        self._node = node
        self._status = node.create_publisher(String, topic, latched(10))
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", reliable(10))
        self._last = ""

    def status(self, **state: Any) -> None:
        """Publish the state as JSON, with the node's name, if it is new."""
        text = json.dumps({"node": self._node.get_name(), **state})
        if text != self._last and self._node.context.ok():
            self._last = text
            self._status.publish(String(data=text))

    def diagnostics(self, health: Health) -> None:
        """Publish one row on /diagnostics."""
        if not self._node.context.ok():
            return
        row = DiagnosticStatus(
            name=f"{self._node.get_fully_qualified_name()[1:]}", hardware_id="m3_ros", message=health.message
        )
        row.level = DiagnosticStatus.OK if health.ok else DiagnosticStatus.WARN
        row.values = [KeyValue(key=key, value=str(value)) for key, value in health.values.items()]
        message = DiagnosticArray(status=[row])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(message)
