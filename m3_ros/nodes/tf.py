"""Live transforms: tf2_ros where ROS has it, else a subscription of /tf and /tf_static into our own buffer."""

from threading import Lock
from typing import Protocol

from rclpy.node import Node
from tf2_msgs.msg import TFMessage

from m3_ros.geometry.pose import Transform
from m3_ros.nodes.conversions import ns_to_stamp, transform_to_matrix
from m3_ros.nodes.qos import latched, reliable
from m3_ros.recording.messages import add_transforms
from m3_ros.recording.transform_buffer import TransformBuffer, TransformError

CACHE_S = 10.0
"""How long moving transforms are remembered [s], as tf2 does."""


class TransformLookup(Protocol):
    """Answers where frames are."""

    def lookup(self, target: str, source: str, stamp_ns: int | None = None) -> Transform:
        """Return T_target_source at a stamp [ns]; None: the newest that is known.

        Raises:
            TransformError: it is not known.
        """


def listen(node: Node) -> TransformLookup:
    """Start listening to TF on behalf of a node."""
    try:
        return _Tf2Lookup(node)
    except (ImportError, AttributeError):
        return BufferLookup(node)


class BufferLookup:
    """A subscription of TF into recording.TransformBuffer."""

    def __init__(self, node: Node) -> None:
        self._buffer = TransformBuffer(keep_s=CACHE_S)
        self._lock = Lock()
        node.create_subscription(TFMessage, "/tf", self._on_tf, reliable(100))
        node.create_subscription(TFMessage, "/tf_static", self._on_tf_static, latched(100))

    def lookup(self, target: str, source: str, stamp_ns: int | None = None) -> Transform:
        """Return T_target_source at a stamp [ns]; None: the newest that is known."""
        with self._lock:
            if stamp_ns is None:
                stamp_ns = self._newest(target, source)
            return self._buffer.lookup(target, source, stamp_ns)

    def _newest(self, target: str, source: str) -> int:
        up, down = self._buffer.ancestors(source), self._buffer.ancestors(target)
        shared = next((frame for frame in up if frame in down), None)
        if shared is None:
            return 0  # lookup says which frames are missing
        spans = [self._buffer.span(frame, shared) for frame in (source, target)]
        return min((span.end_ns for span in spans if span is not None), default=0)

    def _on_tf(self, message: TFMessage) -> None:
        with self._lock:
            add_transforms(self._buffer, message, static=False)

    def _on_tf_static(self, message: TFMessage) -> None:
        with self._lock:
            add_transforms(self._buffer, message, static=True)


class _Tf2Lookup:
    """The genuine buffer of tf2_ros."""

    def __init__(self, node: Node) -> None:
        from tf2_ros import Buffer, TransformException, TransformListener

        self._buffer = Buffer()
        self._failure = TransformException
        self._listener = TransformListener(self._buffer, node)

    def lookup(self, target: str, source: str, stamp_ns: int | None = None) -> Transform:
        """Return T_target_source at a stamp [ns]; None: the newest that is known."""
        from rclpy.time import Time

        time = Time() if stamp_ns is None else Time.from_msg(ns_to_stamp(stamp_ns))
        try:
            found = self._buffer.lookup_transform(target, source, time)
        except self._failure as error:
            raise TransformError(f"no transform from {source!r} to {target!r}: {error}") from error
        return transform_to_matrix(found.transform)
