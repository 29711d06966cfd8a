"""Writing a recording: raw messages into an MCAP rosbag2, through one queue and one thread."""

import contextlib
import logging
import queue
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from m3_ros.errors import RecordingError

log = logging.getLogger(__name__)

METADATA_VERSION = 8
"""Version of metadata.yaml that Humble and Jazzy both read; 9 writes QoS differently."""
PARTIAL = ".partial"
"""Suffix of the folder of a recording that is not closed yet."""


@dataclass(frozen=True)
class TopicQos:
    """What a topic's publishers offer; `ros2 bag play` publishes with it."""

    reliable: bool = True
    """Reliable rather than best effort."""
    transient_local: bool = False
    """Latched, as /tf_static is."""
    depth: int = 10
    """Length of the history."""


@dataclass(frozen=True)
class RecordingStats:
    """What became of a recording."""

    path: Path
    """Where it lies."""
    written: Mapping[str, int]
    """Messages on disk by topic."""
    dropped: Mapping[str, int]
    """Messages lost by topic because the disk could not follow; empty if none."""


class _Item(NamedTuple):
    topic: str
    stamp_ns: int
    data: bytes


class RecordingWriter:
    """Writes serialised messages to a new bag without blocking the callbacks that receive them.

    The bag grows in `PATH.partial` and is renamed to `PATH` when it is closed; a killed recording stays readable there.
    """

    def __init__(self, path: Path | str, queue_size: int = 128, patience_s: float = 0.2) -> None:
        """Start a recording.

        Args:
            path: The bag's folder; must not exist.
            queue_size: Messages that may wait for the disk.
            patience_s: How long `write` waits for room in a full queue before it drops the message [s].

        Raises:
            RecordingError: the folder or an unfinished recording is there, or it cannot be created.
        """
        self.path = Path(path)
        self._partial = self.path.with_name(self.path.name + PARTIAL)
        for taken in (self.path, self._partial):
            if taken.exists():
                raise RecordingError(
                    f"{taken} exists already, and a recording is never overwritten: choose another name"
                )
        self._patience_s = patience_s
        self._queue: queue.Queue[_Item | None] = queue.Queue(queue_size)
        self._bag_lock = threading.Lock()
        self._count_lock = threading.Lock()  # its own: a callback that counts a drop must not wait for the disk
        self._connections: dict[str, Any] = {}
        self._written: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._failure: Exception | None = None
        self._stats: RecordingStats | None = None
        self._bag = self._open()
        self._thread = threading.Thread(target=self._work, name=f"writer of {self.path.name}", daemon=True)
        self._thread.start()

    def _open(self) -> Any:
        from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

        try:
            bag = Writer(self._partial / self.path.name, version=METADATA_VERSION, storage_plugin=StoragePlugin.MCAP)
            bag.open()
        except (OSError, WriterError) as error:
            raise RecordingError(
                f"no recording can be written to {self.path}: {error}: choose a writable folder"
            ) from error
        return bag

    def add_topic(self, topic: str, msgtype: str, qos: TopicQos | None = None) -> None:
        """Declare a topic of a standard type (pkg/msg/Name) before its first message; again is harmless.

        Raises:
            RecordingError: the type is not known, or the recording is closed.
        """
        from rosbags.typesys import Stores, get_typestore

        store = get_typestore(Stores.ROS2_JAZZY)
        if msgtype not in store.types:
            raise RecordingError(f"{topic} has type {msgtype}, which is no standard type: leave the topic out")
        with self._bag_lock:
            self._refuse_if_closed()
            if topic not in self._connections:
                offered = [_rosbags_qos(qos or TopicQos())]
                self._connections[topic] = self._bag.add_connection(
                    topic, msgtype, typestore=store, offered_qos_profiles=offered
                )

    def write(self, topic: str, stamp_ns: int, data: bytes) -> bool:
        """Hand over one serialised message; False if it had to be dropped (and counted).

        Args:
            topic: A declared topic.
            stamp_ns: Time of reception [ns].
            data: CDR bytes.

        Raises:
            RecordingError: the topic is not declared, the recording is closed, or the disk failed.
        """
        self._refuse_if_closed()
        if topic not in self._connections:
            raise RecordingError(f"{topic} is not declared in this recording: call add_topic first")
        if self._failure is not None:
            raise RecordingError(f"writing {self._partial} failed ({self._failure}): free the disk and record again")
        try:
            self._queue.put(_Item(topic, stamp_ns, data), timeout=self._patience_s)
        except queue.Full:
            if self._drop(topic) == 1:
                log.warning("the disk cannot follow: messages are being dropped, the first on %s", topic)
            return False
        return True

    def written(self) -> Mapping[str, int]:
        """Return how many messages of each topic are written so far."""
        with self._count_lock:
            return dict(self._written)

    def dropped(self) -> Mapping[str, int]:
        """Return how many messages of each topic were lost so far."""
        with self._count_lock:
            return dict(self._dropped)

    def close(self) -> RecordingStats:
        """Write what waits, finish the files and give the recording its name; again returns the same.

        Raises:
            RecordingError: the disk failed; what was written stays in `PATH.partial`.
        """
        if self._stats is not None:
            return self._stats
        self._stats = RecordingStats(self.path, self._written, self._dropped)
        self._queue.put(None)
        self._thread.join()
        failure = self._failure or self._finish()
        if failure is not None:
            raise RecordingError(
                f"{self.path} could not be finished ({failure}): what was written is in {self._partial}"
            )
        if self._dropped:
            log.warning("%s lacks %d messages that the disk could not follow", self.path, self._dropped.total())
        return self._stats

    def _finish(self) -> Exception | None:
        from rosbags.rosbag2 import WriterError

        try:
            self._bag.close()
            (self._partial / self.path.name).rename(self.path)
            self._partial.rmdir()
        except (OSError, WriterError) as error:
            return error
        return None

    def _work(self) -> None:
        """Write until told to stop; after a failure only count what is lost."""
        from rosbags.rosbag2 import WriterError

        while (item := self._queue.get()) is not None:
            if self._failure is not None:
                self._drop(item.topic)
                continue
            try:
                with self._bag_lock:
                    self._bag.write(self._connections[item.topic], item.stamp_ns, item.data)
                with self._count_lock:
                    self._written[item.topic] += 1
            except (OSError, WriterError, ValueError) as error:
                log.warning("writing %s failed: %s", self._partial, error)
                self._failure = error
                self._drop(item.topic)
        if self._failure is not None:
            with contextlib.suppress(OSError):
                self._bag.abort()

    def _drop(self, topic: str) -> int:
        """Count a lost message; return how many are lost now."""
        with self._count_lock:
            self._dropped[topic] += 1
            return self._dropped.total()

    def _refuse_if_closed(self) -> None:
        if self._stats is not None:
            raise RecordingError(f"the recording {self.path} is closed: start a new one")

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the recording."""
        self.close()


def _rosbags_qos(qos: TopicQos) -> Any:
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    for_ever = QosTime(2147483647, 4294967295)
    return Qos(
        QosHistory.KEEP_LAST,
        qos.depth,
        QosReliability.RELIABLE if qos.reliable else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if qos.transient_local else QosDurability.VOLATILE,
        for_ever,
        for_ever,
        QosLiveliness.AUTOMATIC,
        for_ever,
        avoid_ros_namespace_conventions=False,
    )
