"""Perception regions (the paper's SEEM role): what is one thing in a picture, and a vector that finds it again.

Masks come from a promptable model, vectors from a dense encoder pooled under them. Of the families that transformers
offers, this one serves a visual prompt best: a click or box is prompted for in the very way in which the regions were
found, so the same mask gives the same vector. Mask2Former's queries know the classes that they were trained on and have
no prompts; OWLv2 has vectors for boxes, not for masks; SAM's own image features say where a thing ends, not what it is,
which is why another encoder's are pooled. Over one that has words (openclip, embedded), regions answer words too.
"""

import hashlib
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.errors import EncoderError
from m3_ros.features.compute import Compute
from m3_ros.features.encoder import Encoder, FeatureMap, unit
from m3_ros.features.masks import pool, region_map
from m3_ros.features.segmentation import Segmenter

DEFAULT_ENCODER = "dinov2"


def load(source: str, compute: Compute) -> "PerceptionEncoder":
    """Load "MASKS+ENCODER": a model of the SAM families, and the encoder whose vectors are pooled under its masks.

    Either part may be empty: SAM 2.1 small, DINOv2. The encoder is named as for `load_encoder`.

    Raises:
        EncoderError: weights are missing, broken, or of another family.
    """
    from m3_ros.features.registry import load_encoder

    masks, _, dense = source.partition("+")
    segmenter = Segmenter.load(masks, "perception", compute)
    return PerceptionEncoder(segmenter, load_encoder(dense or DEFAULT_ENCODER, compute), source)


class PerceptionEncoder:
    """Regions with vectors in the space of a dense encoder; small regions lie on top of large ones."""

    def __init__(self, segmenter: Segmenter, dense: Encoder, source: str = "") -> None:
        self._segmenter, self._dense = segmenter, dense
        self.name = f"perception:{source}" if source else "perception"
        self.version = hashlib.sha256(f"{segmenter.version} {dense.version} 1".encode()).hexdigest()[:16]
        self.dim = dense.dim
        self.background_phrases = dense.background_phrases
        self.known_names = dense.known_names
        self.device = segmenter.device

    def __getattr__(self, name: str) -> Any:
        """Pass on the constants of the dense encoder's space, where it brings any; they are computed when asked for."""
        if name in {"temperature", "same_cosine"}:
            return getattr(self._dense, name)
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def encode_image(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> FeatureMap:
        """Encode one image of any size and aspect ratio to regions; cells that no mask covers are not valid.

        Raises:
            EncoderError: the image is not 8-bit RGB.
        """
        masks = self._segmenter.everything(rgb)
        return region_map(self._pooled(rgb, masks), masks, (rgb.shape[1], rgb.shape[0]))

    def encode_text(self, texts: list[str]) -> Float[Tensor, "n D"]:
        """Encode phrases, where the dense encoder has words.

        Raises:
            EncoderError: it has none; a visual prompt is the way to ask then.
        """
        return self._dense.encode_text(texts)

    def encode_prompt(
        self,
        rgb: UInt8[NDArray[np.uint8], "H W 3"],
        *,
        box: tuple[float, float, float, float] | None = None,
        point: tuple[float, float] | None = None,
    ) -> Float[Tensor, " D"]:
        """Turn a box (left, top, right, bottom) or a click (u, v) [px] into the unit vector of the thing meant.

        Raises:
            EncoderError: the prompt is not one box or one point in the image, or nothing was found there.
        """
        mask = self._segmenter.at(rgb, box, point)
        vector = unit(self._pooled(rgb, mask[None])[0])
        if not bool(vector.any()):
            raise EncoderError(f"nothing was found at {box or point}: click on the thing, or draw a box around it")
        return vector

    def _pooled(self, rgb: UInt8[NDArray[np.uint8], "H W 3"], masks: Bool[Tensor, "R h w"]) -> Float[Tensor, "R D"]:
        if len(masks) == 0:
            return torch.zeros(0, self.dim)
        seen = self._dense.encode_image(rgb)
        if seen.index is not None:
            raise EncoderError(f"{self._dense.name} gives regions; pool a dense encoder, such as dinov2 or openclip")
        return pool(seen, masks)
