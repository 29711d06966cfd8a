"""MiniLM, a small BERT, in plain torch: transformers takes longer to import than a robot should wait for an answer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from m3_ros.features.encoder import unit

_HEADS = 12
_LAYERS = 6
_EPS = 1e-12
_MOST_TOKENS = 128


@dataclass(frozen=True, eq=False)
class MiniLM:
    """Turns texts into unit vectors: the mean of the last hidden states over the tokens."""

    weights: Mapping[str, Tensor]
    """Tensors by their names in the checkpoint."""
    tokenizer: Any
    """A `tokenizers.Tokenizer`."""

    @classmethod
    def load(cls, folder: Path) -> "MiniLM":
        """Read tokenizer.json and model.safetensors.

        Raises:
            OSError: a file is missing.
            ValueError: a file is broken, or of another model.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        try:
            weights = load_file(folder / "model.safetensors")
        except SafetensorError as error:
            raise ValueError(f"model.safetensors: {error}") from error
        if f"encoder.layer.{_LAYERS - 1}.output.dense.weight" not in weights:
            raise ValueError(f"model.safetensors holds no BERT of {_LAYERS} layers")
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        if "model" not in json.loads(text):  # Tokenizer raises a bare Exception, which says less
            raise ValueError("tokenizer.json holds no tokenizer")
        tokenizer = Tokenizer.from_str(text)
        tokenizer.enable_truncation(_MOST_TOKENS)
        tokenizer.enable_padding()
        return cls(weights, tokenizer)

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Float[Tensor, "n D"]:
        """Embed at least one text; texts of like length go best together."""
        encoded = self.tokenizer.encode_batch(list(texts))
        ids = torch.tensor([e.ids for e in encoded])
        real = torch.tensor([e.attention_mask for e in encoded], dtype=torch.bool)
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x + w["embeddings.position_embeddings.weight"][: ids.shape[1]], "embeddings.LayerNorm")
        for layer in range(_LAYERS):
            x = self._layer(x, real, f"encoder.layer.{layer}")
        kept = real[..., None].to(x.dtype)
        return unit((x * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1e-9))

    def _layer(self, x: Float[Tensor, "n t D"], real: Bool[Tensor, "n t"], name: str) -> Float[Tensor, "n t D"]:
        n, t, dim = x.shape
        parts = (self._linear(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        query, key, value = (part.reshape(n, t, _HEADS, -1).transpose(1, 2) for part in parts)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=real[:, None, None, :])
        seen = self._linear(seen.transpose(1, 2).reshape(n, t, dim), f"{name}.attention.output.dense")
        x = self._norm(x + seen, f"{name}.attention.output.LayerNorm")
        wide = functional.gelu(self._linear(x, f"{name}.intermediate.dense"))
        return self._norm(x + self._linear(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _linear(self, x: Float[Tensor, "*n D"], name: str) -> Float[Tensor, "*n E"]:
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Float[Tensor, "*n D"], name: str) -> Float[Tensor, "*n D"]:
        shape = (x.shape[-1],)
        return functional.layer_norm(x, shape, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], _EPS)
