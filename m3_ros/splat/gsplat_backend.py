"""Rendering with gsplat on CUDA, behind the same conventions as the CPU kernel.

Both project alike (pixel centres at .5, 0.3 px^2 of blur, the same clamp of the Jacobian beside the image, alpha from
1/255 to 0.999). gsplat leaves out what lies behind 99.99 % of opacity, which our kernel still draws in part.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from m3_ros.errors import BackendError
from m3_ros.splat.render import Rendering

_CHUNK = 32
"""Channels that gsplat blends at once; wider features go through in chunks, and there is no upper limit."""
_ALL = 2**31 - 1
"""More batches of Gaussians than any tile has."""


def render(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, features: Tensor, viewmats: Tensor, Ks: Tensor,
    width: int, height: int, near: float, median_depth: bool,
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
    geometry = tuple(x.float() for x in (means, quats, scales, opacities))
    viewmats, Ks = _sound_cameras(viewmats.to(means.device, torch.float32), Ks.to(means.device, torch.float32))
    if len(means) == 0:
        return _empty((*geometry, features.float(), viewmats), width, height, median_depth)
    image, alpha, drawn = rasterization(
        *geometry[:3], _sound_opacities(*geometry), features.float(), viewmats, Ks, width, height,
        near_plane=near, eps2d=0.3, render_mode="RGB+ED", rasterize_mode="classic", channel_chunk=_CHUNK, packed=False,
    )  # fmt: skip
    median = _median_depth(drawn, width, height) if median_depth else None
    return Rendering(image[..., :-1], alpha[..., 0], image[..., -1], median, "gsplat")


def median_of_pairs(
    pixels: Int[Tensor, " M"], alphas: Float[Tensor, " M"], depths: Float[Tensor, " M"], count: int
) -> Float[Tensor, " P"]:
    """Return for each of `count` pixels the depth [m] at which half of the light is blocked; 0 where less is.

    Args:
        pixels: numbers of the pixels in ascending order, one for each Gaussian in it, front to back.
        alphas: opacity of the Gaussian in the pixel.
        depths: depth of the Gaussian [m].
        count: number of pixels, P.
    """
    passed = torch.log1p(-alphas.double())
    before = torch.cumsum(passed, 0) - passed
    _, lengths = torch.unique_consecutive(pixels, return_counts=True)
    firsts = torch.cumsum(lengths, 0) - lengths
    before = before - before[firsts].repeat_interleave(lengths)
    half = (before >= math.log(0.5)) & (before + passed < math.log(0.5))
    median = depths.new_zeros(count)
    median[pixels[half]] = depths[half]
    return median


@torch.no_grad()
def _median_depth(drawn: Mapping[str, Any], width: int, height: int) -> Float[Tensor, "C H W"]:
    """Find the median depth from what gsplat says of a drawing: its projections and lists of tiles."""
    from gsplat import rasterize_to_indices_in_range

    means2d, conics, opacities = drawn["means2d"], drawn["conics"], drawn["opacities"]
    cameras = len(means2d)
    light = means2d.new_ones(cameras, height, width)
    index, pixel, camera = rasterize_to_indices_in_range(
        0, _ALL, light, means2d, conics, opacities, width, height,
        drawn["tile_size"], drawn["isect_offsets"], drawn["flatten_ids"],
    )  # fmt: skip
    d = torch.stack([pixel % width, pixel // width], -1) + 0.5 - means2d[camera, index]
    a, b, c = conics[camera, index].unbind(-1)
    sigma = 0.5 * (a * d[:, 0] ** 2 + c * d[:, 1] ** 2) + b * d[:, 0] * d[:, 1]
    alphas = (opacities[camera, index] * torch.exp(-sigma)).clamp(max=0.999)
    pixels = camera * (width * height) + pixel
    median = median_of_pairs(pixels, alphas, drawn["depths"][camera, index], cameras * height * width)
    return median.view(cameras, height, width)


def _sound_opacities(means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor) -> Float[Tensor, " N"]:
    """Make Gaussians that are not finite, or have no orientation, invisible: gsplat would draw them as opaque walls."""
    rows = torch.cat([means, quats, scales, opacities[:, None]], dim=1)
    sound = torch.isfinite(rows).all(dim=1) & (quats.abs().amax(dim=1) > 1e-20)
    return torch.where(sound, opacities, torch.zeros_like(opacities))


def _sound_cameras(viewmats: Tensor, Ks: Tensor) -> tuple[Tensor, Tensor]:
    """Turn a camera that is not finite into one that has everything behind it."""
    sound = torch.isfinite(viewmats).flatten(1).all(1) & torch.isfinite(Ks).flatten(1).all(1)
    blind = torch.zeros_like(viewmats)
    blind[:, 2, 3] = -1
    eye = torch.eye(3, device=Ks.device).expand_as(Ks)
    return torch.where(sound[:, None, None], viewmats, blind), torch.where(sound[:, None, None], Ks, eye)


def _empty(inputs: tuple[Tensor, ...], width: int, height: int, median_depth: bool) -> Rendering:
    """Return an empty image that still belongs to the graph of its inputs."""
    features, viewmats = inputs[-2:]
    nothing = torch.stack([x.sum() for x in inputs]).sum() * 0
    alpha = nothing + features.new_zeros(len(viewmats), height, width)
    image = alpha[..., None].expand(-1, -1, -1, features.shape[-1])
    return Rendering(image, alpha, alpha, alpha.detach() if median_depth else None, "gsplat")
