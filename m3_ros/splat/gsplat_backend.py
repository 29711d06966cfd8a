"""Rendering with gsplat on CUDA, behind the same conventions as the CPU kernel."""

import torch
from torch import Tensor

from m3_ros.errors import BackendError
from m3_ros.splat.render import Rendering

_CHUNK = 32
"""Channels that gsplat blends at once; wider features go through in chunks."""


def render(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, features: Tensor, viewmats: Tensor, Ks: Tensor,
    width: int, height: int, near: float,
) -> Rendering:  # fmt: skip
    """Draw with gsplat; see m3_ros.splat.render.render.

    Raises:
        BackendError: gsplat is not installed.
    """
    try:
        from gsplat import rasterization
    except ImportError as error:
        raise BackendError(
            "drawing on CUDA needs gsplat: `pip install -c constraints.txt gsplat`, or move the tensors to the CPU"
        ) from error
    device = means.device
    if means.shape[0] == 0:
        return _empty(features, len(viewmats), width, height)
    image, alpha, _ = rasterization(
        means.float(), quats.float(), scales.float(), opacities.float(), features.float(),
        viewmats.to(device, torch.float32), Ks.to(device, torch.float32), width, height,
        near_plane=near, render_mode="RGB+ED", channel_chunk=_CHUNK, packed=False,
    )  # fmt: skip
    return Rendering(image[..., :-1], alpha[..., 0], image[..., -1], None, "gsplat")


def _empty(features: Tensor, cameras: int, width: int, height: int) -> Rendering:
    """Return an empty image that still belongs to the graph of `features`."""
    nothing = features.sum() * 0
    image = nothing + features.new_zeros(cameras, height, width, features.shape[-1])
    alpha = nothing + features.new_zeros(cameras, height, width)
    return Rendering(image, alpha, alpha, None, "gsplat")
