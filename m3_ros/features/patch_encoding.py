"""Pictures through a network that gives one vector a patch: shared by all encoders of that kind."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.features.compute import Compute
from m3_ros.features.encoder import FeatureMap
from m3_ros.features.pixels import Preprocessing

Network = Callable[[Float[Tensor, "B 3 H W"]], Float[Tensor, "B h w D"]]


def encode_patches(
    images: Sequence[UInt8[NDArray[np.uint8], "H W 3"]],
    preprocessing: Preprocessing,
    compute: Compute,
    network: Network,
) -> list[FeatureMap]:
    """Encode images in order; those of one grid go through the network together, at most a batch at a time.

    Raises:
        EncoderError: an image is not 8-bit RGB.
    """
    with torch.inference_mode(), compute.autocast():
        pixels = [preprocessing.pixels(rgb, compute.device) for rgb in images]
        vectors: dict[int, Tensor] = {}
        for rows in _alike(pixels, compute.batch_size):
            encoded = network(torch.stack([pixels[i] for i in rows]))
            vectors.update(zip(rows, encoded.float().cpu(), strict=True))
    return [_whole(vectors[i].clone(), rgb) for i, rgb in enumerate(images)]


def _whole(vectors: Float[Tensor, "h w D"], rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> FeatureMap:
    return FeatureMap(vectors, torch.ones(vectors.shape[:2], dtype=torch.bool), (rgb.shape[1], rgb.shape[0]))


def _alike(pixels: list[Tensor], most: int) -> list[list[int]]:
    """Return numbers of images of one shape, at most so many together."""
    groups: dict[torch.Size, list[int]] = {}
    for i, image in enumerate(pixels):
        groups.setdefault(image.shape, []).append(i)
    return [rows[k : k + most] for rows in groups.values() for k in range(0, len(rows), most)]
