"""How well an encoder finds things in pictures whose truth is known: patches, places, and what is not there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.features.checkpoint import Measurement
from m3_ros.features.encoder import Encoder
from m3_ros.features.foreign_words import TEST_FOREIGN, foreign_to
from m3_ros.features.known_words import COLOURS
from m3_ros.features.vocabulary import BACKGROUND_KINDS, VOCABULARY, held_out_phrase_kinds, phrase_kinds, plain_name
from m3_ros.training.encoder_data import RoomViews

SMALLEST_SHARE = 0.01
"""Things smaller than this share of the view are not asked for."""
_SURE_COVERAGE = 0.6


@dataclass
class _Tally:
    """Outcomes over all views; changes in place."""

    patches: list[bool] = field(default_factory=list)
    object_patches: list[bool] = field(default_factory=list)
    by_kind: dict[str, list[bool]] = field(default_factory=dict)
    overlaps: list[float] = field(default_factory=list)
    plain: list[bool] = field(default_factory=list)
    plain_large: list[bool] = field(default_factory=list)
    plain_by_kind: dict[str, list[bool]] = field(default_factory=dict)
    held_out: list[bool] = field(default_factory=list)
    coloured: list[bool] = field(default_factory=list)
    present: list[float] = field(default_factory=list)
    absent: list[float] = field(default_factory=list)
    foreign: list[float] = field(default_factory=list)
    held_out_present: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Questions:
    """Embedded phrases to ask, and the kinds they fit."""

    kinds: tuple[str, ...]
    plain: Float[Tensor, "k D"]
    held_out: Float[Tensor, "h D"]
    held_out_kinds: tuple[frozenset[str], ...]
    foreign: Float[Tensor, "f D"]
    coloured: dict[tuple[str, str], Float[Tensor, " D"]]
    """By colour and kind."""


def measure_rooms(checkpoint: Path, rooms: Sequence[RoomViews]) -> dict[str, Measurement]:
    """Measure a checkpoint of the embedded encoder on rooms."""
    from m3_ros.features.embedded import EmbeddedEncoder

    return measure_encoder(EmbeddedEncoder.load(checkpoint), rooms)


def measure_encoder(
    encoder: Encoder, rooms: Sequence[RoomViews], progress: Callable[[float], None] | None = None
) -> dict[str, Measurement]:
    """Ask each view of some rooms for every kind by name and by unseen synonyms, and for foreign words."""
    kinds = tuple(sorted({kind for room in rooms for kind in room.kinds}))
    questions = _questions(encoder, kinds, rooms)
    tally = _Tally()
    for number, room in enumerate(rooms, 1):
        for rgb, ids in zip(room.rgb, room.ids, strict=True):
            _ask_view(encoder, questions, room, np.asarray(rgb), np.asarray(ids), tally)
        if progress:
            progress(number / len(rooms))
    return _summary(tally)


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Return the probability that a positive scores above a negative (ties count half); nan without both."""
    if not positive or not negative:
        return float("nan")
    order = np.sort(np.asarray(negative))
    low, high = np.searchsorted(order, positive, "left"), np.searchsorted(order, positive, "right")
    return float(((low + high) / 2).mean() / len(order))


def _questions(encoder: Encoder, kinds: tuple[str, ...], rooms: Sequence[RoomViews]) -> _Questions:
    things = {(k, w) for room in rooms for k, words in zip(room.kinds, room.words, strict=True) for w in words}
    pairs = sorted((word, kind) for kind, word in things if word in COLOURS)
    phrases = [f"{word} {plain_name(kind)}" for word, kind in pairs]
    colours = encoder.encode_text(phrases) if phrases else torch.zeros(0, encoder.dim)
    held_out = {phrase: fits for phrase, fits in held_out_phrase_kinds(kinds).items() if not fits & BACKGROUND_KINDS}
    foreign = foreign_to(TEST_FOREIGN, phrase_kinds([*VOCABULARY, *kinds]))
    return _Questions(
        kinds,
        encoder.encode_text([plain_name(kind) for kind in kinds]),
        encoder.encode_text(list(held_out)) if held_out else torch.zeros(0, encoder.dim),
        tuple(held_out.values()),
        encoder.encode_text(list(foreign)),
        dict(zip(pairs, colours, strict=True)),
    )


def _ask_view(
    encoder: Encoder,
    questions: _Questions,
    room: RoomViews,
    rgb: UInt8[NDArray[np.uint8], "H W 3"],
    ids: UInt8[NDArray[np.uint8], "H W"],
    tally: _Tally,
) -> None:
    """Score one view."""
    number = {kind: i for i, kind in enumerate(questions.kinds)}
    table = np.array([-1, *(number[kind] for kind in room.kinds)])
    truth = table[ids]
    seen = encoder.encode_image(rgb).dense()
    seen = torch.nn.functional.normalize(seen, dim=-1)
    area = np.bincount(truth[truth >= 0], minlength=len(number)) / truth.size
    plain = seen @ questions.plain.T
    _count_patches(plain, truth, questions.kinds, tally)
    _count_overlaps(plain, truth, area, questions.kinds, tally)
    for column, kind in enumerate(questions.kinds):
        if kind in BACKGROUND_KINDS:
            continue
        score, (v, u) = _peak(plain[..., column], truth.shape)
        if area[column] >= SMALLEST_SHARE:
            tally.present.append(score)
            tally.plain.append(bool(truth[v, u] == column))
            tally.plain_by_kind.setdefault(kind, []).append(tally.plain[-1])
            if area[column] >= 3 * SMALLEST_SHARE:
                tally.plain_large.append(tally.plain[-1])
        elif area[column] == 0:
            tally.absent.append(score)
    for vector, fits in zip(questions.held_out, questions.held_out_kinds, strict=True):
        wanted = [number[kind] for kind in fits]
        if area[wanted].max() >= SMALLEST_SHARE:
            score, (v, u) = _peak(seen @ vector, truth.shape)
            tally.held_out.append(bool(truth[v, u] in wanted))
            tally.held_out_present.append(score)
    _ask_colours(questions, room, seen, ids, tally)
    tally.foreign.extend((seen @ questions.foreign.T).flatten(0, 1).amax(dim=0).tolist())


def _ask_colours(
    questions: _Questions,
    room: RoomViews,
    seen: Float[Tensor, "h w D"],
    ids: UInt8[NDArray[np.uint8], "H W"],
    tally: _Tally,
) -> None:
    """Ask for each of several things of a kind in view by a colour that it alone has."""
    area = np.bincount(ids.ravel(), minlength=len(room.kinds) + 1)[1:] / ids.size
    visible = [i for i in range(len(room.kinds)) if area[i] >= SMALLEST_SHARE]
    for i in visible:
        others = {word for j in visible if j != i and room.kinds[j] == room.kinds[i] for word in room.words[j]}
        rivals = sum(room.kinds[j] == room.kinds[i] for j in visible) > 1
        for word in sorted(COLOURS & set(room.words[i]) - others) if rivals else []:
            _, (v, u) = _peak(seen @ questions.coloured[word, room.kinds[i]], ids.shape)
            tally.coloured.append(bool(ids[v, u] == i + 1))


def _peak(relevance: Float[Tensor, "h w"], shape: tuple[int, ...]) -> tuple[float, tuple[int, int]]:
    """Return the highest value and the pixel (row, column) in the middle of its cell."""
    h, w = relevance.shape
    i, j = divmod(int(relevance.argmax()), w)
    return float(relevance[i, j]), (int((i + 0.5) * shape[0] / h), int((j + 0.5) * shape[1] / w))


def _count_patches(
    plain: Float[Tensor, "h w k"], truth: NDArray[np.int64], kinds: tuple[str, ...], tally: _Tally
) -> None:
    """Compare each surely covered cell's nearest name with its truth."""
    h, w, _ = plain.shape
    H, W = truth.shape
    rows, columns = (np.arange(H) * h // H), (np.arange(W) * w // W)
    cell = (rows[:, None] * w + columns[None]).ravel()
    counts = np.zeros((h * w, len(kinds) + 1))
    np.add.at(counts, (cell, truth.ravel() + 1), 1)
    share = counts[:, 1:].max(axis=1) / counts.sum(axis=1)
    best, guess = counts[:, 1:].argmax(axis=1), plain.flatten(0, 1).argmax(dim=1).numpy()
    for cell_truth, cell_guess in zip(best[share > _SURE_COVERAGE], guess[share > _SURE_COVERAGE], strict=True):
        right, kind = bool(cell_truth == cell_guess), kinds[cell_truth]
        tally.patches.append(right)
        tally.by_kind.setdefault(kind, []).append(right)
        if kind not in BACKGROUND_KINDS:
            tally.object_patches.append(right)


def _count_overlaps(
    plain: Float[Tensor, "h w k"],
    truth: NDArray[np.int64],
    area: NDArray[np.float64],
    kinds: tuple[str, ...],
    tally: _Tally,
) -> None:
    """Compare where each visible kind's name is the nearest one with where the kind is, pixel by pixel."""
    fine = torch.nn.functional.interpolate(plain.permute(2, 0, 1)[None], truth.shape, mode="bilinear")
    guess = fine[0].argmax(dim=0).numpy()
    for column in np.flatnonzero(area >= SMALLEST_SHARE):
        if kinds[column] not in BACKGROUND_KINDS:
            said, is_there = guess == column, truth == column
            tally.overlaps.append(float((said & is_there).sum() / (said | is_there).sum()))


def _summary(tally: _Tally) -> dict[str, Measurement]:
    """Turn outcomes into figures with their counts."""

    def mean(cases: Sequence[bool]) -> Measurement:
        return Measurement(round(float(np.mean(cases)), 4) if cases else float("nan"), len(cases))

    figures = {
        "patch_top1": mean(tally.patches),
        "patch_top1_objects": mean(tally.object_patches),
        "patch_top1_mean_of_kinds": Measurement(
            round(float(np.mean([np.mean(cases) for cases in tally.by_kind.values()])), 4), len(tally.by_kind)
        ),
        "miou": Measurement(
            round(float(np.mean(tally.overlaps)), 4) if tally.overlaps else float("nan"), len(tally.overlaps)
        ),
        "localisation": mean(tally.plain),
        "localisation_large": mean(tally.plain_large),
        "localisation_synonyms": mean(tally.held_out),
        "localisation_colours": mean(tally.coloured),
        "auroc_known": Measurement(
            round(auroc(tally.present, tally.absent), 4), len(tally.present) + len(tally.absent)
        ),
        "auroc_foreign": Measurement(
            round(auroc(tally.present, tally.foreign), 4), len(tally.present) + len(tally.foreign)
        ),
        "auroc_foreign_synonyms": Measurement(
            round(auroc(tally.held_out_present, tally.foreign), 4), len(tally.held_out_present) + len(tally.foreign)
        ),
    }
    figures |= {f"localisation of {kind}": mean(cases) for kind, cases in sorted(tally.plain_by_kind.items())}
    figures |= {f"patch_top1 of {kind}": mean(cases) for kind, cases in sorted(tally.by_kind.items())}
    return figures
