"""Phrases into vectors: a sentence encoder, or the hidden states of a causal language model as in the paper."""

from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.features.compute import Compute
from m3_ros.features.encoder import check_texts, unit
from m3_ros.features.pretrained import load_pretrained
from m3_ros.features.sentence import SENTENCE_DIM, embed_sentences, sentence_version
from m3_ros.features.weights import fingerprint, model_folder

SENTENCES = "minilm"
"""Names the sentence encoder that the package brings along."""

_PAPER_DEPTH = 21 / 32
"""The paper's code takes the 21st of the 32 layers of LLaMA 3: the last ones turn towards the next word."""
_BATCH = 32


class PhraseVectors(Protocol):
    """Turns captions and questions into vectors of one space."""

    @property
    def version(self) -> str:
        """Fingerprint of all that the vectors depend on."""
        ...

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        ...

    def embed(self, phrases: list[str]) -> Float[Tensor, "n D"]:
        """Embed phrases as unit vectors.

        Raises:
            EncoderError: a phrase is empty.
        """
        ...


def load_phrase_vectors(source: str, encoder: str, compute: Compute) -> PhraseVectors:
    """Load a causal language model from a folder or the hub's cache; empty or "minilm": the sentence encoder.

    Raises:
        EncoderError: the weights are missing or broken.
    """
    if source in {"", SENTENCES}:
        return SentenceVectors()
    folder = model_folder(source, encoder)
    tokenizer = load_pretrained("AutoTokenizer", folder, encoder)
    return CausalVectors(load_pretrained("AutoModelForCausalLM", folder, encoder, dtype="auto"), tokenizer, compute)


class SentenceVectors:
    """Sentence embeddings of MiniLM."""

    dim = SENTENCE_DIM
    """Length of a sentence embedding."""

    def __init__(self) -> None:
        """Load the model. Raises EncoderError if it is not installed, or broken."""
        self.version = sentence_version()
        """Fingerprint of the weights."""

    def embed(self, phrases: list[str]) -> Float[Tensor, "n 384"]:
        """Embed phrases as unit vectors. Raises EncoderError if one is empty."""
        return embed_sentences(phrases)


class CausalVectors:
    """Mean hidden state over a phrase's tokens, two thirds up a causal language model (the paper's LLaMA 3 role)."""

    def __init__(self, network: Any, tokenizer: Any, compute: Compute) -> None:
        layers = int(network.config.num_hidden_layers)
        self._layer = max(1, round(layers * _PAPER_DEPTH))
        self.version = fingerprint(network, (self._layer, 1))
        """Fingerprint of the weights and the layer."""
        self.dim = int(network.config.hidden_size)
        """Width of the model."""
        self._network: Any = compute.cast(network.base_model)
        self._tokenizer = tokenizer
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "right"  # tokens look back only: padding behind them changes nothing

    @torch.inference_mode()
    def embed(self, phrases: list[str]) -> Float[Tensor, "n D"]:
        """Embed phrases as unit vectors. Raises EncoderError if one is empty."""
        check_texts(phrases)
        parts = [self._embed(phrases[i : i + _BATCH]) for i in range(0, len(phrases), _BATCH)]
        return torch.cat(parts).clone() if parts else torch.zeros(0, self.dim)

    def _embed(self, phrases: list[str]) -> Float[Tensor, "n D"]:
        tokens = self._tokenizer(
            phrases, padding=True, truncation=True, max_length=128, return_special_tokens_mask=True, return_tensors="pt"
        )
        words = (tokens["special_tokens_mask"] == 0) & (tokens["attention_mask"] == 1)
        ids, held = (tokens[key].to(self._network.device) for key in ("input_ids", "attention_mask"))
        hidden = self._network(input_ids=ids, attention_mask=held, output_hidden_states=True).hidden_states[self._layer]
        weight = words[..., None].to(hidden.device, torch.float32)
        return unit((hidden.float() * weight).sum(1) / weight.sum(1).clamp(min=1)).cpu()
