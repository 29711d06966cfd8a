"""Words of questions: each encoded once, and which of an encoder's own phrases mean the same."""

import logging
from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from m3_ros.errors import EncoderError, MemoryFormatError, QueryError
from m3_ros.features.encoder import Encoder, unit
from m3_ros.memory import SpatialMemory
from m3_ros.query.relevancy import same_meaning, without
from m3_ros.query.settings import RelevancySettings

log = logging.getLogger(__name__)

_MOST = 256
"""Vectors of more phrases than this are not kept."""


class Words:
    """What an encoder makes of words."""

    def __init__(self, encoder: Encoder, settings: RelevancySettings) -> None:
        self._encoder, self._settings = encoder, settings
        self._known: dict[str, Float[Tensor, " D"]] = {}

    @cached_property
    def background(self) -> Float[Tensor, "T D"]:
        """Vectors of the phrases that a query is weighed against."""
        return self._encoded(self._encoder.background_phrases)

    @cached_property
    def names(self) -> Float[Tensor, "K D"]:
        """Vectors of the names that the encoder knows."""
        return self._encoded(self._encoder.known_names)

    def of(self, texts: Sequence[str]) -> Float[Tensor, "n D"]:
        """Encode phrases, each once: a question needs its phrase for relevancy and again for its rivals.

        Raises:
            QueryError: the encoder has no words.
        """
        if len(self._known) > _MOST:
            self._known.clear()
        if new := [text for text in dict.fromkeys(texts) if text not in self._known]:
            self._known.update(zip(new, self._encoded(new), strict=True))
        return torch.stack([self._known[text] for text in texts])

    def weighed(self, phrase: str, negatives: Sequence[str]) -> tuple[Float[Tensor, "n D"], Bool[Tensor, " T"]]:
        """Encode a phrase and its negatives, and tell which of phrase, background and negatives mean the phrase."""
        words = self.of([phrase, *negatives])
        same = same_meaning(words[0], self.background, self._settings)
        same = without(same, self._encoder.background_phrases, negatives)
        return words, torch.cat([torch.tensor([True]), same, torch.zeros(len(negatives), dtype=torch.bool)])

    def names_of(self, phrase: str) -> Bool[Tensor, " K"]:
        """Tell which known names mean a phrase."""
        return same_meaning(self.of([phrase])[0], self.names, self._settings)

    def _encoded(self, texts: Sequence[str]) -> Float[Tensor, "n D"]:
        if not texts:
            return torch.zeros(0, self._encoder.dim)
        try:
            return unit(self._encoder.encode_text(list(texts)))
        except EncoderError as error:
            if self._encoder.background_phrases:
                raise
            raise QueryError(
                f"{self._encoder.name} cannot be asked in words ({error}): show it a picture instead, with "
                "Finder.find_like or m3 ask MEMORY --like PICTURE"
            ) from error


def encoder_with_words(memory: SpatialMemory) -> Encoder:
    """Load the first encoder of a memory that has words; where none has, the first that can be loaded.

    Raises:
        EncoderError: none can be loaded.
        MemoryFormatError: the memory holds nothing of any encoder.
    """
    from m3_ros.features import load_encoder

    wordless: Encoder | None = None
    failure: EncoderError | None = None
    for entry in memory.principal_queries:
        try:
            encoder = load_encoder(entry.encoder_name)
        except EncoderError as error:
            log.warning("encoder %s of the memory cannot be loaded: %s", entry.encoder_name, error)
            failure = failure or error
            continue
        if encoder.background_phrases:
            return encoder
        wordless = wordless or encoder
    if wordless is not None:
        return wordless
    raise failure or MemoryFormatError("the memory holds nothing of any encoder: train it with one")
