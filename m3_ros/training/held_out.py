"""The views that are kept from training, and how well a field draws them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.splat.gaussians import Gaussians
from m3_ros.training.losses import psnr_db
from m3_ros.training.views import View

Exposed = Callable[[Float[Tensor, "H W 3"], int], Float[Tensor, "H W 3"]]
"""(rendering, number) -> the same as the picture of that number was exposed."""


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


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
