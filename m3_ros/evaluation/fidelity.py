"""How near remembered features come to what the encoder sees: cosine distance and L2, as the paper measures them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.evaluation.teacher_views import TeacherView
from m3_ros.features.encoder import unit
from m3_ros.splat.gaussians import Gaussians

Decode = Callable[[Float[Tensor, "n s"]], Float[Tensor, "n D"]]
"""Turns what Gaussians carry, or a blend of it, into features."""
Order = Literal["blend, then decode", "decode, then blend"]
"""The paper blends queries and decodes each pixel; a direct 3D query decodes each Gaussian."""

_CHANNELS = 64
"""Features blended at once where Gaussians are decoded first."""


@dataclass(frozen=True)
class Fidelity:
    """Distance to the encoder's own features over the cells of some views."""

    cosine: float
    """Mean 1 - cos over all cells; a cell where the encoder has nothing counts 1, as in the paper's code."""
    cosine_masked: float
    """The same over the cells that hold a feature."""
    l2: float
    """Mean squared error per channel of un-normalised features over all cells; no feature counts as zeros."""
    l2_masked: float
    """The same over the cells that hold a feature."""
    cells: int
    """Cells measured."""
    valid: int
    """Cells that hold a feature."""


def fidelity(
    views: Sequence[TeacherView],
    gaussians: Gaussians,
    values: Float[Tensor, "N s"],
    decode: Decode,
    order: Order = "blend, then decode",
) -> Fidelity:
    """Compare what Gaussians remember with what the encoder sees in some views.

    Args:
        views: best views that nothing was trained on.
        gaussians: the geometry.
        values: what each Gaussian carries.
        decode: turns it into features.
        order: whether pixels or Gaussians are decoded.
    """
    total = torch.zeros(4, dtype=torch.float64)
    cells = valid = 0
    with torch.inference_mode():
        direct = decode(values) if order == "decode, then blend" else None
        for view in views:
            if direct is None:
                predicted = decode(view.blend(gaussians, values).reshape(-1, values.shape[1]))
            else:
                parts = [view.blend(gaussians, part) for part in torch.split(direct, _CHANNELS, dim=1)]
                predicted = torch.cat(parts, dim=-1).reshape(-1, view.dim)
            total += _distances(predicted, view)
            cells += view.valid.numel()
            valid += int(view.valid.sum())
    cosine, cosine_masked, l2, l2_masked = total.tolist()
    most, some = max(cells, 1), max(valid, 1)
    return Fidelity(cosine / most, cosine_masked / some, l2 / most, l2_masked / some, cells, valid)


def _distances(predicted: Float[Tensor, "n D"], view: TeacherView) -> Float[Tensor, "4"]:
    """Sum cosine distance and squared error over all cells, and over those with a feature."""
    truth, mask = view.features.float().reshape(-1, view.dim), view.valid.reshape(-1)
    cosine = 1 - (unit(predicted) * unit(truth)).sum(dim=1)
    squares = (predicted - truth).square().mean(dim=1)
    sums = [cosine.sum(), cosine[mask].sum(), squares.sum(), squares[mask].sum()]
    return torch.stack(sums).double()
