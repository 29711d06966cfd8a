"""The contract of every foundation model: pixels, and where it has words words, into vectors of one space."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.errors import EncoderError

OPEN_BACKGROUND = ("object", "things", "stuff", "texture", "wall", "floor", "ceiling")
"""What a query is weighed against where the vocabulary is open: words for anything, and the surfaces of a room."""


@dataclass(frozen=True)
class FeatureMap:
    """What an encoder saw in one image.

    Grid encoders give `features` [h, w, D]: cell (i, j) covers the pixels
    [j * W / w, (j + 1) * W / w) x [i * H / h, (i + 1) * H / h) of the image given, whatever its aspect ratio. A model
    that pads its input crops the padding's cells away; none crops the image.
    Region encoders give `features` [R, D] and `index` [h, w] with the region of each cell, -1 for none.
    """

    features: Float[Tensor, "*grid D"]
    """Grid or region vectors, not normalised."""
    valid: Bool[Tensor, "h w"]
    """Cells that hold a feature."""
    image_size: tuple[int, int]
    """Width and height [px] of the encoded image."""
    index: Int[Tensor, "h w"] | None = None
    """Region of each cell (-1: none), or None for grid encoders."""
    captions: tuple[str, ...] | None = None
    """What each region shows, in words, from encoders that go through words; else None."""

    def at(self, u: Float[Tensor, " n"], v: Float[Tensor, " n"]) -> tuple[Float[Tensor, "n D"], Bool[Tensor, " n"]]:
        """Sample the nearest cell at pixels (u right, v down; centres at +0.5); returns vectors and validity."""
        h, w = self.valid.shape
        j = (u * w / self.image_size[0]).long().clamp(0, w - 1)
        i = (v * h / self.image_size[1]).long().clamp(0, h - 1)
        valid = self.valid[i, j]
        if self.index is None:
            return self.features[i, j], valid
        region = self.index[i, j]
        return self.features[region.clamp(min=0)], valid & (region >= 0)

    def dense(self) -> Float[Tensor, "h w D"]:
        """Return the vectors as a grid; cells without a feature are zero."""
        if self.index is None:
            return self.features * self.valid[..., None]
        return self.features[self.index.clamp(min=0)] * (self.valid & (self.index >= 0))[..., None]


@runtime_checkable
class Encoder(Protocol):
    """A model that turns pixels, and words, into vectors of one space.

    An encoder may also bring the `temperature` and `same_cosine` of its space, which `RelevancySettings` explains, and
    the `device` that it computes on.
    """

    @property
    def name(self) -> str:
        """What `load_encoder` loads it by: its name in the registry and, where that holds many models, its source."""
        ...

    @property
    def version(self) -> str:
        """Fingerprint of weights and preprocessing; a memory stores it and refuses another."""
        ...

    @property
    def dim(self) -> int:
        """Length D of the vectors."""
        ...

    @property
    def background_phrases(self) -> tuple[str, ...]:
        """Phrases that a query is weighed against: what else a pixel may show. Empty where the model has no words."""
        ...

    @property
    def known_names(self) -> tuple[str, ...]:
        """Names of the things that the model was trained to tell apart; empty where its vocabulary is open."""
        ...

    def encode_image(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> FeatureMap:
        """Encode one image of any size and aspect ratio."""
        ...

    def encode_text(self, texts: list[str]) -> Float[Tensor, "n D"]:
        """Encode phrases to unit vectors.

        Raises:
            EncoderError: the model has no words.
        """
        ...


@runtime_checkable
class BatchEncoder(Encoder, Protocol):
    """An encoder that may gain from several images at once. A batch changes a feature by rounding at most."""

    @property
    def batch_size(self) -> int:
        """Number of images worth encoding at once on its device."""
        ...

    def encode_images(self, images: Sequence[UInt8[NDArray[np.uint8], "H W 3"]]) -> list[FeatureMap]:
        """Encode images of any sizes, in order."""
        ...


@runtime_checkable
class PromptEncoder(Encoder, Protocol):
    """An encoder that can tell the thing meant by a box or a click from what is around it."""

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
        ...


def unit(x: Float[Tensor, "*n D"]) -> Float[Tensor, "*n D"]:
    """Scale vectors to length one; zero stays zero."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / length.clamp(min=1e-12)


def check_texts(texts: list[str]) -> None:
    """Refuse what cannot be asked for.

    Raises:
        EncoderError: a text is empty.
    """
    if any(not text.strip() for text in texts):
        raise EncoderError("an empty text has no embedding: ask for a thing, such as 'chair'")
