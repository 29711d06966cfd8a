"""Where more Gaussians go: a hard budget is filled where the pictures are still wrong.

The error of a Gaussian is the image error times the share that it had in each pixel, summed over several views: the
lift primitive applied to error images. The worst are split; the faint make room.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from m3_ros.splat.accumulate import accumulate
from m3_ros.splat.gaussians import Gaussians
from m3_ros.training.field import Field, Rows, no_rows, rotation_matrices, take
from m3_ros.training.views import View

_FAINT = 0.005
"""Opacity below which a Gaussian is dropped."""
_SPLIT_OFFSET = 0.6
"""How far the halves of a split Gaussian move apart, in its standard deviations."""
_SPLIT_SHRINK = 0.6
"""Length of a half along the split axis, as a share of the whole."""

ErrorImage = Callable[[int, View, Gaussians], Float[Tensor, "H W"]]
"""(number of the view, view, field) -> non-negative error of each pixel."""


@dataclass(frozen=True, eq=False)
class Change:
    """What a densification did."""

    dropped: int
    """Gaussians removed."""
    added: int
    """Gaussians gained by splits."""
    parents: Int[Tensor, " M"]
    """Which Gaussian before each one after came from; what is kept for each of them follows by it."""


def densify(field: Field, views: Sequence[tuple[int, View]], error_image: ErrorImage, target: int) -> Change:
    """Drop faint Gaussians, then split the worst until `target` are there. Changes the field in place."""
    gaussians = field.detached()
    alive = (gaussians.opacities >= _FAINT) & torch.isfinite(gaussians.means).all(1)
    wanted = min(max(0, target - int(alive.sum())), int(alive.sum()))
    error = gaussian_errors(gaussians, views, error_image) * alive
    worst = torch.topk(error, wanted).indices
    worst = worst[error[worst] > 0]
    kept = alive.clone()
    kept[worst] = False
    children = split(field, worst) if len(worst) else no_rows(field)
    survivors = torch.nonzero(kept)[:, 0]
    field.replace_rows(survivors, children)
    return Change(int((~alive).sum()), len(worst), torch.cat([survivors, worst, worst]))


@torch.no_grad()
def gaussian_errors(
    gaussians: Gaussians, views: Sequence[tuple[int, View]], error_image: ErrorImage
) -> Float[Tensor, " N"]:
    """Return the error of each Gaussian: sum over views and pixels of weight times image error."""
    total = torch.zeros_like(gaussians.opacities)
    for number, view in views:
        error = error_image(number, view, gaussians)[None, ..., None]
        total += accumulate(gaussians, view.viewmat, view.K, view.width, view.height, error)[0][:, 0]
    return total


def split(field: Field, index: Int[Tensor, " K"]) -> Rows:
    """Return two halves of each of some Gaussians, side by side along its longest axis."""
    means, quats, log_scales, opacity_logits, sh0, shN = take(field, index)
    longest, axis = log_scales.max(1)
    direction = rotation_matrices(quats).gather(2, axis[:, None, None].expand(-1, 3, 1))[..., 0]
    offset = _SPLIT_OFFSET * torch.exp(longest)[:, None] * direction
    smaller = log_scales.scatter(1, axis[:, None], longest[:, None] + torch.log(log_scales.new_tensor(_SPLIT_SHRINK)))
    halves = [(means + side * offset, quats, smaller, opacity_logits, sh0, shN) for side in (-1, 1)]
    return tuple(torch.cat(columns) for columns in zip(*halves, strict=True))
