"""What the geometry stage hands on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.splat.gaussians import Gaussians

StoppedBy = Literal["steps", "seconds", "target", "no gain"]


@dataclass(frozen=True)
class CurvePoint:
    """Quality at one moment of a training."""

    seconds: float
    """Time spent training until then [s], that of measuring left out."""
    step: int
    """Optimiser steps taken until then."""
    psnr_db: float
    """Mean PSNR over the held-out views [dB]."""
    gaussians: int
    """Gaussians then."""


@dataclass(frozen=True)
class PoseReport:
    """What pose refinement did to the training poses, and what it was worth."""

    mean_m: float
    """Mean length of the corrections [m]."""
    max_m: float
    """Longest correction [m]."""
    mean_rad: float
    """Mean angle of the corrections [rad]."""
    max_rad: float
    """Largest angle [rad]."""
    psnr_before_db: float
    """Held-out PSNR of the final field at the poses that were given [dB]."""
    psnr_after_db: float
    """The same at poses carried along with their neighbours' corrections [dB]; held-out pixels play no part."""
    seconds: float
    """Time that it took [s], on top of the time budget."""


@dataclass(frozen=True)
class GeometryResult:
    """What the geometry stage made."""

    gaussians: Gaussians
    """The field, activated, on the training device."""
    psnr_db: float
    """Mean PSNR over the held-out views [dB]; nan without any. Their pixels played no part in training."""
    held_out: tuple[int, ...]
    """Indices of the frames that were kept from training."""
    view_psnr_db: tuple[float, ...]
    """PSNR of each held-out view [dB]."""
    raw_psnr_db: float
    """Mean PSNR without exposure compensation [dB]; equals psnr_db where it is off."""
    compensated: bool
    """Whether exposure was compensated."""
    steps: int
    """Optimiser steps taken."""
    skipped_steps: int
    """Steps left out because a gradient was not finite."""
    seconds: float
    """Time taken by the whole stage [s]."""
    curve: tuple[CurvePoint, ...]
    """Held-out quality every `curve_every_s` seconds and at the end; empty where that is 0."""
    T_map_camera: Float[NDArray[np.float64], "F 4 4"]
    """Poses of all frames, held-out ones included: refined, or as they were given."""
    pose_refinement: PoseReport | None
    """What pose refinement did; None where it was off or auto found it unnecessary."""
    aligned_psnr_db: float
    """Mean held-out PSNR after each held-out pose was aligned to the finished field by its own pixels [dB].

    The usual protocol for pose refinement; nan unless poses were refined or `align_held_out` asks for it.
    """
    stopped_by: StoppedBy
    """What ended the training."""
    initialisation: str
    """Where the first Gaussians came from, in words."""
    warnings: tuple[str, ...]
    """What was odd about the frames, in words."""
