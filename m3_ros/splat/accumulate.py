"""The lift primitive: carry per-pixel values back to the Gaussians that made the pixels."""

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.splat import kernel
from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.render import choose_backend, render


def accumulate(
    gaussians: Gaussians,
    viewmats: Float[Tensor, "C 4 4"],
    Ks: Float[Tensor, "C 3 3"],
    width: int,
    height: int,
    values: Float[Tensor, "C H W ch"],
    near: float = 0.05,
) -> tuple[Float[Tensor, "N ch"], Float[Tensor, " N"]]:
    """Return sums_i = sum over pixels p of w_ip values_p, and weights_i = sum of w_ip.

    w_ip = alpha_ip T_ip is the share of Gaussian i in pixel p, so sums / weights is the mean value it was seen with.
    Many views: call per view and add both results up. No gradients.

    Raises:
        BackendError: no backend can run here.
        ValueError: `values` does not fit the views.
    """
    if tuple(values.shape[:-1]) != (len(viewmats), height, width) or values.ndim != 4:
        raise ValueError(f"values must have shape ({len(viewmats)}, {height}, {width}, ch); got {tuple(values.shape)}")
    if choose_backend("auto", gaussians.means.device) == "gsplat":
        return _by_autograd(gaussians, viewmats, Ks, width, height, values, near)
    fields = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities)
    geometry = tuple(x.detach().float().contiguous() for x in fields)
    sums, weights = torch.zeros(len(gaussians), values.shape[-1]), torch.zeros(len(gaussians))
    for viewmat, K, value in zip(viewmats.detach().double(), Ks.detach().double(), values.detach(), strict=True):
        view = kernel.View(geometry, viewmat.contiguous(), K.contiguous(), (width, height), near)
        view.accumulate(value.permute(2, 0, 1).float().contiguous(), sums, weights)
    return sums, weights


def _by_autograd(
    g: Gaussians, viewmats: Tensor, Ks: Tensor, width: int, height: int, values: Tensor, near: float
) -> tuple[Tensor, Tensor]:
    """Do the same through the gradient by the features, for backends that only render."""
    with torch.enable_grad():
        features = values.new_zeros(len(g), values.shape[-1] + 1).requires_grad_()
        geometry = (g.means.detach(), g.quats.detach(), g.scales.detach(), g.opacities.detach())
        drawn = render(*geometry, features, viewmats.detach(), Ks.detach(), width, height, near).features
        ones = torch.ones_like(values[..., :1])
        (sums,) = torch.autograd.grad(drawn, features, torch.cat([values.detach(), ones], -1))
    return sums[:, :-1], sums[:, -1]
