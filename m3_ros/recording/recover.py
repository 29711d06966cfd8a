"""Recordings that were cut short: read what is there, or make a whole file of it."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from m3_ros.errors import RecordingError

log = logging.getLogger(__name__)

MCAP_MAGIC = b"\x89MCAP0\r\n"


@dataclass(frozen=True)
class Recovery:
    """What could be saved of a truncated recording."""

    path: Path
    """The whole MCAP file that was written."""
    messages: int
    """Messages in it."""


class McapRecord(NamedTuple):
    """One message of an MCAP file with its schema and channel, as the mcap library gives them."""

    schema: Any
    channel: Any
    message: Any


def is_truncated(path: Path) -> bool:
    """Tell whether an MCAP file begins as one but lacks its end.

    Raises:
        RecordingError: the file does not begin as MCAP.
    """
    with path.open("rb") as stream:
        head = stream.read(len(MCAP_MAGIC))
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - len(MCAP_MAGIC)))
        tail = stream.read()
    if head != MCAP_MAGIC:
        raise RecordingError(
            f"{path} is no MCAP file (its first bytes are {head.hex() or 'missing'}): give the bag file itself"
        )
    return tail != MCAP_MAGIC or path.stat().st_size < 2 * len(MCAP_MAGIC)


def records(path: Path) -> Iterator[McapRecord]:
    """Yield the messages of an MCAP file from its beginning, up to where it breaks off."""
    import struct

    import zstandard
    from mcap.exceptions import McapError
    from mcap.reader import NonSeekingReader

    breaks = (McapError, struct.error, zstandard.ZstdError, ValueError, KeyError, EOFError, RuntimeError, MemoryError)

    with path.open("rb") as stream:
        reader = NonSeekingReader(stream, record_size_limit=2**31)
        try:
            for schema, channel, message in reader.iter_messages(log_time_order=False):
                yield McapRecord(schema, channel, message)
        except breaks as error:
            log.debug("%s breaks off: %s %s", path, type(error).__name__, error)


def recover(source: Path | str, target: Path | str | None = None) -> Recovery:
    """Copy every readable message of a truncated MCAP recording into a new, whole MCAP file.

    Args:
        source: The file, or the folder of a recording that was killed (`NAME.partial`).
        target: Where to write; by default `NAME.recovered.mcap` beside the source.

    Raises:
        RecordingError: nothing is readable, or the target exists.
    """
    found = _mcap_files(Path(source))
    name = Path(source).name.removesuffix(".mcap").removesuffix(".partial")
    goal = Path(target) if target is not None else Path(source).with_name(f"{name}.recovered.mcap")
    if goal.exists():
        raise RecordingError(f"{goal} exists already: remove it or choose another name")
    temporary = goal.with_name(goal.name + ".tmp")
    try:
        count = _copy(found, temporary)
        if count == 0:
            raise RecordingError(f"no message can be read from {source}: it broke off too early, record again")
        temporary.replace(goal)
    finally:
        temporary.unlink(missing_ok=True)
    return Recovery(goal, count)


def _mcap_files(source: Path) -> list[Path]:
    if not source.exists():
        raise RecordingError(f"{source} does not exist: give the path of a truncated .mcap file or of its folder")
    files = [source] if source.is_file() else sorted(source.rglob("*.mcap"))
    if not files:
        raise RecordingError(f"{source} holds no .mcap file: only MCAP recordings can be recovered")
    for file in files:
        is_truncated(file)
    return files


def _copy(files: list[Path], target: Path) -> int:
    """Write the messages of several files into one; return how many."""
    from mcap.writer import CompressionType, Writer

    count = 0
    with target.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE)
        writer.start("ros2", "m3_ros recover")
        for file in files:
            schemas: dict[int, int] = {0: 0}
            channels: dict[int, int] = {}
            for schema, channel, message in records(file):
                if schema is not None and schema.id not in schemas:
                    schemas[schema.id] = writer.register_schema(schema.name, schema.encoding, schema.data)
                if channel.id not in channels:
                    channels[channel.id] = writer.register_channel(
                        channel.topic, channel.message_encoding, schemas[channel.schema_id], channel.metadata
                    )
                writer.add_message(
                    channels[channel.id], message.log_time, message.data, message.publish_time, message.sequence
                )
                count += 1
        writer.finish()
    return count
