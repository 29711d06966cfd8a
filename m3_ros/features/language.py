"""Language regions (the paper's LLaMA 3 role): what a picture shows, in words, region by region.

Masks from a promptable model, a caption for each from a vision-language model, a vector for each caption. Where the
paper draws numbered marks into the whole picture for a large paid model to describe at once, each region is cropped and
shown by itself: small local models can name one thing, but cannot read marks.
"""

import hashlib
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.errors import EncoderError
from m3_ros.features.captions import Captioner, load_captioner
from m3_ros.features.compute import Compute
from m3_ros.features.encoder import OPEN_BACKGROUND, FeatureMap
from m3_ros.features.masks import region_map
from m3_ros.features.phrase_vectors import PhraseVectors, load_phrase_vectors
from m3_ros.features.segmentation import Segmenter
from m3_ros.features.sentence import strip_lead_in

_GREY = 127


@dataclass(frozen=True)
class LanguageSettings:
    """Which regions are put into words, and what of the picture is shown for each."""

    max_regions: Annotated[int, "1..256"] = 32
    """Most regions of a picture, the largest first."""
    margin: Annotated[float, "0..1"] = 0.1
    """Surroundings shown on each side [share of the region's extent]."""
    least_px: Annotated[int, "1..512"] = 48
    """Smaller crops are widened to this [px], as a model needs some surroundings."""


def load(source: str, compute: Compute) -> "LanguageEncoder":
    """Load "CAPTIONS+MASKS+VECTORS": a captioner, a model of the SAM families, and what turns words into vectors.

    Any part may be empty: BLIP base, SAM 2.1 small, MiniLM. The captioner may be a server, http://HOST:PORT/v1#MODEL;
    the vectors may come from a causal language model.

    Raises:
        EncoderError: weights are missing, broken, or of another family.
    """
    captions, _, rest = source.partition("+")
    masks, _, vectors = rest.partition("+")
    return LanguageEncoder(
        Segmenter.load(masks, "language", compute),
        load_captioner(captions, "language", compute),
        load_phrase_vectors(vectors, "language", compute),
        source,
    )


class LanguageEncoder:
    """Regions with captions, and with the captions' vectors; questions are phrases of the same space."""

    background_phrases: tuple[str, ...] = OPEN_BACKGROUND
    """Words for anything, and for the surfaces of a room."""
    known_names: tuple[str, ...] = ()
    """Its vocabulary is open."""

    def __init__(
        self,
        segmenter: Segmenter,
        captioner: Captioner,
        vectors: PhraseVectors,
        source: str = "",
        settings: LanguageSettings | None = None,
    ) -> None:
        self._segmenter, self._captioner, self._vectors = segmenter, captioner, vectors
        self._settings = settings or LanguageSettings()
        self.name = f"language:{source}" if source else "language"
        parts = (segmenter.version, captioner.version, vectors.version, asdict(self._settings), 1)
        self.version = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
        self.dim, self.device = vectors.dim, segmenter.device

    def encode_image(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> FeatureMap:
        """Encode one image of any size and aspect ratio to regions with captions, the largest first.

        Raises:
            EncoderError: the image is not 8-bit RGB, or the caption server fails.
        """
        masks = self._segmenter.everything(rgb)
        largest = torch.argsort(masks.flatten(1).sum(1), descending=True, stable=True)
        masks = masks[largest[: self._settings.max_regions]]
        captions = tuple(self._captioner.caption(crop(rgb, mask, self._settings)) for mask in masks)
        seen = region_map(self._embedded(captions), masks, (rgb.shape[1], rgb.shape[0]))
        return FeatureMap(seen.features, seen.valid, seen.image_size, seen.index, captions or ("",))

    def encode_text(self, texts: list[str]) -> Float[Tensor, "n D"]:
        """Encode phrases to unit vectors; "find the chair" and the caption "a chair" mean the same as "chair".

        Raises:
            EncoderError: a text is empty.
        """
        return self._vectors.embed([strip_lead_in(text) for text in texts])

    def encode_prompt(
        self,
        rgb: UInt8[NDArray[np.uint8], "H W 3"],
        *,
        box: tuple[float, float, float, float] | None = None,
        point: tuple[float, float] | None = None,
    ) -> Float[Tensor, " D"]:
        """Put what a box (left, top, right, bottom) or a click (u, v) [px] means into words; return their unit vector.

        Raises:
            EncoderError: the prompt is not one box or one point in the image, or nothing was found or said there.
        """
        mask = self._segmenter.at(rgb, box, point)
        caption = self._captioner.caption(crop(rgb, mask, self._settings)) if bool(mask.any()) else ""
        if not caption:
            raise EncoderError(
                f"there is nothing to say about {box or point}: click on a thing, or draw a box around it"
            )
        return self.encode_text([caption])[0]

    def _embedded(self, captions: tuple[str, ...]) -> Float[Tensor, "R D"]:
        """Embed captions; a region about which nothing was said has no vector."""
        features = torch.zeros(len(captions), self.dim)
        said = [i for i, caption in enumerate(captions) if caption]
        if said:
            features[said] = self.encode_text([captions[i] for i in said])
        return features


def crop(
    rgb: UInt8[NDArray[np.uint8], "H W 3"], mask: Bool[Tensor, "h w"], settings: LanguageSettings
) -> UInt8[NDArray[np.uint8], "side side 3"]:
    """Cut out a square around a region, with some of what is around it; beyond the picture's edge it is grey.

    A square, as most models squash their input to one, or crop it to one and lose the ends of a long thing.
    """
    middle, half = [], settings.least_px / 2
    for axis, length in enumerate(rgb.shape[:2]):
        cells = mask.any(1 - axis).nonzero()[:, 0]
        low, high = (float(edge) * length / mask.shape[axis] for edge in (cells.min(), cells.max() + 1))
        middle.append((low + high) / 2)
        half = max(half, (0.5 + settings.margin) * (high - low))
    side = round(2 * half)
    square = np.full((side, side, 3), _GREY, np.uint8)
    first = [round(m - half) for m in middle]
    inside = [slice(max(0, f), min(length, f + side)) for f, length in zip(first, rgb.shape[:2], strict=True)]
    there = tuple(slice(i.start - f, i.stop - f) for f, i in zip(first, inside, strict=True))
    square[there] = rgb[tuple(inside)]
    return square
