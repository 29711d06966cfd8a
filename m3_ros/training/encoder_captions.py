"""Which phrases are right, wrong or undecided for each thing in the training rooms, and their sentence embeddings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from m3_ros.features.foreign_words import TRAINING_FOREIGN, foreign_to
from m3_ros.features.known_words import COLOURS
from m3_ros.features.vocabulary import ANCHORS, VOCABULARY, phrase_kinds, plain_name

_COLOURED_SHARE = 0.5
"""What phrases with a colour or a material weigh among all that fit a thing."""
_COLOURED_NAMES = 2


@dataclass(frozen=True)
class Thing:
    """What matters of an instance for its captions."""

    kind: str
    """Name of its kind."""
    words: tuple[str, ...] = ()
    """Colours and materials."""


@dataclass(frozen=True)
class Captions:
    """All phrases of a training, and how they fit each distinct thing."""

    phrases: tuple[str, ...]
    """Names, hypernyms, names with colours and materials, foreign words."""
    things: tuple[Thing, ...]
    """Distinct things."""
    right: Float[Tensor, "things phrases"]
    """Weight of each phrase that fits; a row sums to one."""
    wrong: Bool[Tensor, "things phrases"]
    """Phrases that certainly do not fit."""

    def texts(self) -> list[str]:
        """Return what is to be embedded: the phrases, then the anchors."""
        return [*self.phrases, *ANCHORS]


def build_captions(things: Iterable[Thing], foreign: Sequence[str] = TRAINING_FOREIGN) -> Captions:
    """Collect the phrases for these things; foreign words that name one of them are left out."""
    distinct = tuple(dict.fromkeys(things))
    kinds = list(dict.fromkeys(thing.kind for thing in distinct))
    plain = phrase_kinds(kinds)
    coloured = _coloured(distinct, plain)
    known = set(plain) | set(phrase_kinds(VOCABULARY))
    strange = [word for word in foreign_to(foreign, known) if word not in coloured]
    phrases = (*plain, *coloured, *strange)
    right, wrong = torch.zeros(len(distinct), len(phrases)), torch.zeros(len(distinct), len(phrases), dtype=torch.bool)
    wrong[:, len(plain) + len(coloured) :] = True
    for row, thing in enumerate(distinct):
        for column, fits in enumerate(plain.values()):
            right[row, column] = float(thing.kind in fits)
            wrong[row, column] = thing.kind not in fits
        for column, (word, kind) in enumerate(coloured.values(), len(plain)):
            fit = _fits(thing, word, kind)
            right[row, column] = _COLOURED_SHARE * float(fit is True)
            wrong[row, column] = fit is False
        _share_out(right[row], len(plain))
    return Captions(phrases, distinct, right, wrong)


def _coloured(things: Sequence[Thing], plain: dict[str, frozenset[str]]) -> dict[str, tuple[str, str]]:
    """Map phrases such as "red chair" to word and kind; phrases that are names anyway stay names."""
    pairs = dict.fromkeys((word, thing.kind) for thing in things for word in thing.words)
    table: dict[str, tuple[str, str]] = {}
    for word, kind in pairs:
        names = VOCABULARY[kind].names[:_COLOURED_NAMES] if kind in VOCABULARY else (plain_name(kind),)
        for name in names:
            phrase = f"{word} {name}"
            if word not in name.split() and phrase not in plain:
                table[phrase] = (word, kind)
    return table


def _fits(thing: Thing, word: str, kind: str) -> bool | None:
    """Tell whether "<word> <kind>" fits a thing; None where that cannot be told."""
    if thing.kind != kind:
        return False
    if word in thing.words:
        return True
    colours = COLOURS & set(thing.words)
    return False if word in COLOURS and colours else None


def _share_out(right: Float[Tensor, " phrases"], plain: int) -> None:
    """Scale a row in place: a fixed share for the coloured phrases, where there are any, the rest for plain ones."""
    coloured = right[plain:].sum()
    share = _COLOURED_SHARE if coloured > 0 else 0.0
    right[:plain] *= (1 - share) / right[:plain].sum().clamp(min=1e-9)
    right[plain:] *= share / coloured.clamp(min=1e-9)
