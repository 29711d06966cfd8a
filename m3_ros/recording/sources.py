"""Doors to every kind of recording: a new source is one file and one line in SOURCES."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from m3_ros.errors import RecordingError
from m3_ros.recording import bag, posed_sequence
from m3_ros.recording.frame import Frame
from m3_ros.recording.summary import RecordingSummary
from m3_ros.recording.topics import BagTopics


@dataclass(frozen=True)
class Source:
    """One kind of recording."""

    name: str
    """What users call it."""
    recognises: Callable[[Path], bool]
    """Whether a path is of this kind."""
    read: Callable[[Path, BagTopics | None], Iterator[Frame]]
    """Yield its frames."""
    describe: Callable[[Path, BagTopics | None], RecordingSummary]
    """Summarise it."""


SOURCES = (
    Source(
        "transforms.json",
        posed_sequence.is_posed_sequence,
        lambda path, _: posed_sequence.read_posed_sequence(path),
        lambda path, _: posed_sequence.describe_posed_sequence(path),
    ),
    Source("rosbag2", bag.is_bag, bag.read_bag, bag.describe_bag),
)
"""Tried in this order."""


def read(path: Path | str, topics: BagTopics | None = None) -> Iterator[Frame]:
    """Yield the posed frames of a recording one by one, whatever its kind.

    Args:
        path: A rosbag2 folder, a .mcap or .db3 file, or a folder with transforms.json.
        topics: Which topics of a bag to read; None: found out. Ignored for a posed sequence.

    Raises:
        RecordingError: there is no recording, or it cannot be used; the message says what to do.
    """
    return find_source(Path(path)).read(Path(path), topics)


def describe(path: Path | str, topics: BagTopics | None = None) -> RecordingSummary:
    """Summarise a recording without decoding its pictures.

    Raises:
        RecordingError: as `read`.
    """
    return find_source(Path(path)).describe(Path(path), topics)


def find_source(path: Path) -> Source:
    """Return the source that reads a path.

    Raises:
        RecordingError: the path is missing, or of no known kind.
    """
    if not path.exists():
        unfinished = path.with_name(path.name + ".partial")
        hint = f"only an unfinished recording is there, read {unfinished}" if unfinished.exists() else "check the path"
        raise RecordingError(f"{path} does not exist: {hint}")
    for source in SOURCES:
        if source.recognises(path):
            return source
    known = ", ".join(source.name for source in SOURCES)
    raise RecordingError(
        f"{path} is no recording of a known kind ({known}): give a rosbag2 folder, a .mcap or .db3 file, "
        "or a folder with transforms.json"
    )
