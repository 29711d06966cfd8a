"""CLIP and SigLIP through OpenCLIP: every patch in the space of words, for any picture and any words."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.features.clip_files import ClipModel, read_clip
from m3_ros.features.clip_towers import dense_tower
from m3_ros.features.compute import Compute
from m3_ros.features.encoder import OPEN_BACKGROUND, check_texts, unit
from m3_ros.features.patch_encoding import PatchEncoder
from m3_ros.features.pixels import Preprocessing
from m3_ros.features.sentence import strip_lead_in
from m3_ros.features.weights import fingerprint

DEFAULT_SOURCE = "ViT-L-14-336/openai"
"""The paper's CLIP."""

TEMPLATES = ("{}", "a photo of a {}", "a {} in a room", "a photo of the {}", "there is a {} in the scene")
"""What a name is put into; the mean of the texts stands for it."""

_BATCH = 64
_METHOD = "value path, bicubic positions, 1"


class OpenClipEncoder(PatchEncoder):
    """Knows things by any words; how well depends on the model chosen."""

    known_names: tuple[str, ...] = ()
    """Its vocabulary is open."""
    background_phrases = OPEN_BACKGROUND
    """Words for anything, and for the surfaces of a room."""

    def __init__(
        self, name: str, clip: ClipModel, compute: Compute | None = None, templates: Sequence[str] = TEMPLATES
    ) -> None:
        """Take a model for encoding; it is changed in place.

        Raises:
            EncoderError: the model's patches are not in the space of its words.
        """
        self._model, self._tokenizer = clip.model.eval().requires_grad_(False), clip.tokenizer
        self._tower, patch = dense_tower(self._model.visual, name)
        super().__init__(_preprocessing(self._model.visual, patch), compute or Compute())
        self.name = name
        self._templates = tuple(templates)
        self.version = fingerprint(self._model, (_METHOD, self._preprocessing, self._templates))
        self._model.to(self._compute.device)
        self._compute.prepare(self._model.visual)
        self.dim = int(self.encode_text(["thing"]).shape[1])

    @property
    def temperature(self) -> float:
        """Temperature [cosine] of the softmax over texts that the model was trained with."""
        return 1 / float(self._model.logit_scale.exp())

    @cached_property
    def same_cosine(self) -> float:
        """Cosine above which two texts mean the same: half way from that of unrelated words, often high, to one.

        Half way is 0.69 for sentence embeddings, whose unrelated words have a cosine of 0.38; 0.7 fits those.
        """
        words = self.encode_text(list(OPEN_BACKGROUND))
        unrelated = (words @ words.T)[~torch.eye(len(words), dtype=torch.bool)].mean()
        return float((1 + unrelated) / 2)

    def encode_text(self, texts: list[str]) -> Float[Tensor, "n D"]:
        """Encode phrases to unit vectors, each the mean over the templates.

        Raises:
            EncoderError: a text is empty.
        """
        check_texts(texts)
        if not texts:
            return torch.zeros(0, self.dim)
        prompts = [template.format(strip_lead_in(text)) for text in texts for template in self._templates]
        vectors = torch.cat([self._embed(prompts[i : i + _BATCH]) for i in range(0, len(prompts), _BATCH)])
        return unit(vectors.reshape(len(texts), len(self._templates), -1).mean(dim=1))

    def _patches(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w D"]:
        return self._tower(pixels)

    def _embed(self, prompts: list[str]) -> Float[Tensor, "n D"]:
        with torch.inference_mode():
            vectors: Tensor = self._model.encode_text(self._tokenizer(prompts).to(self._compute.device), normalize=True)
        return vectors.float().cpu().clone()


def load(source: str, compute: Compute) -> OpenClipEncoder:
    """Load an encoder from any source that `read_clip` takes; empty: the paper's CLIP.

    Raises:
        EncoderError: the model is not on this machine, or cannot be read or used.
    """
    name = f"openclip:{source}" if source else "openclip"
    return OpenClipEncoder(name, read_clip(source or DEFAULT_SOURCE), compute)


def _preprocessing(visual: Any, patch: int) -> Preprocessing:
    """Take over the model's own normalisation; its square becomes the short side of a picture."""
    own = visual.preprocess_cfg
    size = own["size"]
    side = min(size) if isinstance(size, tuple | list) else int(size)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear" if own.get("interpolation") == "bilinear" else "bicubic"
    return Preprocessing(patch, max(1, side // patch), tuple(own["mean"]), tuple(own["std"]), interpolation)
