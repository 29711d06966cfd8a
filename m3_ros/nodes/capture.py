"""One recording in progress: raw subscriptions that follow their publishers and hand every message to the bag."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from m3_ros.nodes.qos import offered_by_all
from m3_ros.recording.writer import RecordingWriter, TopicQos

log = logging.getLogger(__name__)

QUEUE_DEPTH = 200
"""Messages that DDS keeps for us on each topic while Python is busy."""
PATIENCE_POLLS = 10
"""The image topic waits this many polls for the others, so that no image comes before its camera_info and pose."""


@dataclass(frozen=True)
class Wanted:
    """A topic to record."""

    topic: str
    """Name of the topic."""
    types: tuple[str, ...]
    """Types to accept, the preferred one first."""
    role: str
    """What it is: image, camera_info, depth, odometry, tf, tf_static."""


@dataclass(frozen=True)
class Arrival:
    """One message that came in."""

    wanted: Wanted
    topic: str
    """Topic it came on; a compressed transport has a name of its own."""
    msgtype: str
    """Its type as pkg/msg/Name."""
    raw: bytes
    """CDR bytes."""


Watcher = Callable[[Arrival], bytes]
"""Sees every message before it is written and returns what to write; must be quick."""


class Capture:
    """Subscribes wanted topics as soon as somebody publishes them and writes every message to a bag."""

    def __init__(self, node: Node, path: Path, wanted: Iterable[Wanted], watch: Watcher) -> None:
        """Open the bag.

        Raises:
            RecordingError: the path exists already or cannot be written.
        """
        self.path = path
        self._node, self._watch = node, watch
        self._waiting = {w.topic: w for w in wanted}
        self._seen: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._subscriptions: dict[str, Any] = {}
        self._writer = RecordingWriter(path)

    @property
    def counts(self) -> dict[str, int]:
        """Messages taken so far by topic."""
        return dict(self._counts)

    @property
    def dropped(self) -> int:
        """Messages lost because the disk could not follow."""
        return sum(self._writer.dropped().values())

    def poll(self) -> None:
        """Subscribe to topics that are published by now; call it several times a second."""
        if not self._waiting:
            return
        types = {
            name: kinds for name, kinds in self._node.get_topic_names_and_types() if self._node.count_publishers(name)
        }
        for wanted in list(self._waiting.values()):
            chosen = _choose(wanted, types)
            self._seen[wanted.topic] += chosen is not None
            others = [w for w in self._waiting.values() if w.role != "image"]
            ready = self._seen[wanted.topic] > 1 and (
                wanted.role != "image" or not others or self._seen[wanted.topic] > PATIENCE_POLLS
            )
            if chosen is not None and ready:
                self._subscribe(wanted, *chosen)

    def close(self) -> None:
        """Take what DDS still holds, write it, and close the bag.

        Raises:
            RecordingError: the bag could not be written.
        """
        for subscription in self._subscriptions.values():
            _drain(subscription)
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._waiting.clear()
        self._writer.close()

    def _subscribe(self, wanted: Wanted, topic: str, msgtype: str) -> None:
        del self._waiting[wanted.topic]
        qos = offered_by_all(self._node, topic, QUEUE_DEPTH)
        offered = TopicQos(
            qos.reliability == ReliabilityPolicy.RELIABLE,
            qos.durability == DurabilityPolicy.TRANSIENT_LOCAL,
            QUEUE_DEPTH,
        )
        self._writer.add_topic(topic, msgtype, offered)

        def on_message(raw: bytes) -> None:
            self._take(Arrival(wanted, topic, msgtype, raw))

        self._subscriptions[topic] = self._node.create_subscription(
            message_class(msgtype), topic, on_message, qos, raw=True
        )
        log.info("recording %s (%s, %s)", topic, msgtype, qos.reliability.name.lower())

    def _take(self, arrival: Arrival) -> None:
        data = self._watch(arrival)
        self._counts[arrival.topic] += 1
        self._writer.write(arrival.topic, self._node.get_clock().now().nanoseconds, data)


def _drain(subscription: Any) -> None:
    """Take the messages that DDS holds for a subscription but no callback has seen."""
    with subscription.handle:
        while (message := subscription.handle.take_message(subscription.msg_type, True)) is not None:
            subscription.callback(message[0])


def message_class(msgtype: str) -> Any:
    """Import the Python class of a type named pkg/msg/Name."""
    package, _, name = msgtype.split("/")
    return getattr(import_module(f"{package}.msg"), name)


def _choose(wanted: Wanted, types: dict[str, list[str]]) -> tuple[str, str] | None:
    """Return topic and type to record; the compressed transport where that is preferred and offered."""
    for kind in wanted.types:
        name = f"{wanted.topic}/compressed" if kind.endswith("CompressedImage") else wanted.topic
        for topic in (wanted.topic, name):
            if kind in types.get(topic, ()):
                return topic, kind
    return None
