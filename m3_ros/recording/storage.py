"""Bag files: raw messages out of rosbag2 files, MCAP or sqlite3, whole or cut short.

Files are opened themselves, never the folder's metadata.yaml: bags exist whose metadata disagrees with their files, and
reading them by folder silently yields nothing. The metadata serves to compare counts only.
"""

import heapq
import logging
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from m3_ros.errors import RecordingError
from m3_ros.recording.recover import is_truncated, records
from m3_ros.recording.summary import TopicSummary

log = logging.getLogger(__name__)

SUFFIXES = (".mcap", ".db3")
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class RawMessage(NamedTuple):
    """One serialised message."""

    topic: str
    """Topic name."""
    msgtype: str
    """Message type as pkg/msg/Name."""
    log_ns: int
    """When it was recorded [ns]."""
    data: bytes
    """CDR bytes."""


class BagFile(Protocol):
    """One storage file."""

    path: Path

    @property
    def topics(self) -> tuple[TopicSummary, ...]:
        """Topics and how many messages each holds."""
        ...

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """Yield the messages of some topics in the order of recording."""
        ...


def bag_files(path: Path) -> list[Path]:
    """Return the storage files of a bag: the path itself, or the files of its folder.

    Raises:
        RecordingError: there are none, and what is there instead.
    """
    if path.is_file():
        return [path]
    for pattern in ("*", "*/*"):  # an unfinished recording keeps its files one folder deeper
        files = sorted(file for file in path.glob(pattern) if file.suffix in SUFFIXES)
        if files:
            return files
    if packed := sorted(path.glob("*.zstd")):
        raise RecordingError(f"{path} is compressed as a whole ({packed[0].name}): run `zstd -d` on its files first")
    raise RecordingError(
        f"{path} holds no bag files ({' or '.join(SUFFIXES)}): give the folder or file of a rosbag2 recording"
    )


class WholeFile:
    """A complete MCAP or sqlite3 file, read by rosbags."""

    def __init__(self, path: Path) -> None:
        """Open a file once to learn its topics.

        Raises:
            RecordingError: it is damaged.
        """
        self.path = path
        with self._open() as reader:
            self._topics = tuple(TopicSummary(c.topic, c.msgtype, c.msgcount) for c in reader.connections)

    @property
    def topics(self) -> tuple[TopicSummary, ...]:
        """Topics and how many messages each holds."""
        return self._topics

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """Yield the messages of some topics in the order of recording.

        Raises:
            RecordingError: the file breaks in the middle.
        """
        with self._open() as reader:
            wanted = [c for c in reader.connections if c.topic in topics]
            if not wanted:
                return
            stream = reader.messages(connections=wanted)
            while (item := self._next(stream)) is not None:
                connection, log_ns, data = item
                yield RawMessage(connection.topic, connection.msgtype, log_ns, _unpacked(data))

    def _open(self) -> Any:
        from rosbags.rosbag2 import Reader

        try:
            reader = Reader(self.path)
            reader.open()
        except _broken_file_errors() as error:
            raise RecordingError(
                f"{self.path} cannot be read ({error}): the file is damaged, record it again"
            ) from error
        return closing(reader)

    def _next(self, stream: Iterator[Any]) -> Any:
        try:
            return next(stream, None)
        except _broken_file_errors() as error:
            raise RecordingError(
                f"{self.path} breaks in the middle ({error}): the file is damaged; run m3_ros.recording.recover on it"
            ) from error


class CutFile:
    """An MCAP file without its end, as a killed recorder leaves it: read front to back, as far as it goes."""

    def __init__(self, path: Path) -> None:
        """Scan a file for its topics.

        Raises:
            RecordingError: no message is readable.
        """
        self.path = path
        counts: Counter[tuple[str, str]] = Counter()
        for schema, channel, _ in records(path):
            counts[(channel.topic, schema.name if schema else "")] += 1
        if not counts:
            raise RecordingError(f"{path} is truncated and no message can be read from it: record again")
        log.warning("%s is truncated; %d messages could be read from it", path, counts.total())
        self._topics = tuple(TopicSummary(topic, msgtype, count) for (topic, msgtype), count in counts.items())

    @property
    def topics(self) -> tuple[TopicSummary, ...]:
        """Topics and how many messages each holds."""
        return self._topics

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """Yield the messages of some topics in the order of recording."""
        for schema, channel, message in records(self.path):
            if channel.topic in topics:
                msgtype = schema.name if schema else ""
                yield RawMessage(channel.topic, msgtype, message.log_time, _unpacked(message.data))


class Bag:
    """All files of one recording, read as one stream."""

    def __init__(self, path: Path) -> None:
        """Open a bag.

        Raises:
            RecordingError: it is missing, damaged or empty.
        """
        self.path = path
        self.files = [_open_file(file) for file in bag_files(path)]
        totals: Counter[tuple[str, str]] = Counter()
        for file in self.files:
            for topic in file.topics:
                totals[(topic.name, topic.msgtype)] += topic.count
        self.topics = tuple(TopicSummary(name, kind, count) for (name, kind), count in sorted(totals.items()))
        if not any(topic.count for topic in self.topics):
            raise RecordingError(f"{path} is an empty bag: nothing was recorded; check that the robot was publishing")
        self._compare_with_metadata()

    def named(self, name: str) -> TopicSummary | None:
        """Return a topic that holds messages, by its name."""
        return next((topic for topic in self.topics if topic.name == name and topic.count), None)

    def of_type(self, *msgtypes: str) -> list[TopicSummary]:
        """Return the topics with messages of one of some types; old bags leave out `/msg/`."""
        return [
            t
            for t in self.topics
            if t.count and t.msgtype.replace("/msg/", "/") in [m.replace("/msg/", "/") for m in msgtypes]
        ]

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """Yield the messages of some topics in the order of recording, over all files."""
        yield from heapq.merge(*(file.messages(topics) for file in self.files), key=lambda message: message.log_ns)

    def first(self, topic: str) -> RawMessage:
        """Return the first message of a topic that is known to hold some."""
        stream = self.messages([topic])
        message = next(stream, None)
        if message is None:
            raise RecordingError(f"{self.path}: {topic} should hold messages but none can be read: the bag is damaged")
        return message

    def _compare_with_metadata(self) -> None:
        stated = _stated_count(self.path)
        held = sum(topic.count for topic in self.topics)
        if stated is not None and stated != held:
            log.warning(
                "%s: metadata.yaml states %d messages, the files hold %d; reading the files", self.path, stated, held
            )


def decode(message: RawMessage) -> Any:
    """Deserialise a message of a standard type.

    Raises:
        RecordingError: its bytes do not fit its type.
    """
    from rosbags.serde import SerdeError

    msgtype = message.msgtype if "/msg/" in message.msgtype else message.msgtype.replace("/", "/msg/")
    try:
        return _typestore().deserialize_cdr(message.data, msgtype)
    except (SerdeError, KeyError, ValueError, IndexError, AssertionError, UnicodeDecodeError) as error:
        raise RecordingError(
            f"{message.topic}: a message at {message.log_ns / 1e9:.3f} s is no {msgtype} ({error}): "
            "the bag is damaged, record it again"
        ) from error


@cache
def _typestore() -> Any:
    """Return the standard types of ROS 2."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)


def _open_file(path: Path) -> BagFile:
    if path.suffix == ".bag":
        raise RecordingError(
            f"{path} is a ROS 1 bag: convert it with `rosbags-convert --src {path.name} --dst {path.stem}`"
        )
    if path.suffix not in SUFFIXES:
        raise RecordingError(
            f"{path} is no recording: wanted a rosbag2 folder, a .mcap or .db3 file, or a folder with transforms.json"
        )
    if path.suffix == ".mcap" and is_truncated(path):
        return CutFile(path)
    return WholeFile(path)


def _broken_file_errors() -> tuple[type[Exception], ...]:
    """Return what rosbags and the libraries below it raise on damaged files."""
    import struct
    import zlib

    import apsw
    from rosbags.rosbag2 import ReaderError, storage_mcap

    parsing = (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        EOFError,
        RuntimeError,
        OverflowError,
        MemoryError,
        struct.error,
    )
    return (ReaderError, apsw.Error, zlib.error, storage_mcap.zstd.ZstdError, *parsing)


def _unpacked(data: bytes) -> bytes:
    """Undo rosbag2's compression by message; CDR never begins with zstd's magic."""
    if data[:4] != ZSTD_MAGIC:
        return data
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def _stated_count(path: Path) -> int | None:
    """Return the message count that metadata.yaml states; None (and a warning if damaged) where there is none."""
    file = path / "metadata.yaml"
    if not file.is_file():
        return None
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return int(
            YAML(typ="safe").load(file.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]["message_count"]
        )
    except (YAMLError, OSError, KeyError, TypeError, ValueError) as error:
        log.warning("%s is damaged (%s); reading the bag files without it", file, type(error).__name__)
        return None
