"""One live line of progress on a terminal, one line a stage in a log."""

import sys
import time
from math import isnan
from types import TracebackType
from typing import Self

from m3_ros.training.progress import Progress, overall_fraction


class ProgressLine:
    """Shows training progress on stderr; use as a context manager so that the line ends cleanly."""

    def __init__(self, min_interval_s: float = 0.2) -> None:
        self._live = sys.stderr.isatty()
        self._interval = min_interval_s if self._live else 5.0
        self._last = -float("inf")
        self._stage = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live and self._stage:
            sys.stderr.write("\n")

    def show(self, progress: Progress) -> None:
        """Show one report; drops reports that come too fast."""
        now = time.monotonic()
        if progress.stage == self._stage and now - self._last < self._interval:
            return
        self._last, self._stage = now, progress.stage
        text = describe(progress)
        sys.stderr.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        sys.stderr.flush()


def describe(progress: Progress) -> str:
    """Say a report in words: share of the whole job, stage, quality and time left."""
    parts = [f"{overall_fraction(progress):4.0%}", f"{progress.stage:8}"]
    if not isnan(progress.psnr_db):
        parts.append(f"{progress.psnr_db:5.2f} dB")
    if progress.gaussians:
        parts.append(f"{progress.gaussians} Gaussians")
    if not isnan(progress.eta_s):
        parts.append(f"{progress.eta_s:.0f} s left in this stage")
    return "  ".join(parts)
