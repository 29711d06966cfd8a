"""The encoder that comes with the package: every patch in the space of MiniLM sentence embeddings, on any CPU."""

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from m3_ros.features.checkpoint import EMBEDDED_CHECKPOINT, EncoderCard, read_checkpoint
from m3_ros.features.compute import Compute
from m3_ros.features.encoder import FeatureMap
from m3_ros.features.known_words import KnownWords
from m3_ros.features.pixels import check_picture
from m3_ros.features.sentence import embed_sentences, strip_lead_in
from m3_ros.features.vision_transformer import PIXEL_MULTIPLE, STRIDE, VisionTransformer, normalise

WORKING_PIXELS = 320 * 240
"""Images are scaled to about this many pixels, in proportion: things then have the size they had in training."""

_PREPROCESSING = f"area {WORKING_PIXELS}, multiple {PIXEL_MULTIPLE}, stride {STRIDE}, bilinear antialias, words 2"


def load(source: str, compute: Compute) -> "EmbeddedEncoder":
    """Load the encoder of the package, or what `m3 train-encoder` wrote to a file.

    Raises:
        EncoderError: the checkpoint is missing or broken.
    """
    return EmbeddedEncoder.load(Path(source) if source else EMBEDDED_CHECKPOINT, compute)


def working_size(width: int, height: int) -> tuple[int, int]:
    """Return the width and height [px] at which an image is encoded."""
    scale = (WORKING_PIXELS / (width * height)) ** 0.5
    longest = WORKING_PIXELS // PIXEL_MULTIPLE
    w, h = (min(longest, max(1, round(side * scale / PIXEL_MULTIPLE) * PIXEL_MULTIPLE)) for side in (width, height))
    return max(w, PIXEL_MULTIPLE), max(h, PIXEL_MULTIPLE)


class EmbeddedEncoder:
    """Knows the household things of the simulated world by their names; it has no open vocabulary."""

    def __init__(
        self,
        network: VisionTransformer,
        card: EncoderCard,
        fingerprint: str,
        compute: Compute | None = None,
        name: str = "embedded",
    ) -> None:
        self.compute = compute or Compute()
        self.device, self.name, self.card = self.compute.device, name, card
        self._network = network.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.version = hashlib.sha256(f"{fingerprint} {_PREPROCESSING}".encode()).hexdigest()[:16]

    @classmethod
    def load(cls, path: Path = EMBEDDED_CHECKPOINT, compute: Compute | None = None) -> "EmbeddedEncoder":
        """Read a checkpoint.

        Raises:
            EncoderError: the checkpoint is missing or broken.
        """
        name = "embedded" if path == EMBEDDED_CHECKPOINT else f"embedded:{path}"
        return cls(*read_checkpoint(path), compute, name)

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self.card.network.dim

    @property
    def background_phrases(self) -> tuple[str, ...]:
        """Words for anything, and for the surfaces of a room."""
        return self.card.background_phrases

    @property
    def known_names(self) -> tuple[str, ...]:
        """Kinds of things that it was shown."""
        return self.card.kinds

    def encode_image(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> FeatureMap:
        """Encode one image of any size and aspect ratio to unit vectors, one for about every 8 pixels at 320x240.

        Raises:
            EncoderError: the image is not 8-bit RGB.
        """
        check_picture(rgb)
        height, width = rgb.shape[:2]
        with torch.inference_mode():
            vectors = self._encode(torch.from_numpy(np.array(rgb)).to(self.device))
        return FeatureMap(vectors, torch.ones(vectors.shape[:2], dtype=torch.bool), (width, height))

    def _encode(self, rgb: UInt8[Tensor, "H W 3"]) -> Float[Tensor, "h w D"]:
        image = rgb.permute(2, 0, 1)[None].float()
        w, h = working_size(rgb.shape[1], rgb.shape[0])
        if image.shape[2:] != (h, w):
            image = functional.interpolate(image, (h, w), mode="bilinear", antialias=True, align_corners=False)
        with self.compute.autocast():
            vectors: Tensor = self._network(normalise(image))[0]
        return vectors.cpu().clone()

    def encode_text(self, texts: list[str]) -> Float[Tensor, "n D"]:
        """Encode phrases to unit vectors; "find the chair" means the same as "chair".

        Words near to one that the encoder was trained on move towards it.

        Raises:
            EncoderError: a text is empty, or the sentence model is not installed.
        """
        if not self.card.kinds or not texts:
            return embed_sentences([strip_lead_in(text) for text in texts])
        return self._words.embed([strip_lead_in(text) for text in texts])

    @cached_property
    def _words(self) -> KnownWords:
        return KnownWords.of(self.card.kinds)
