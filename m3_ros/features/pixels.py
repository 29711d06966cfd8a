"""Pictures into network input: any size and aspect ratio, nothing cropped, and squashed only as whole cells ask for.

The output grid covers the whole picture in equal cells, so that the map from cell to pixel is exact by construction.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from m3_ros.errors import EncoderError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_MOST_CELLS = 4
"""A long picture gets at most this many times the cells of a square one."""


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of its pixels."""

    patch: int
    """Side of a patch [px]."""
    short_side: int
    """Patches along the shorter side of a picture."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Mean colour, 0..1."""
    std: tuple[float, ...] = IMAGENET_STD
    """Spread of colours, 0..1."""
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    """How pictures are resized."""

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Return rows and columns of patches for a picture: nearly square patches, fewer where it is very long."""
        long, short = max(width, height), min(width, height)
        rows = self.short_side * min(1.0, (_MOST_CELLS * short / long) ** 0.5)
        few, many = max(1, round(rows)), max(1, round(rows * long / short))
        many = min(many, _MOST_CELLS * self.short_side**2)
        return (few, many) if width >= height else (many, few)

    def pixels(self, rgb: UInt8[NDArray[np.uint8], "H W 3"], device: str = "cpu") -> Float[Tensor, "3 h w"]:
        """Resize a picture to whole patches and normalise its colours.

        Raises:
            EncoderError: the picture is not 8-bit RGB.
        """
        check_picture(rgb)
        rows, columns = self.grid(rgb.shape[1], rgb.shape[0])
        size = (rows * self.patch, columns * self.patch)
        image = torch.from_numpy(np.array(rgb)).to(device).permute(2, 0, 1)[None].float()
        if image.shape[2:] != size:
            image = functional.interpolate(image, size, mode=self.interpolation, antialias=True, align_corners=False)
            image = image.clamp(0, 255)
        mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (self.mean, self.std))
        pixels: Tensor = ((image / 255 - mean) / std)[0]
        return pixels


def check_picture(rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> None:
    """Refuse what is no picture.

    Raises:
        EncoderError: the picture is not 8-bit RGB.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise EncoderError(f"an image must be 8-bit RGB [height, width, 3]; got {rgb.dtype} {list(rgb.shape)}")
