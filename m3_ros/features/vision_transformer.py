"""A small vision transformer in plain torch: a convolutional front, an output of stride 8, images of any size."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 8
"""Pixels per output cell."""
PIXEL_MULTIPLE = 16
"""Sides of the input must be multiples of this."""
_MEAN, _SCALE = 127.5, 60.0


@dataclass(frozen=True)
class VisionSettings:
    """Sizes of the network; a checkpoint carries them."""

    stem: tuple[int, int, int] = (24, 48, 96)
    """Channels at stride 2, 4 and 8."""
    local_blocks: int = 2
    """Residual blocks of the front at stride 8: what small things are seen by."""
    width: int = 192
    """Token width at stride 16."""
    depth: int = 5
    """Transformer blocks."""
    heads: int = 3
    """Attention heads; must divide the width."""
    position_blocks: int = 3
    """Transformer blocks that add a depth-wise convolution first, which tells tokens where they are."""
    head_width: int = 160
    """Channels where both strides are fused."""
    dim: int = 384
    """Length of the output vectors."""


def conv_norm(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Return a convolution followed by batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs, momentum=0.05)
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = conv_norm(channels, channels), conv_norm(channels, channels)
        for parameter in self.second[1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Add what the convolutions find."""
        found: Tensor = self.second(functional.relu(self.first(x)))
        return x + found


class TransformerBlock(nn.Module):
    """Pre-norm self-attention and MLP, with an optional depth-wise convolution as a position signal."""

    def __init__(self, width: int, heads: int, positional: bool) -> None:
        super().__init__()
        self.heads = heads
        self.position = nn.Conv2d(width, width, 3, padding=1, groups=width) if positional else None
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Float[Tensor, "B N C"], grid: tuple[int, int]) -> Float[Tensor, "B N C"]:
        """Let tokens of a grid (height, width) look at each other."""
        B, N, C = tokens.shape
        if self.position is not None:
            image = tokens.transpose(1, 2).reshape(B, C, *grid)
            tokens = tokens + self.position(image).flatten(2).transpose(1, 2)
        q, k, v = (
            self.qkv(self.norm_attention(tokens)).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        )
        # torch's fused attention takes longer here: forwards and backwards 380 ms against 286 for five blocks
        affinity = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1), dim=-1)
        seen = (affinity @ v).transpose(1, 2).reshape(B, N, C)
        tokens = tokens + self.project(seen)
        found: Tensor = self.contract(functional.gelu(self.expand(self.norm_mlp(tokens))))
        return tokens + found


class VisionTransformer(nn.Module):
    """Pixels in, one vector for every 8x8 pixels out."""

    def __init__(self, settings: VisionSettings) -> None:
        super().__init__()
        s, (a, b, c) = settings, settings.stem
        self.settings = settings
        self.stem = nn.Sequential(conv_norm(3, a, 2), nn.ReLU(), conv_norm(a, b, 2), nn.ReLU(), conv_norm(b, c, 2))
        self.local = nn.Sequential(*(ResidualBlock(c) for _ in range(s.local_blocks)))
        self.embed = nn.Sequential(nn.ReLU(), nn.Conv2d(c, s.width, 3, 2, 1))
        self.blocks = nn.ModuleList(TransformerBlock(s.width, s.heads, i < s.position_blocks) for i in range(s.depth))
        self.norm = nn.LayerNorm(s.width)
        self.from_tokens, self.from_local = nn.Linear(s.width, s.head_width), nn.Conv2d(c, s.head_width, 1)
        self.fuse = ResidualBlock(s.head_width)
        self.head = nn.Linear(s.head_width, s.dim)

    def features(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w C"]:
        """Compute what the head reads from normalised pixels."""
        local = self.local(self.stem(pixels))
        image = self.embed(local)
        B, _, h, w = image.shape
        tokens = image.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens, (h, w))
        coarse = self.from_tokens(self.norm(tokens)).transpose(1, 2).reshape(B, -1, h, w)
        fine = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        return functional.relu(self.fuse(functional.relu(fine + self.from_local(local)))).permute(0, 2, 3, 1)

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w D"]:
        """Encode normalised pixels (sides multiples of 16) to unit vectors at stride 8."""
        return functional.normalize(self.head(self.features(pixels)).float(), dim=-1)


def normalise(images: Float[Tensor, "B 3 H W"] | Sequence[Float[Tensor, "3 H W"]]) -> Float[Tensor, "B 3 H W"]:
    """Scale 8-bit colours to what the network expects, channels last in memory."""
    batch = images if isinstance(images, Tensor) else torch.stack(list(images))
    return ((batch.float() - _MEAN) / _SCALE).contiguous(memory_format=torch.channels_last)


def prefers_bf16() -> bool:
    """Tell whether this CPU multiplies bfloat16 in hardware; AVX-512 alone only emulates it, slower than float32."""
    usable = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - torch has no public question for it
    in_hardware = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
    return usable and (in_hardware or not torch.cpu._is_avx512_supported())  # noqa: SLF001
