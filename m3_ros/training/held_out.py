"""The views that are kept from training, and how well a field draws them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.splat.gaussians import Gaussians
from m3_ros.training.losses import psnr_db
from m3_ros.training.pose_refinement import Exposed, Poses
from m3_ros.training.views import View

_ALIGNMENTS = 12
"""Steps that align a held-out view to the finished field; most need six."""


@dataclass(frozen=True)
class Quality:
    """PSNR of each held-out view [dB]."""

    raw: tuple[float, ...]
    """As drawn."""
    compensated: tuple[float, ...]
    """As the neighbouring pictures were exposed."""

    @property
    def mean_raw_db(self) -> float:
        """Mean as drawn [dB]; nan without views."""
        return _mean(self.raw)

    @property
    def mean_db(self) -> float:
        """Mean with exposure compensation [dB]; nan without views."""
        return _mean(self.compensated)


@torch.no_grad()
def measure(gaussians: Gaussians, views: Sequence[View], frames: Sequence[int], exposed: Exposed) -> Quality:
    """Draw held-out views and compare them with their pictures."""
    raw, compensated = [], []
    for view, frame in zip(views, frames, strict=True):
        image, truth = view.draw(gaussians).features[0], view.truth()
        raw.append(psnr_db(image, truth))
        shown = exposed(image, frame)
        compensated.append(raw[-1] if shown is image else psnr_db(shown, truth))
    return Quality(tuple(raw), tuple(compensated))


@torch.no_grad()
def aligned(
    gaussians: Gaussians,
    views: Sequence[View],
    frames: Sequence[int],
    exposed: Exposed,
    T_map_camera: Float[NDArray[np.float64], "V 4 4"],
) -> list[View]:
    """Return the views at the poses at which a frozen field explains their own pixels best."""
    result = []
    for i, (view, frame) in enumerate(zip(views, frames, strict=True)):
        poses = Poses(T_map_camera[i : i + 1])
        for _ in range(_ALIGNMENTS):
            posed = view.at(poses.refined[0])
            drawn = posed.draw(gaussians)
            poses.visit(0, drawn, exposed(drawn.features[0], frame), posed)
        result.append(view.at(poses.refined[0]))
    return result


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
