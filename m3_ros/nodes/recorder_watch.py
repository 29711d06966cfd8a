"""What a recorder looks at while it records: can the pictures be decoded, do the stamps match, is a topic silent."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from m3_ros.errors import RecordingError
from m3_ros.nodes.capture import Arrival, Wanted, message_class
from m3_ros.nodes.conversions import ns_to_stamp, stamp_to_ns
from m3_ros.nodes.images import from_numpy, to_depth, to_rgb
from m3_ros.nodes.sync import ApproximateTimeSynchronizer, SimpleFilter
from m3_ros.recording.messages import COLOUR_ENCODINGS, peek_header

SYNCHRONISED = ("image", "camera_info", "depth")
"""Roles whose stamps must agree."""
ENOUGH = 30
"""So many images are looked at before their stamps are judged."""


@dataclass(frozen=True)
class _Stamped:
    """The header of a message, all that matching needs of it."""

    header: Header


class Watch:
    """Looks at every message that a recorder takes."""

    def __init__(self, wanted: list[Wanted], slop_s: float) -> None:
        self.roles: Counter[str] = Counter()
        self.matched = 0
        self.worst_skew_s = 0.0
        self.failure = ""
        self._slop_s = slop_s
        self._transcode = False
        roles = [w.role for w in wanted if w.role in SYNCHRONISED]
        self._filters = {role: SimpleFilter() for role in roles}
        self._sync = ApproximateTimeSynchronizer(list(self._filters.values()), 30, slop_s)
        self._sync.registerCallback(self._on_match)

    def see(self, arrival: Arrival) -> bytes:
        """Look at one message; returns the bytes to record.

        Raises:
            RecordingError: the first picture of a topic cannot be decoded.
        """
        role = arrival.wanted.role
        if self.roles[role] == 0:
            self._check_first(arrival)
        self.roles[role] += 1
        if role in self._filters:
            stamp_ns = peek_header(arrival.raw).stamp_ns
            self._filters[role].signalMessage(_Stamped(Header(stamp=ns_to_stamp(stamp_ns))))
        return _as_rgb8(arrival) if role == "image" and self._transcode else arrival.raw

    def skew_complaint(self) -> str:
        """Return what is wrong with the stamps of images and what belongs to them; empty: nothing."""
        images = self.roles["image"]
        if images < ENOUGH or len(self._filters) < 2 or self.matched >= images / 2:
            return ""
        if any(self.roles[role] == 0 for role in self._filters):
            return ""  # a silent topic is said elsewhere
        others = " and ".join(role for role in self._filters if role != "image")
        return (
            f"only {self.matched} of {images} images have {others} within "
            f"{self._slop_s * 1e3:.0f} ms: let the driver stamp them alike, or raise sync_slop_s"
        )

    def _check_first(self, arrival: Arrival) -> None:
        """Decode the first picture of a topic, so that a recording nobody can read ends at once."""
        decode = {"image": to_rgb, "depth": to_depth}.get(arrival.wanted.role)
        if decode is None:
            return
        message = deserialize_message(arrival.raw, message_class(arrival.msgtype))
        if arrival.wanted.role == "image":
            self._transcode = not hasattr(message, "format") and message.encoding not in COLOUR_ENCODINGS
        try:
            decode(message, arrival.topic)
        except RecordingError as error:
            self.failure = str(error)
            raise

    def _on_match(self, *stamped: Any) -> None:
        times = [stamp_to_ns(s.header.stamp) for s in stamped]
        self.matched += 1
        self.worst_skew_s = max(self.worst_skew_s, (max(times) - min(times)) / 1e9)


def _as_rgb8(arrival: Arrival) -> bytes:
    """Rewrite an image that only cv_bridge can decode, so that the recording can be read without it."""
    message = deserialize_message(arrival.raw, message_class(arrival.msgtype))
    header = message.header
    return bytes(
        serialize_message(
            from_numpy(to_rgb(message, arrival.topic), "rgb8", header.frame_id, stamp_to_ns(header.stamp))
        )
    )


class Silence:
    """Says once, in plain words, which wanted topics have given nothing for a while."""

    def __init__(self, wanted: list[Wanted], after_s: float) -> None:
        self._wanted = wanted
        self._after_s = after_s
        self._since: dict[str, float] = {}
        self._heard: Counter[str] = Counter()

    def complaints(self, node: Any, roles: Counter[str], now_s: float) -> dict[str, str]:
        """Return role -> complaint for every topic that has been silent for too long."""
        found: dict[str, str] = {}
        for wanted in self._wanted:
            if roles[wanted.role] != self._heard[wanted.role] or wanted.role not in self._since:
                self._heard[wanted.role] = roles[wanted.role]
                self._since[wanted.role] = now_s
                continue
            silent_s = now_s - self._since[wanted.role]
            if silent_s >= self._after_s and not (wanted.role == "tf_static" and roles[wanted.role]):
                found[wanted.role] = _complaint(node, wanted, silent_s)
        return found


def _complaint(node: Any, wanted: Wanted, silent_s: float) -> str:
    parameter = (
        "record_tf" if wanted.role.startswith("tf") else f"{'odom' if wanted.role == 'odometry' else wanted.role}_topic"
    )
    start = f"no message on {wanted.topic} for {math.floor(silent_s)} s: "
    if node.count_publishers(wanted.topic) == 0:
        return f"{start}nobody publishes it; start the driver, or set the parameter {parameter}"
    kinds = dict(node.get_topic_names_and_types()).get(wanted.topic, [])
    if not set(kinds) & set(wanted.types):
        types = f"it is of type {', '.join(kinds)}, wanted is {' or '.join(wanted.types)}"
        return f"{start}{types}; set the parameter {parameter}"
    return f"{start}a publisher is there but sends nothing; see its log, and config/fastdds.xml for large images"


def missing_roles(roles: Counter[str], wanted: list[Wanted]) -> list[Wanted]:
    """Return the wanted topics without which a recording cannot be trained on, and that gave nothing."""
    silent = [w for w in wanted if roles[w.role] == 0]
    poses = roles["odometry"] + roles["tf"]
    return [w for w in silent if w.role in ("image", "camera_info") or (w.role in ("odometry", "tf") and not poses)]


def require_images(roles: Counter[str], wanted: list[Wanted], where: str) -> None:
    """Check at the end that the recording can be trained on.

    Raises:
        RecordingError: images, camera_info or every source of poses are missing.
    """
    missing = missing_roles(roles, wanted)
    if missing:
        names = " and ".join(w.topic for w in missing)
        raise RecordingError(
            f"{where}: nothing came on {names}: check that the driver publishes it, and the topic parameters"
        )
