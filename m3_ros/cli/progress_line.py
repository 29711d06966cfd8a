"""One live line of progress on a terminal, a line now and then in a log."""

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
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_line()

    def show(self, progress: Progress) -> None:
        """Show one report of a training in this process."""
        fraction = overall_fraction(progress)
        self.update(progress.stage, fraction, progress.psnr_db, progress.gaussians, progress.eta_s)

    def update(self, stage: str, fraction: float, psnr_db: float, gaussians: int, eta_s: float) -> None:
        """Show where a training is: share of the whole job, quality, seconds left; drops reports that come too fast."""
        now = time.monotonic()
        if stage == self._stage and now - self._last < self._interval:
            return
        self._last, self._stage = now, stage
        parts = [f"{fraction:4.0%}", f"{stage:8}"]
        if not isnan(psnr_db):
            parts.append(f"{psnr_db:5.2f} dB")
        if gaussians:
            parts.append(f"{gaussians} Gaussians")
        if not isnan(eta_s):
            parts.append(f"{eta_s:.0f} s left")
        text = "  ".join(parts)
        sys.stderr.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        sys.stderr.flush()
        self._open = self._live

    def say(self, text: str) -> None:
        """Write a line that stays."""
        self._end_line()
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def _end_line(self) -> None:
        if self._open:
            sys.stderr.write("\n")
            self._open = False
