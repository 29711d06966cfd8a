"""Pictures through a network that gives one vector a patch: shared by all encoders of that kind."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.features.compute import Compute
from m3_ros.features.encoder import FeatureMap
from m3_ros.features.pixels import Preprocessing


class PatchEncoder(ABC):
    """The half of an encoder that sees; a child says what its network makes of pixels."""

    def __init__(self, preprocessing: Preprocessing, compute: Compute) -> None:
        self._preprocessing, self._compute = preprocessing, compute

    @property
    def device(self) -> str:
        """Torch device that it computes on."""
        return self._compute.device

    @property
    def batch_size(self) -> int:
        """Number of images worth encoding at once."""
        return self._compute.batch_size

    def encode_image(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> FeatureMap:
        """Encode one image, a vector for each patch, not normalised.

        Raises:
            EncoderError: the image is not 8-bit RGB.
        """
        return self.encode_images([rgb])[0]

    def encode_images(self, images: Sequence[UInt8[NDArray[np.uint8], "H W 3"]]) -> list[FeatureMap]:
        """Encode images of any sizes, in order; those of one grid go through the network together.

        Raises:
            EncoderError: an image is not 8-bit RGB.
        """
        with torch.inference_mode(), self._compute.autocast():
            pixels = [self._preprocessing.pixels(rgb, self.device) for rgb in images]
            vectors: dict[int, Tensor] = {}
            for rows in _alike(pixels, self.batch_size):
                encoded = self._patches(torch.stack([pixels[i] for i in rows]))
                vectors.update(zip(rows, encoded.float().cpu(), strict=True))
        return [_whole(vectors[i].clone(), rgb) for i, rgb in enumerate(images)]

    @abstractmethod
    def _patches(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w D"]:
        """Map normalised pixels (sides multiples of the patch) to one vector a patch."""


def _whole(vectors: Float[Tensor, "h w D"], rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> FeatureMap:
    return FeatureMap(vectors, torch.ones(vectors.shape[:2], dtype=torch.bool), (rgb.shape[1], rgb.shape[0]))


def _alike(pixels: list[Tensor], most: int) -> list[list[int]]:
    """Return numbers of images of one shape, at most so many together."""
    groups: dict[torch.Size, list[int]] = {}
    for i, image in enumerate(pixels):
        groups.setdefault(image.shape, []).append(i)
    return [rows[k : k + most] for rows in groups.values() for k in range(0, len(rows), most)]
