"""Trunks of timm in OpenCLIP's image towers, read patch by patch: each pooled as if it were the whole picture."""

from collections.abc import Callable
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor

Pixels = Float[Tensor, "B 3 H W"]
Head = Callable[[Float[Tensor, "n C"]], Float[Tensor, "n D"]]


def timm_tower(trunk: Any, head: Head) -> tuple[Callable[[Pixels], Float[Tensor, "B h w D"]], int] | None:
    """Return how to read a trunk and what stands on it, and the side of its patches [px]; None: it cannot be read.

    Read are transformers of plain patches (SigLIP and Meta's Perception Encoder, which pool by attention; EVA02 and
    others, which pool by a class token; or by the mean) and convolutional trunks that pool by the mean.
    """
    from timm.layers import HybridEmbed, PatchEmbed
    from timm.models.convnext import ConvNeXt
    from timm.models.eva import Eva
    from timm.models.fastvit import FastVit
    from timm.models.vision_transformer import VisionTransformer

    if isinstance(trunk, VisionTransformer | Eva) and isinstance(trunk.patch_embed, PatchEmbed | HybridEmbed):
        _accept_any_size(trunk)
        return partial(_patches, trunk, head), int(trunk.patch_embed.feat_ratio())
    if isinstance(trunk, ConvNeXt | FastVit):
        return partial(_cells, trunk, head), int(trunk.feature_info[-1]["reduction"])
    return None


def _accept_any_size(trunk: Any) -> None:
    """Let timm interpolate the position embeddings to the grid of each picture. Changes the trunk in place."""
    from timm.layers import Format

    trunk.dynamic_img_size = True
    trunk.patch_embed.strict_img_size = False
    trunk.patch_embed.flatten = False
    trunk.patch_embed.output_fmt = Format.NHWC


def _patches(trunk: Any, head: Head, pixels: Pixels) -> Float[Tensor, "B h w D"]:
    """Read a transformer: each patch as the only one that its pool, or its last block, looks at."""
    h, w = (side // int(trunk.patch_embed.feat_ratio()) for side in pixels.shape[2:])
    if hasattr(getattr(trunk, "rope", None), "update_feat_shape"):
        trunk.rope.update_feat_shape([h, w])
    if trunk.global_pool == "token":
        x = trunk.norm(_last_values(trunk, pixels))[:, 0]
    else:
        x = trunk.forward_features(pixels)[:, trunk.num_prefix_tokens :].reshape(len(pixels) * h * w, 1, -1)
        x = x[:, 0] if trunk.attn_pool is None else trunk.attn_pool(x)
    return head(trunk.head(trunk.fc_norm(x))).reshape(len(pixels), h, w, -1)


def _last_values(trunk: Any, pixels: Pixels) -> Float[Tensor, "n 1 C"]:
    """Return what the last block's attention gives for patches that look at themselves alone; no residual, no MLP."""
    from timm.models.eva import EvaBlockPostNorm

    depth, block = len(trunk.blocks), trunk.blocks[-1]
    (x,) = trunk.forward_intermediates(
        pixels, indices=[depth - 2], stop_early=True, output_fmt="NLC", intermediates_only=True
    )
    x = x.reshape(-1, 1, x.shape[-1])
    if isinstance(block, EvaBlockPostNorm):
        values: Tensor = block.norm1(block.attn(x))
        return values
    values = block.attn(block.norm1(x))
    gamma = getattr(block, "gamma_1", None)
    return getattr(block, "ls1", _as_it_is)(values if gamma is None else gamma * values)


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _cells(trunk: Any, head: Head, pixels: Pixels) -> Float[Tensor, "B h w D"]:
    """Read a convolutional trunk: each cell of its last map as if it were the whole map."""
    x = trunk.forward_features(pixels).permute(0, 2, 3, 1)
    count, h, w, width = x.shape
    cells = trunk.forward_head(x.reshape(count * h * w, width, 1, 1))
    return head(cells).reshape(count, h, w, -1)
