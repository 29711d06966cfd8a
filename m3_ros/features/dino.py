"""DINOv2 and DINOv3 through transformers: how things look, patch by patch over the whole picture. No words."""

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.errors import EncoderError
from m3_ros.features.compute import Compute
from m3_ros.features.patch_encoding import PatchEncoder
from m3_ros.features.pixels import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from m3_ros.features.pretrained import load_pretrained
from m3_ros.features.weights import fingerprint, get_again, model_folder

DEFAULT_DINOV2 = "facebook/dinov2-base"
DEFAULT_DINOV3 = "facebook/dinov3-vitb16-pretrain-lvd1689m"

_SHORT_SIDE = 24
"""Patches along the shorter side of a picture."""
_METHOD = "last hidden state, patches only, 1"
_UNUSED = {"embeddings.mask_token"}


class DinoEncoder(PatchEncoder):
    """Tells what looks alike; it answers pictures, not words."""

    known_names: tuple[str, ...] = ()
    """It knows no names."""
    background_phrases: tuple[str, ...] = ()
    """It has no words."""

    def __init__(self, name: str, network: Any, preprocessing: Preprocessing, compute: Compute | None = None) -> None:
        """Take a network of transformers that gives a last hidden state: class token, registers, patches."""
        super().__init__(preprocessing, compute or Compute())
        self.name = name
        self.dim = int(network.config.hidden_size)
        self.version = fingerprint(network, (_METHOD, preprocessing))
        self._prefix = 1 + int(getattr(network.config, "num_register_tokens", 0))
        self._network: Any = self._compute.prepare(network)

    def _patches(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w D"]:
        tokens: Tensor = self._network(pixel_values=pixels).last_hidden_state
        h, w = (side // self._preprocessing.patch for side in pixels.shape[2:])
        return tokens[:, self._prefix :].reshape(len(pixels), h, w, -1)

    def encode_text(self, texts: list[str]) -> Float[Tensor, "n D"]:
        """Refuse: the model has no words.

        Raises:
            EncoderError: always.
        """
        raise EncoderError(
            f"the encoder {self.name!r} has no words, so it cannot look for {', '.join(map(repr, texts)) or 'a text'}: "
            "ask with a picture, or ask an encoder with words such as 'embedded' or 'openclip'"
        )


def load_dinov2(source: str, compute: Compute) -> DinoEncoder:
    """Load DINOv2, with or without registers, from a folder or the hub's cache; empty: the base model.

    Raises:
        EncoderError: it is not on this machine, or cannot be read.
    """
    return _load("dinov2", source, DEFAULT_DINOV2, ("dinov2", "dinov2_with_registers"), compute)


def load_dinov3(source: str, compute: Compute) -> DinoEncoder:
    """Load a DINOv3 ViT from a folder or the hub's cache; empty: the base model.

    Raises:
        EncoderError: it is not on this machine, or cannot be read.
    """
    return _load("dinov3", source, DEFAULT_DINOV3, ("dinov3_vit",), compute)


def _load(encoder: str, source: str, default: str, families: tuple[str, ...], compute: Compute) -> DinoEncoder:
    folder = model_folder(source or default, encoder)
    family = _json(folder / "config.json", encoder).get("model_type")
    if family not in families:
        raise EncoderError(f"{folder} holds a model of type {family!r}; {encoder} is one of {', '.join(families)}")
    network, report = load_pretrained("AutoModel", folder, encoder, dtype=torch.float32, output_loading_info=True)
    missing = set(report["missing_keys"]) - _UNUSED
    if missing:
        raise EncoderError(f"{folder} lacks {len(missing)} weights of its {encoder}: {get_again(folder)}")
    preprocessing = _preprocessing(folder, int(network.config.patch_size), encoder)
    return DinoEncoder(f"{encoder}:{source}" if source else encoder, network, preprocessing, compute)


def _preprocessing(folder: Path, patch: int, encoder: str) -> Preprocessing:
    """Take over the model's own normalisation, but neither its resizing nor its crop."""
    path = folder / "preprocessor_config.json"
    own = _json(path, encoder) if path.exists() else {}
    mean, std = (
        tuple(own.get(key) or usual) for key, usual in (("image_mean", IMAGENET_MEAN), ("image_std", IMAGENET_STD))
    )
    return Preprocessing(patch, _SHORT_SIDE, mean, std)


def _json(path: Path, encoder: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(
            f"{path.parent} is no folder of a {encoder} model ({error}): {get_again(path.parent)}"
        ) from error
    return content if isinstance(content, dict) else {}
