"""How a picture is cut into the square tiles of a multimodal model, and how its tokens go back to one seamless grid."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class TileLayout:
    """Where a picture lies on its canvas of tiles, in whole tokens: at the top left, the rest is padding."""

    rows: int
    """Tiles from top to bottom."""
    columns: int
    """Tiles from left to right."""
    height: int
    """Rows of tokens that the picture fills."""
    width: int
    """Columns of tokens that the picture fills."""
    side: int
    """Tokens along a tile."""
    patch: int
    """Pixels along a token."""

    @classmethod
    def of(cls, width: int, height: int, tile_px: int, patch: int, most_tiles: int) -> "TileLayout":
        """Choose the layout that the model was trained with, and round the picture to whole tokens.

        The rounding changes the aspect ratio by less than one token on the canvas; equal cells undo it exactly.
        """
        from transformers.models.mllama.image_processing_pil_mllama import (
            get_image_size_fit_to_canvas,
            get_optimal_tiled_canvas,
        )

        canvas = get_optimal_tiled_canvas(height, width, most_tiles, tile_px)
        fitted = get_image_size_fit_to_canvas(height, width, int(canvas[0]), int(canvas[1]), tile_px)
        h, w = (
            max(1, min(round(int(px) / patch), int(edge) // patch)) for px, edge in zip(fitted, canvas, strict=True)
        )
        return cls(int(canvas[0]) // tile_px, int(canvas[1]) // tile_px, h, w, tile_px // patch, patch)

    def canvas(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> UInt8[NDArray[np.uint8], "h w 3"]:
        """Draw the picture onto the black canvas."""
        image = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float()
        size = (self.height * self.patch, self.width * self.patch)
        if image.shape[2:] != size:
            image = functional.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)
        tile_px = self.side * self.patch
        drawn = np.zeros((self.rows * tile_px, self.columns * tile_px, 3), np.uint8)
        drawn[: size[0], : size[1]] = image[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
        return drawn

    def stitch(self, tokens: Float[Tensor, "tiles n D"]) -> Float[Tensor, "h w D"]:
        """Join the tokens of the tiles to one grid; class tokens, empty tiles and padding go."""
        patches = tokens[: self.rows * self.columns, -(self.side**2) :]
        grid = patches.reshape(self.rows, self.columns, self.side, self.side, -1)
        joined = grid.transpose(1, 2).reshape(self.rows * self.side, self.columns * self.side, -1)
        return joined[: self.height, : self.width].contiguous()
