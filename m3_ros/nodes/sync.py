"""Matching messages by their stamps: message_filters where ROS has it, else the two classes of it that we use."""

from collections.abc import Callable, Sequence
from itertools import product
from threading import Lock
from typing import TYPE_CHECKING, Any

from m3_ros.nodes.conversions import stamp_to_ns

__all__ = ["ApproximateTimeSynchronizer", "SimpleFilter"]

Callback = Callable[..., None]


class _SimpleFilter:
    """A source of messages that others register with."""

    def __init__(self) -> None:
        self.callbacks: list[tuple[Callback, tuple[Any, ...]]] = []

    def registerCallback(self, callback: Callback, *args: Any) -> None:
        """Call `callback(message, *args)` for every message."""
        self.callbacks.append((callback, args))

    def signalMessage(self, *messages: Any) -> None:
        """Pass a message on to everyone registered."""
        for callback, args in self.callbacks:
            callback(*messages, *args)


class _ApproximateTimeSynchronizer(_SimpleFilter):
    """Passes on one message of every source whose header stamps lie within `slop` seconds of each other."""

    def __init__(self, fs: Sequence[_SimpleFilter], queue_size: int, slop: float) -> None:
        super().__init__()
        self.queue_size = queue_size
        self.slop_ns = round(slop * 1e9)
        self.lock = Lock()
        self.queues: list[dict[int, Any]] = [{} for _ in fs]
        for index, source in enumerate(fs):
            source.registerCallback(self.add, index)

    def add(self, message: Any, index: int) -> None:
        """Take a message of source number `index`."""
        with self.lock:
            matched = self._match(message, index)
        if matched:
            self.signalMessage(*matched)

    def _match(self, message: Any, index: int) -> list[Any] | None:
        now = stamp_to_ns(message.header.stamp)
        own = self.queues[index]
        own[now] = message
        while len(own) > self.queue_size:
            del own[min(own)]
        near = [
            [now]
            if i == index
            else sorted((s for s in queue if abs(s - now) <= self.slop_ns), key=lambda s: abs(s - now))
            for i, queue in enumerate(self.queues)
        ]
        for stamps in product(*near):
            if now in own and max(stamps) - min(stamps) < self.slop_ns:
                return [queue.pop(stamp) for stamp, queue in zip(stamps, self.queues, strict=True)]
        return None


if TYPE_CHECKING:
    SimpleFilter, ApproximateTimeSynchronizer = _SimpleFilter, _ApproximateTimeSynchronizer
else:
    try:
        from message_filters import ApproximateTimeSynchronizer, SimpleFilter
    except ImportError:
        SimpleFilter, ApproximateTimeSynchronizer = _SimpleFilter, _ApproximateTimeSynchronizer
