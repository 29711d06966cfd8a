"""What the robot saw: frames out of bags and posed sequences, keyframes, and writing and checking recordings."""

from m3_ros.recording.frame import Frame
from m3_ros.recording.keyframes import KeyframeSettings, resize_frame, select_keyframes
from m3_ros.recording.sources import describe, read
from m3_ros.recording.summary import RecordingSummary, TopicSummary
from m3_ros.recording.topics import BagTopics

__all__ = [
    "BagTopics",
    "Frame",
    "KeyframeSettings",
    "RecordingSummary",
    "TopicSummary",
    "describe",
    "read",
    "resize_frame",
    "select_keyframes",
]
