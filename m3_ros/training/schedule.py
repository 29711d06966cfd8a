"""How far a training has come, and what ends it: steps, seconds, or quality."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from m3_ros.training.geometry_result import CurvePoint, StoppedBy
from m3_ros.training.geometry_settings import GeometrySettings

_PROBES = 20
"""Looks at the quality of training views in one schedule, where quality may end it."""
_WINDOW = 2
"""Probes in a tenth of the schedule."""
_GROWN = 0.6
"""Part of the schedule before which a training is never said to stand still: Gaussians are still being added."""


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


@dataclass
class Position:
    """Where in its schedule a training stands: everything but its tensors. Changes in place."""

    steps: int = 0
    """Optimiser steps taken."""
    skipped: int = 0
    """Of these, left out because a value was not finite."""
    seconds: float = 0.0
    """Time on the clock when this was saved [s]."""
    initial: int = 0
    """Gaussians at the start."""
    initialisation: str = ""
    """Where they came from, in words."""
    densified: int = 0
    """Densifications done."""
    exposure_decided: bool = False
    """Whether it is known if exposure has to be compensated."""
    refining_s: float = 0.0
    """Time that correcting the poses took [s]; 0: they were not."""
    order: list[int] = field(default_factory=list)
    """Views still to be visited in this round."""
    random: dict[str, Any] = field(default_factory=dict)
    """State of the random numbers."""
    curve: list[CurvePoint] = field(default_factory=list)
    """Points measured."""
    quality_db: list[float] = field(default_factory=list)
    """PSNR of the probed training views at equal parts of the schedule [dB]."""


def fraction_done(settings: GeometrySettings, steps: int, seconds: float) -> float:
    """Return how far the schedule has come in [0, 1]: by steps or by seconds, whichever is further."""
    return min(1.0, max(steps / settings.steps, seconds / settings.max_seconds))


def quality_is_due(settings: GeometrySettings, position: Position, fraction: float) -> bool:
    """Tell whether the quality of training views is to be looked at now."""
    wanted = settings.target_psnr_db > 0 or settings.least_gain_db > 0
    return wanted and fraction * _PROBES >= len(position.quality_db) + 1


def stopped_by_quality(settings: GeometrySettings, position: Position, fraction: float) -> StoppedBy | None:
    """Return why training may end now, after `position` got another probe; None where it goes on."""
    seen = position.quality_db
    if settings.target_psnr_db > 0 and seen[-1] >= settings.target_psnr_db:
        return "target"
    long_enough = fraction >= _GROWN and len(seen) > _WINDOW
    if settings.least_gain_db > 0 and long_enough and seen[-1] - seen[-1 - _WINDOW] < settings.least_gain_db:
        return "no gain"
    return None
