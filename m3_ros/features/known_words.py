"""Words that the embedded encoder was not trained on, moved towards those that it was: "couch" towards "sofa"."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.features.encoder import unit
from m3_ros.features.foreign_words import TRAINING_FOREIGN, foreign_to
from m3_ros.features.sentence import embed_sentences
from m3_ros.features.vocabulary import VOCABULARY, phrase_kinds

COLOURS = frozenset(
    "red blue green yellow orange purple pink brown black white grey gray turquoise beige golden silver".split()  # noqa: SIM905
)
"""Words of which a thing that has one does not have the others."""

_NEAREST = 0.02  # scale of cosines: only the nearest phrases count
_UNRELATED, _RELATED = 0.5, 0.7  # cosine to the nearest known phrase from which on, and up to which, a word moves
_DOUBT, _SURE = 0.05, 0.15  # by how much a known phrase must be nearer than every foreign word
_WEIGHT = 2.0
_COLOUR_WORDS = re.compile(rf"\b(?:{'|'.join(sorted(COLOURS))})\b\s*", re.IGNORECASE)


def without_colours(text: str) -> str:
    """Drop words for colours, unless nothing would be left."""
    return _COLOUR_WORDS.sub("", text).strip() or text


@dataclass(frozen=True)
class KnownWords:
    """What an encoder was trained on, embedded."""

    phrases: Float[Tensor, "p D"]
    """Names, paraphrases and groups of the kinds."""
    foreign: Float[Tensor, "f D"]
    """Words for other things."""

    @classmethod
    def of(cls, kinds: Sequence[str]) -> "KnownWords":
        """Embed the words of some kinds."""
        known = list(phrase_kinds(kinds))
        foreign = list(foreign_to(TRAINING_FOREIGN, {*known, *phrase_kinds(VOCABULARY)}))
        vectors = embed_sentences([*known, *foreign])
        return cls(vectors[: len(known)], vectors[len(known) :])

    def embed(self, texts: list[str]) -> Float[Tensor, "n D"]:
        """Embed texts; those that are near to a known phrase, colours apart, move towards it."""
        bare = [without_colours(text) for text in texts]
        vectors = embed_sentences([*texts, *bare])
        whole, base = vectors[: len(texts)], vectors[len(texts) :]
        return unit(whole + self.lean(base) - base)

    def lean(self, vectors: Float[Tensor, "n D"]) -> Float[Tensor, "n D"]:
        """Move unit vectors towards the nearest known phrases: the nearer they are, the more."""
        near = vectors @ self.phrases.T
        closest = near.amax(dim=1, keepdim=True)
        doubt = closest - (vectors @ self.foreign.T).amax(dim=1, keepdim=True)
        weight = ((closest - _UNRELATED) / (_RELATED - _UNRELATED)).clamp(0, 1)
        weight = _WEIGHT * weight * ((doubt - _DOUBT) / (_SURE - _DOUBT)).clamp(0, 1)
        return unit(vectors + weight * unit(torch.softmax(near / _NEAREST, dim=1) @ self.phrases))
