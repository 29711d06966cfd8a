"""Image towers of OpenCLIP read patch by patch: every patch in the space of the model's words, at any grid.

A tower pools its patches into one vector. Each patch pooled alone, attention looking at nothing but the patch itself,
gives what that patch would put into the vector (MaskCLIP's trick; section 1.1 of the facts of M3 for CLIP and SigLIP).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from m3_ros.errors import EncoderError
from m3_ros.features.timm_towers import timm_tower

DenseTower = Callable[[Float[Tensor, "B 3 H W"]], Float[Tensor, "B h w D"]]
"""Maps normalised pixels (sides multiples of the patch) to one vector a patch."""


def dense_tower(visual: Any, model: str) -> tuple[DenseTower, int]:
    """Return how to read a tower patch by patch, and the side of its patches [px].

    Raises:
        EncoderError: the tower is of a kind whose patches are not in the space of words.
    """
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    if isinstance(visual, VisionTransformer):
        plain = isinstance(visual.transformer.resblocks[-1], ResidualAttentionBlock)
        if visual.attn_pool is None and (plain or visual.pool_type != "tok"):
            return partial(_clip_patches, visual), int(visual.patch_size[0])
    if isinstance(visual, TimmModel) and (found := timm_tower(visual.trunk, visual.head)):
        return found
    if isinstance(visual, ModifiedResNet):
        return partial(_resnet_cells, visual), 32
    raise EncoderError(
        f"the image tower of {model} ({type(visual).__name__}) cannot be read patch by patch: choose a ViT of the CLIP "
        "family (such as ViT-B-16), a SigLIP or SigLIP 2 model, an EVA02, a ConvNeXt, or a ResNet of CLIP"
    )


def _clip_patches(visual: Any, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w D"]:
    """Read a ViT of CLIP: the last block's value path instead of the block, without its residual and MLP."""
    x = visual.conv1(pixels)
    h, w = x.shape[2:]
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
    x = visual.ln_pre(x + resized_positions(visual.positional_embedding, visual.grid_size, (h, w)))
    blocks = list(visual.transformer.resblocks)
    by_class_token = visual.pool_type == "tok"
    for block in blocks[:-1] if by_class_token else blocks:
        x = block(x)
    x = x[:, 1:].reshape(len(x) * h * w, 1, -1)
    if by_class_token:
        x = blocks[-1].ls_1(blocks[-1].attention(blocks[-1].ln_1(x)))
    x = visual.ln_post(x)
    if visual.proj is not None:
        x = x @ visual.proj
    out: Tensor = x.reshape(len(pixels), h, w, -1)
    return out


def resized_positions(
    positions: Float[Tensor, "n C"], old: tuple[int, int], new: tuple[int, int]
) -> Float[Tensor, "m C"]:
    """Interpolate position embeddings, after that of the class token, from one grid to another."""
    if tuple(old) == tuple(new):
        return positions
    grid = positions[1:].float().reshape(*old, -1).permute(2, 0, 1)[None]
    grid = functional.interpolate(grid, new, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:1], grid[0].flatten(1).T.to(positions.dtype)])


def _resnet_cells(visual: Any, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w D"]:
    """Read a ResNet of CLIP: the attention pool's value path for every cell of 32 px."""
    x = visual.stem(pixels)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = layer(x)
    pool = visual.attnpool
    cells: Tensor = pool.c_proj(pool.v_proj(x.permute(0, 2, 3, 1)))
    return cells
