"""Rendering with the compiled kernel: torch's autograd around kernel.View."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from m3_ros.splat import kernel
from m3_ros.splat.render import Rendering


class _Rasterise(Function):
    """(geometry, features, viewmats) -> planes [C, ch, H, W]; sum of weight * z, alpha, median depth [C, H, W]."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        means, quats, scales, opacities, features, viewmats, Ks, width, height, near, want_median = inputs
        geometry = tuple(_plain(x) for x in (means, quats, scales, opacities))
        features = _plain(features)
        cameras, channels = len(viewmats), features.shape[-1]
        planes = torch.empty(cameras, channels, height, width)
        depth, alpha = torch.empty(2, cameras, height, width)
        median = torch.empty((cameras if want_median else 0, height, width))
        views = []
        for i, (viewmat, K) in enumerate(zip(viewmats.detach().double(), Ks.detach().double(), strict=True)):
            view = kernel.View(geometry, viewmat.contiguous(), K.contiguous(), (width, height), near)
            view.forward(
                features if features.ndim == 2 else features[i],
                planes[i],
                depth[i],
                alpha[i],
                median[i] if want_median else None,
            )
            views.append(view)
        if any(ctx.needs_input_grad[:6]):
            ctx.views = views
            ctx.save_for_backward(*geometry, features, viewmats)
        ctx.mark_non_differentiable(median)
        ctx.set_materialize_grads(False)
        return planes, depth, alpha, median

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_out: Tensor | None) -> tuple[Tensor | None, ...]:
        *geometry, features, viewmats = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        gradients = [torch.zeros_like(x) if wanted[i] else None for i, x in enumerate((*geometry, features))]
        d_viewmats = torch.zeros(len(viewmats), 4, 4, dtype=torch.float64) if wanted[5] else None
        d_planes, d_depth, d_alpha = (None if d is None else _plain(d) for d in d_out[:3])
        for i, view in enumerate(ctx.views):
            d_view = tuple(None if d is None else d[i] for d in (d_planes, d_depth, d_alpha))
            d_features = gradients[4] if gradients[4] is None or features.ndim == 2 else gradients[4][i]
            targets = [*gradients[:4], d_features, None if d_viewmats is None else d_viewmats[i]]
            view.backward(tuple(geometry), features.shape[-1], d_view, targets)
        d_poses = None if d_viewmats is None else d_viewmats.to(viewmats.dtype)
        return (*gradients, d_poses, None, None, None, None, None)


def _plain(x: Tensor) -> Tensor:
    return x.detach().float().contiguous()


def render(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, features: Tensor, viewmats: Tensor, Ks: Tensor,
    width: int, height: int, near: float, median_depth: bool,
) -> Rendering:  # fmt: skip
    """Draw with the CPU kernel; see m3_ros.splat.render.render.

    Raises:
        BackendError: the kernel is not built or ran out of memory.
    """
    isa = kernel.load().isa
    planes, depth, alpha, median = _Rasterise.apply(  # type: ignore[no-untyped-call]
        means, quats, scales, opacities, features, viewmats, Ks, width, height, near, median_depth
    )
    expected = depth / alpha.clamp(min=1e-10)
    return Rendering(planes.permute(0, 2, 3, 1), alpha, expected, median if median_depth else None, f"cpu-{isa}")
