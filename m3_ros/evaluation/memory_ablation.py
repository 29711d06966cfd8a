"""What each choice of the memory is worth: one setting changed at a time, measured on held-out views."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from m3_ros.evaluation.fidelity import fidelity
from m3_ros.evaluation.memory_benchmark import Place, Report, look
from m3_ros.features.encoder import Encoder
from m3_ros.training.memory_stage import MemorySettings, build_memory

Question = Literal["stage", "projection", "selection", "tau", "theta", "dims", "steps", "encoders"]
QUESTIONS: tuple[Question, ...] = get_args(Question)
"""What can be asked."""


@dataclass(frozen=True)
class Variant:
    """Settings that differ from the default in one respect."""

    name: str
    settings: MemorySettings
    encoders: int = 1
    """How many encoders the memory is built of; the first is measured."""


@dataclass(frozen=True)
class AblationRow:
    """One variant, measured."""

    question: Question
    variant: str
    encoder: str
    seed: int
    dims: int
    components: int
    theta: float
    tau: float
    cosine: float
    cosine_masked: float
    l2: float
    bytes: int
    seconds: float
    """Time to build the memory from cached features [s]."""


def ablate(
    place: Place,
    encoders: Sequence[Encoder],
    questions: Sequence[Question],
    settings: MemorySettings,
    cache_dir: Path,
    report: Report,
) -> list[AblationRow]:
    """Answer questions on the first encoder; the others only join it where their number is asked about."""
    pupil = look(place, encoders[0], cache_dir)
    rows = []
    for question in questions:
        for variant in variants(question, settings, len(encoders)):
            report(f"{question}: {variant.name}")
            start = time.monotonic()
            memory = build_memory(
                place.frames, place.gaussians, encoders[: variant.encoders], variant.settings,
                held_out=place.held_out, cache_dir=cache_dir,
            )  # fmt: skip
            seconds = time.monotonic() - start
            entry = memory.principal_queries[0]
            attention, values = entry.attention, entry.queries.float()
            found = fidelity(pupil.held_out, place.gaussians, values, attention.reconstruct)
            rows.append(
                AblationRow(
                    question, variant.name, entry.encoder_name, place.seed, attention.query_dim, len(attention.bank),
                    attention.bank.theta, attention.tau, found.cosine, found.cosine_masked, found.l2,
                    2 * values.numel() + attention.size_bytes, seconds,
                )
            )  # fmt: skip
    return rows


def variants(question: Question, base: MemorySettings, encoders: int) -> list[Variant]:
    """Return the settings that answer a question."""
    base = replace(base, keep_sums=False)
    if question == "encoders":
        return [Variant(str(count), base, count) for count in range(1, encoders + 1)]
    return [Variant(name, settings) for name, settings in _TABLE[question](base)]


def _stages(base: MemorySettings) -> list[tuple[str, MemorySettings]]:
    scratch = replace(base, initial="random")
    return [
        ("lift only", _steps(replace(base, projection="pca"), 0)),
        ("lift, then polish", base),
        ("from random queries", scratch),
        ("from random queries, 4x the steps", _steps(scratch, 4 * base.polish.steps)),
    ]


def _selections(base: MemorySettings) -> list[tuple[str, MemorySettings]]:
    return [
        ("cover", base),
        ("cover, leaky", replace(base, leaky=True)),
        ("paper, theta 0.8", replace(base, selection="paper", theta=0.8)),
        ("paper, theta 0.9", replace(base, selection="paper", theta=0.9)),
    ]


def _projections(base: MemorySettings) -> list[tuple[str, MemorySettings]]:
    return [
        ("frozen, tau 0.05", replace(base, projection="frozen", tau=0.05)),
        ("frozen, tau fitted", replace(base, projection="frozen")),
        ("pca, tau fitted", replace(base, projection="pca")),
        ("learned", replace(base, projection="learned")),
    ]


def _steps(base: MemorySettings, steps: int) -> MemorySettings:
    return replace(base, polish=replace(base.polish, steps=steps))


_TABLE: dict[Question, Callable[[MemorySettings], list[tuple[str, MemorySettings]]]] = {
    "stage": _stages,
    "projection": _projections,
    "selection": _selections,
    "tau": lambda base: [
        (f"{tau:g}", replace(base, projection="pca", tau=tau)) for tau in (0.1, 0.05, 0.03, 0.02, 0.01, 0.005)
    ],
    "theta": lambda base: [(f"{theta:g}", replace(base, theta=theta)) for theta in (0.7, 0.8, 0.85, 0.9, 0.95)],
    "dims": lambda base: [(str(dims), replace(base, query_dim=dims)) for dims in (8, 16, 32, 64)],
    "steps": lambda base: [(str(steps), _steps(base, steps)) for steps in (0, 75, 150, 300, 600, 1200)],
}
