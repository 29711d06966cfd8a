"""How far a training has come, and what ends it: steps, seconds, or quality."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from m3_ros.training.geometry_settings import GeometrySettings


class Clock:
    """Seconds of training: it goes on from a checkpoint and stands still while something is measured."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._begin = time.monotonic() - seconds

    @property
    def seconds(self) -> float:
        """Time on the clock [s]."""
        return time.monotonic() - self._begin

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock for the length of a block."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._begin += time.monotonic() - start


def fraction_done(settings: GeometrySettings, steps: int, seconds: float) -> float:
    """Return how far the schedule has come in [0, 1]: by steps or by seconds, whichever is further."""
    return min(1.0, max(steps / settings.steps, seconds / settings.max_seconds))
