"""Multimodal tokens (the paper's LLaMA-V role): what a language model sees, as it sees it.

Features are the vision tokens of Mllama (Llama 3.2 Vision) after the multi-modal projector: the very vectors that the
language model's cross-attention reads, joined over the tiles that the picture is cut into. Class tokens are dropped, as
they belong to no pixel.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.errors import EncoderError
from m3_ros.features.compute import Compute
from m3_ros.features.encoder import FeatureMap
from m3_ros.features.pixels import check_picture
from m3_ros.features.pretrained import load_pretrained
from m3_ros.features.tiles import TileLayout
from m3_ros.features.token_reader import PROMPT, TokenReader, tokens_of
from m3_ros.features.weights import fingerprint, model_folder

DEFAULT_SOURCE = "meta-llama/Llama-3.2-11B-Vision-Instruct"

_PREPROCESSING = "whole tokens, bilinear antialias, no class token, 1"


def load(source: str, compute: Compute) -> "MultimodalEncoder":
    """Load a model of the Mllama family from a folder or the hub's cache; empty: Llama 3.2 11B Vision Instruct.

    Raises:
        EncoderError: the weights are missing, broken, or of another family.
    """
    source = source or DEFAULT_SOURCE
    folder = model_folder(source, "multimodal")
    processor = load_pretrained("AutoProcessor", folder, "multimodal")
    network = load_pretrained("MllamaForConditionalGeneration", folder, "multimodal", dtype="auto")
    return MultimodalEncoder(network, processor, source, compute)


class MultimodalEncoder:
    """Vision tokens of Mllama. They share no space with text: a memory of them is asked with `describe`."""

    background_phrases: tuple[str, ...] = ()
    known_names: tuple[str, ...] = ()

    def __init__(self, network: Any, processor: Any, source: str, compute: Compute) -> None:
        self.name, self.device = f"multimodal:{source}", compute.device
        self.version = fingerprint(network, (_PREPROCESSING, processor.image_processor.to_dict()))
        self.dim = int(network.config.text_config.hidden_size)
        """Length of a token: the width of the language model."""
        self._network: Any = compute.cast(network)
        self._processor = processor
        self.reader = TokenReader(self._network, processor)

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Return the rows and columns of tokens that a picture of this size is seen in."""
        layout = self._layout(width, height)
        return layout.height, layout.width

    def encode_image(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> FeatureMap:
        """Encode one image of any size and aspect ratio to a grid of tokens, the tiles joined.

        Raises:
            EncoderError: the image is not 8-bit RGB.
        """
        check_picture(rgb)
        height, width = rgb.shape[:2]
        layout = self._layout(width, height)
        tokens = layout.stitch(self.tile_tokens(layout.canvas(rgb))).float().cpu()
        return FeatureMap(tokens.clone(), torch.ones(tokens.shape[:2], dtype=torch.bool), (width, height))

    def _layout(self, width: int, height: int) -> TileLayout:
        vision, pictures = self._network.config.vision_config, self._processor.image_processor
        return TileLayout.of(width, height, vision.image_size, vision.patch_size, pictures.max_image_tiles)

    @torch.inference_mode()
    def tile_tokens(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> Float[Tensor, "tiles n D"]:
        """Return all tokens of all tiles as the language model gets them, class tokens and empty tiles included."""
        inputs = self._processor.image_processor(rgb, return_tensors="pt").to(self._network.device)
        seen = self._network.model.vision_model(
            inputs["pixel_values"].to(self._network.dtype), inputs["aspect_ratio_ids"], inputs["aspect_ratio_mask"]
        )
        tokens: Tensor = self._network.model.multi_modal_projector(seen.last_hidden_state)[0, 0]
        return tokens

    def encode_text(self, texts: list[str]) -> Float[Tensor, "n D"]:
        """Refuse: the tokens share no space with text.

        Raises:
            EncoderError: always.
        """
        raise EncoderError(
            f"{self.name} sees tokens that only its own language model can read; {texts[:1]} cannot be looked up in "
            "them: use `m3 describe`, or train the memory with an encoder that has words beside it, such as embedded"
        )

    def describe(self, seen: FeatureMap, prompt: str = PROMPT, max_tokens: int = 64) -> str:
        """Put what was seen, or what a memory renders, into words: a caption, or the answer to a question.

        Args:
            seen: tokens of a view, true or rendered; only valid cells are read.
            prompt: what to say about them.
            max_tokens: most tokens to say.

        Raises:
            EncoderError: there are no tokens, they are not of this model, or there is no prompt.
        """
        return self.reader.generate(tokens_of(seen), prompt, max_tokens).text
