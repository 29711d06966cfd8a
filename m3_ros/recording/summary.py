"""What a recording holds, at a glance."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TopicSummary:
    """One topic of a bag."""

    name: str
    """Topic name."""
    msgtype: str
    """Message type as pkg/msg/Name."""
    count: int
    """Messages in the bag."""


@dataclass(frozen=True)
class RecordingSummary:
    """One recording."""

    path: Path
    """Where it lies."""
    kind: str
    """Name of the source that reads it: "rosbag2" or "transforms.json"."""
    frames: int
    """Posed frames it yields."""
    skipped: int
    """Images without a pose, which it does not yield."""
    duration_s: float
    """Time from the first to the last frame [s]; nan where the recording states no times."""
    width: int
    """Image width [px]."""
    height: int
    """Image height [px]."""
    has_depth: bool
    """Whether frames come with depth."""
    fixed_frame: str
    """The frame of the poses in the recording; it becomes the map."""
    topics: tuple[TopicSummary, ...] = ()
    """Topics of a bag, by name; empty for a posed sequence."""
