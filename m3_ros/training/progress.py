"""How a long job tells where it is and hears that it should stop."""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan

STAGES = ("read", "features", "geometry", "memory", "save")
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


ProgressCallback = Callable[[Progress], None]
"""Called now and then from the working thread; must be quick."""

CancelCheck = Callable[[], bool]
"""Asked now and then; True raises Cancelled in the job."""


def ignore_progress(progress: Progress) -> None:
    """Drop a report."""


def never_cancelled() -> bool:
    """Say that nobody wants to stop."""
    return False
