"""How a long job tells where it is and hears that it should stop."""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan

STAGES = ("read", "geometry", "features", "memory", "save")
"""The stages of a training, in order."""


@dataclass(frozen=True)
class Progress:
    """One report of a running job."""

    stage: str
    """One of STAGES."""
    fraction: float
    """Share of this stage that is done, in [0, 1]."""
    eta_s: float = nan
    """Estimated time left in this stage [s]; nan: unknown."""
    psnr_db: float = nan
    """PSNR of the current step's view [dB]; nan outside the geometry stage."""
    gaussians: int = 0
    """Gaussians now; 0 before the geometry stage."""
    step: int = 0
    """Optimiser steps taken; 0 outside the geometry stage."""


ProgressCallback = Callable[[Progress], None]
"""Called now and then from the working thread; must be quick."""

CancelCheck = Callable[[], bool]
"""Asked now and then; True raises Cancelled in the job."""


def ignore_progress(progress: Progress) -> None:
    """Drop a report."""


def never_cancelled() -> bool:
    """Say that nobody wants to stop."""
    return False


_SHARE = {"read": 0.05, "features": 0.15, "geometry": 0.6, "memory": 0.15, "save": 0.05}


def overall_fraction(progress: Progress) -> float:
    """Return the share of the whole job that is done, in [0, 1], from typical shares of the stages."""
    before = sum(_SHARE[s] for s in STAGES[: STAGES.index(progress.stage)])
    return min(1.0, before + _SHARE[progress.stage] * progress.fraction)
