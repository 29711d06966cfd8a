"""What memories of simulated rooms answer, and the constants of the probability fitted to it anew.

The constants in `CalibrationSettings` belong to an encoder: after a new one is trained, `m3 bench answers` says whether
they still fit and which ones would.
"""

import logging
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from m3_ros.errors import EncoderError, MemoryFormatError
from m3_ros.evaluation.localisation import TOLERANCE_M, Truth
from m3_ros.features.checkpoint import EMBEDDED_CHECKPOINT, read_checkpoint
from m3_ros.features.foreign_words import TEST_FOREIGN
from m3_ros.features.vocabulary import BACKGROUND_KINDS
from m3_ros.geometry.camera import Camera
from m3_ros.query import Finder, QuerySettings
from m3_ros.query.calibration import calibrate, probability
from m3_ros.query.grounding import Evidence
from m3_ros.query.settings import CalibrationSettings
from m3_ros.sim import World, WorldSettings, default_cache_dir, patrol, write_sequence
from m3_ros.training.pipeline import TrainingSettings, train

ROOMS = (7, 8, 21, 22, 23, 31, 32)
"""Rooms that no encoder was trained on; half of the kinds are absent from each."""
FOREIGN = TEST_FOREIGN[:12]
"""Words for what no room holds."""
KEYFRAMES = 300
"""About so many pictures of each walk."""

Case = Literal["present", "absent", "foreign"]
"""A known kind that is in the room, one that is not, or a word for something else."""
Report = Callable[[str], None]
"""Told in words what is done next."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Contender:
    """An object that a question may have meant."""

    evidence: Evidence
    """What speaks for it."""
    left_by_rivals: float
    """Share of its probability that other known names leave it."""
    right: bool
    """Whether it is what was asked for."""


@dataclass(frozen=True)
class Question:
    """One question to the memory of one room."""

    room: int
    text: str
    case: Case
    contenders: tuple[Contender, ...]


@dataclass(frozen=True)
class Rates:
    """What became of the questions; nan where there were none of a kind."""

    present_right: float
    """Share of the questions for things that are there whose best answer is right."""
    present_wrong: float
    """Share of them whose best answer is another thing."""
    absent_answered: float
    """Share of the questions for known kinds that are not there, and yet were answered."""
    foreign_answered: float
    """Share of the foreign words that were answered."""
    questions: int
    """Number of questions."""


@dataclass(frozen=True)
class AnswerBenchmark:
    """Rates with the constants in use, and with ones fitted here."""

    shipped: Rates
    fitted: Rates
    """Each room by constants that were fitted on the others."""
    constants: CalibrationSettings
    """Fitted on all rooms."""
    rooms: tuple[int, ...]


def benchmark_answers(
    rooms: Sequence[int] = ROOMS, folder: Path | None = None, preset: str = "balanced", report: Report = _log.info
) -> AnswerBenchmark:
    """Remember some rooms with the encoder of the package and ask each for every known kind and for foreign words.

    Args:
        rooms: Seeds; none of the encoder's training.
        folder: Keeps recordings and memories between runs; None: a temporary one.
        preset: Of the trainings.
        report: Told what is done next.

    Raises:
        EncoderError: the encoder was trained on one of the rooms.
        SimulationError: a room cannot be built or drawn here.
        TrainingError: a room cannot be remembered.
        QueryError: fewer than two rooms, or too few right or wrong objects to fit anything.
    """
    _, card, _ = read_checkpoint(EMBEDDED_CHECKPOINT)
    if known := [seed for seed in rooms if min(card.room_seeds) <= seed <= max(card.room_seeds)]:
        raise EncoderError(f"the encoder was trained on room {known[0]}: ask other rooms")
    with tempfile.TemporaryDirectory(prefix="m3_bench_answers_") as temporary:
        questions = []
        for seed in rooms:
            report(f"room {seed}")
            finder, truths = remembered(seed, folder or Path(temporary), preset)
            questions += ask(seed, finder, truths)
    return judged(questions)


def remembered(seed: int, folder: Path, preset: str = "balanced") -> tuple[Finder, list[Truth]]:
    """Walk through a room and remember it, unless the folder holds its memory already; returns it with the truth.

    Raises:
        SimulationError: the room cannot be built or drawn here.
        TrainingError: it cannot be remembered.
    """
    world = World.generate(WorldSettings(seed), default_cache_dir())
    truths = [Truth(i.kind, i.centre) for i in world.instances]
    walk, memory = folder / f"walk_{seed}", folder / f"room_{seed}_{preset}.m3"
    try:
        return Finder.open(memory), truths
    except MemoryFormatError as error:
        _log.info("room %d is remembered anew: %s", seed, error)
    if not walk.exists():
        states = patrol(world)
        camera = Camera.from_fov(320, 240, math.radians(75))
        write_sequence(walk, world, camera, states[:: max(1, len(states) // KEYFRAMES)])
    train(walk, memory, TrainingSettings(preset=preset, held_out_every=0))
    return Finder.open(memory), truths


def ask(room: int, finder: Finder, truths: Sequence[Truth], foreign: Sequence[str] = FOREIGN) -> list[Question]:
    """Ask a memory for every kind that its encoder knows or the room holds, and for foreign words."""
    there = {truth.kind for truth in truths}
    kinds = sorted((there | set(finder.encoder.known_names)) - BACKGROUND_KINDS)
    cases: dict[str, Case] = {kind: "present" if kind in there else "absent" for kind in kinds}
    cases |= {word: "foreign" for word in foreign if word not in cases}
    questions = []
    for text, case in cases.items():
        centres = [truth.centre for truth in truths if truth.kind == text]
        contenders = tuple(
            Contender(p.evidence, left, any(np.linalg.norm(p.centre - c) <= TOLERANCE_M for c in centres))
            for p, left in finder.contest(text)
        )
        questions.append(Question(room, text, case, contenders))
    return questions


def judged(questions: Sequence[Question]) -> AnswerBenchmark:
    """Rate questions by the constants in use and, room by room, by ones fitted on the other rooms.

    Raises:
        QueryError: fewer than two rooms, or too few right or wrong objects to fit anything.
    """
    rooms = tuple(dict.fromkeys(question.room for question in questions))
    outcomes = []
    for room in rooms:
        constants = fitted([question for question in questions if question.room != room])
        outcomes += [(q.case, outcome(q, constants)) for q in questions if q.room == room]
    shipped = [(q.case, outcome(q, CalibrationSettings())) for q in questions]
    return AnswerBenchmark(_rates(shipped), _rates(outcomes), fitted(questions), rooms)


def fitted(questions: Sequence[Question]) -> CalibrationSettings:
    """Fit the constants to every object that was proposed for a question; the vote of the names is left out.

    Raises:
        QueryError: not both right and wrong objects are there.
    """
    contenders = [contender for question in questions for contender in question.contenders]
    return calibrate([c.evidence for c in contenders], [c.right for c in contenders])


def outcome(question: Question, constants: CalibrationSettings) -> bool | None:
    """Return whether the best answer is right; None: not found."""
    chances = [(c.left_by_rivals * probability(c.evidence, constants), c.right) for c in question.contenders]
    chance, right = max(chances, default=(0.0, False))
    return right if chance >= QuerySettings().min_probability else None


def _rates(outcomes: Sequence[tuple[Case, bool | None]]) -> Rates:
    def share(case: Case, *wanted: bool) -> float:
        of_case = [found for c, found in outcomes if c == case]
        return float(np.mean([found in wanted for found in of_case])) if of_case else float("nan")

    return Rates(
        share("present", True),
        share("present", False),
        share("absent", True, False),
        share("foreign", True, False),
        len(outcomes),
    )
