"""What the robot saw: frames out of bags and posed sequences, keyframes, and writing and checking recordings."""

from m3_ros.recording.frame import Frame
from m3_ros.recording.keyframes import KeyframeSettings, resize_frame, select_keyframes
from m3_ros.recording.point_cloud import PointCloud, read_points
from m3_ros.recording.preflight import Finding, Severity, check
from m3_ros.recording.recover import Recovery, recover
from m3_ros.recording.sources import describe, read
from m3_ros.recording.summary import RecordingSummary, TopicSummary
from m3_ros.recording.topics import BagTopics
from m3_ros.recording.transform_buffer import TransformBuffer, TransformError
from m3_ros.recording.writer import RecordingStats, RecordingWriter, TopicQos

__all__ = [
    "BagTopics",
    "Finding",
    "Frame",
    "KeyframeSettings",
    "PointCloud",
    "RecordingStats",
    "RecordingSummary",
    "RecordingWriter",
    "Recovery",
    "Severity",
    "TopicQos",
    "TopicSummary",
    "TransformBuffer",
    "TransformError",
    "check",
    "describe",
    "read",
    "read_points",
    "recover",
    "resize_frame",
    "select_keyframes",
]
