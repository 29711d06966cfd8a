"""What a memory keeps of each encoder, measured on held-out views beside the paper's recipe and other methods."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.errors import TrainingError
from m3_ros.evaluation.feature_baselines import (
    Baseline,
    DistilSettings,
    dims_within,
    train_baseline,
)
from m3_ros.evaluation.fidelity import Decode, Fidelity, Order, fidelity
from m3_ros.evaluation.teacher_views import TeacherView, teacher_views
from m3_ros.evaluation.view_agreement import view_agreement
from m3_ros.features import extract
from m3_ros.features.encoder import Encoder
from m3_ros.memory import PrincipalQueries, cover_components
from m3_ros.memory.attention import PAPER_TAU
from m3_ros.memory.linear_head import lift_codes
from m3_ros.recording import Frame
from m3_ros.splat.gaussians import Gaussians
from m3_ros.training.feature_stream import FeatureStream, statistics
from m3_ros.training.feature_views import FeatureViews
from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.geometry_stage import train_geometry
from m3_ros.training.memory_stage import MemorySettings, build_memory
from m3_ros.training.polish import Learner, polish
from m3_ros.training.progress import never_cancelled

Method = Literal["views", "paper", "pca", "linear", "learned", "f3dgs", "fsplat"]
OurMethod = Literal["paper", "pca", "learned"]
METHODS: tuple[Method, ...] = get_args(Method)
"""Ways to remember features, in the order in which they are measured."""

Report = Callable[[str], None]
"""Told in words what is measured next."""

_log = logging.getLogger(__name__)

_HALF = 2
"""Bytes of a number in half precision."""
_PROBE = 0.2
"""Share of the steps after which the best learning rate is chosen."""


@dataclass(frozen=True)
class BenchSettings:
    """What is measured, and how long is spent on it."""

    methods: tuple[Method, ...] = METHODS
    """Which methods."""
    dims: int = 16
    """Length of what each Gaussian carries for an encoder."""
    paper_theta: float = 0.8
    """Theta of Algorithm 1 in the paper's recipe; its code has 0.75 to 0.85 for maps of patches."""
    paper_steps: int = 600
    """Optimiser steps of the paper's queries, which start from random numbers."""
    paper_rates: tuple[float, ...] = (0.02, 0.1)
    """Learning rates of the paper's queries to choose from, as a share of their size."""
    memory: MemorySettings = field(default_factory=MemorySettings)
    """Settings of our own methods; `dims` and the seed come from the benchmark."""
    distil: DistilSettings = field(default_factory=DistilSettings)
    """How the other methods are trained."""
    geometry: GeometrySettings = field(
        default_factory=lambda: GeometrySettings(steps=1500, max_seconds=20, max_gaussians=15_000)
    )
    """A short training, shared by all methods of a seed."""


@dataclass(frozen=True, eq=False)
class Place:
    """Geometry that all methods share."""

    frames: tuple[Frame, ...]
    """All keyframes, at the poses that the geometry was trained at."""
    gaussians: Gaussians
    """The field."""
    held_out: tuple[int, ...]
    """Numbers of the frames that nothing was trained on."""
    psnr_db: float
    """Held-out PSNR [dB]."""
    seed: int
    """Seed of the training."""

    @property
    def training(self) -> list[int]:
        """Numbers of the other frames."""
        return [i for i in range(len(self.frames)) if i not in set(self.held_out)]


@dataclass(frozen=True, eq=False)
class Pupil:
    """An encoder and what it saw at a place."""

    encoder: Encoder
    training: list[TeacherView]
    held_out: list[TeacherView]
    cache_dir: Path
    """Where its features are kept."""


@dataclass(frozen=True)
class MemoryRow:
    """One encoder remembered in one way."""

    encoder: str
    method: Method
    dims: int
    """Length of what each Gaussian carries; of a linear head the components of a code."""
    matched: Literal["", "dims", "bytes"]
    """What a baseline has in common with ours."""
    order: Order
    seed: int
    cosine: float
    cosine_masked: float
    l2: float
    l2_masked: float
    bytes: int
    """Of all that is kept of the encoder: what Gaussians carry, W, keys, bank or decoder."""
    seconds: float
    """Time from cached features to what is kept [s]."""
    chosen: str = ""
    """Beginning and learning rate of a trained method."""


@dataclass(frozen=True)
class BankRow:
    """Principal scene components of one encoder."""

    encoder: str
    method: str
    seed: int
    theta: float
    components: int
    capped: bool
    coverage_mean: float
    coverage_min: float
    share_below_theta: float
    features: int
    """Features that were offered."""
    bytes: int


@dataclass(frozen=True)
class Measured:
    """What one seed gave."""

    seed: int
    gaussians: int
    psnr_db: float
    rows: tuple[MemoryRow, ...]
    banks: tuple[BankRow, ...]


def prepare(frames: Sequence[Frame], settings: GeometrySettings) -> Place:
    """Train the geometry that all methods share.

    Raises:
        TrainingError: there are too few frames to hold any out.
    """
    if settings.held_out_every == 0 or len(frames) <= settings.held_out_every:
        raise TrainingError(
            f"the benchmark holds out every {settings.held_out_every}th keyframe and needs more than that; "
            f"got {len(frames)}: record a longer walk"
        )
    result = train_geometry(frames, settings)
    posed = tuple(replace(f, T_map_camera=T) for f, T in zip(frames, result.T_map_camera, strict=True))
    return Place(posed, result.gaussians, result.held_out, result.psnr_db, settings.seed)


def look(place: Place, encoder: Encoder, cache_dir: Path) -> Pupil:
    """Encode all frames, or read their features from the cache."""
    views = teacher_views(place.frames, extract(place.frames, encoder, cache_dir))
    return Pupil(encoder, [views[i] for i in place.training], [views[i] for i in place.held_out], cache_dir)


def benchmark_fidelity(
    place: Place, encoders: Sequence[Encoder], settings: BenchSettings, cache_dir: Path, report: Report
) -> Measured:
    """Measure all methods on all encoders at one place.

    Baselines are measured twice: with as many dimensions as ours, and with as many as our bytes allow.
    """
    rows: list[MemoryRow] = []
    banks: list[BankRow] = []
    for encoder in encoders:
        pupil = look(place, encoder, cache_dir)
        for method in settings.methods:
            report(f"{encoder.name}, {method}, seed {place.seed}")
            if method == "f3dgs" or method == "fsplat":  # noqa: PLR1714 - narrows the type
                rows += measure_baseline(place, pupil, method, settings, _bytes_of_ours(rows, encoder.name))
            elif method == "views":
                rows += measure_views(place, pupil)
            elif method == "linear":
                rows.append(measure_linear(place, pupil, settings))
            else:
                found, bank = measure_memory(place, pupil, method, settings)
                rows += found
                banks.append(bank)
            if rows:
                _log.info("%s: cosine distance %.4f, L2 %.3g", rows[-1].method, rows[-1].cosine, rows[-1].l2)
    return Measured(place.seed, len(place.gaussians), place.psnr_db, tuple(rows), tuple(banks))


def measure_views(place: Place, pupil: Pupil) -> list[MemoryRow]:
    """Measure how far views agree with each other, which no memory has a part in; no row where depth is not known.

    Cells that too few other views show are left out of all four distances.
    """
    start = time.monotonic()
    held_out = [(place.frames[i], view) for i, view in zip(place.held_out, pupil.held_out, strict=True)]
    others = [(place.frames[i], view) for i, view in zip(place.training, pupil.training, strict=True)]
    f = view_agreement(held_out, others)
    if f.valid == 0:
        return []
    size = _HALF * sum(view.features.numel() for view in pupil.training)
    return [
        MemoryRow(
            pupil.encoder.name, "views", pupil.encoder.dim, "", "blend, then decode", place.seed,
            f.cosine_masked, f.cosine_masked, f.l2_masked, f.l2_masked, size, time.monotonic() - start,
            f"{f.valid / f.cells:.0%} of the cells",
        )
    ]  # fmt: skip


def measure_memory(
    place: Place, pupil: Pupil, method: OurMethod, settings: BenchSettings
) -> tuple[list[MemoryRow], BankRow]:
    """Build a memory by a method of ours or the paper's, and measure it in both orders."""
    start = time.monotonic()
    entry, chosen = _best_entry(place, pupil, memory_settings(method, settings, place.seed), settings)
    seconds = time.monotonic() - start
    size = 2 * entry.queries.numel() + entry.attention.size_bytes
    orders: tuple[Order, ...] = get_args(Order)
    rows = [
        _row(
            place, pupil, method, entry.queries.float(), entry.attention.reconstruct, order,
            size_bytes=size, seconds=seconds, chosen=chosen,
        )
        for order in orders
    ]  # fmt: skip
    return rows, bank_row(entry, place.seed)


def measure_linear(place: Place, pupil: Pupil, settings: BenchSettings) -> MemoryRow:
    """Code each Gaussian over the bank, and measure it; blending first or last is the same."""
    start = time.monotonic()
    width = settings.memory.lift_width
    with torch.no_grad():
        views = _feature_views(place, pupil, width)
        (stream,) = views.streams
        selection = cover_components(stream, settings.memory.theta, settings.memory.max_components)
        bank = selection.bank(pupil.encoder.name, pupil.encoder.version, "cover")
        head = lift_codes(views, place.gaussians, bank, statistics(stream, place.seed).moment, width)
    return _row(
        place, pupil, "linear", head.features(), _as_it_is, "decode, then blend",
        size_bytes=head.size_bytes, seconds=time.monotonic() - start, chosen="", dims=head.index.shape[1],
    )  # fmt: skip


def _best_entry(
    place: Place, pupil: Pupil, how: MemorySettings, settings: BenchSettings
) -> tuple[PrincipalQueries, str]:
    """Build a memory; queries that start from random numbers learn at the rate that fits training views best."""
    if how.initial != "random":
        return remember(place, pupil, how), ""
    begun = remember(place, pupil, replace(how, polish=replace(how.polish, steps=0)))
    views = _feature_views(place, pupil, how.lift_width)
    with torch.no_grad():
        mean_square = statistics(views.streams[0], place.seed).mean_square

    def trained(rate: float, steps: int) -> PrincipalQueries:
        learner = Learner(begun.queries.float(), begun.attention, mean_square, learned=False)
        polish(views, [learner], replace(how.polish, query_rate=rate, steps=steps))
        return replace(begun, queries=learner.result().half())

    def misfit(rate: float) -> float:
        probe = trained(rate, max(1, round(_PROBE * how.polish.steps)))
        return entry_fidelity(pupil.training[:: len(pupil.training) // 8 or 1], place.gaussians, probe).cosine

    rate = min(settings.paper_rates, key=misfit)
    return trained(rate, how.polish.steps), f"random, rate {rate:g}"


def _feature_views(place: Place, pupil: Pupil, width: int) -> FeatureViews:
    frames = [place.frames[i] for i in place.training]
    stream = FeatureStream(frames, pupil.encoder, pupil.cache_dir, never_cancelled)
    return FeatureViews(frames, [stream], place.gaussians, width)


def entry_fidelity(views: Sequence[TeacherView], gaussians: Gaussians, entry: PrincipalQueries) -> Fidelity:
    """Measure what a memory holds of an encoder, in the paper's order."""
    return fidelity(views, gaussians, entry.queries.float(), entry.attention.reconstruct)


def remember(place: Place, pupil: Pupil, settings: MemorySettings) -> PrincipalQueries:
    """Build the memory of one encoder from cached features of the training views."""
    memory = build_memory(
        place.frames,
        place.gaussians,
        [pupil.encoder],
        settings,
        held_out=place.held_out,
        cache_dir=pupil.cache_dir,
    )
    return memory.principal_queries[0]


def measure_baseline(
    place: Place, pupil: Pupil, kind: Baseline, settings: BenchSettings, our_bytes: int
) -> list[MemoryRow]:
    """Train a baseline with as many dimensions as ours, and with as many as fit into our bytes."""
    count, dim = len(place.gaussians), pupil.encoder.dim
    rows = []
    sizes: list[tuple[Literal["dims", "bytes"], int]] = [("dims", settings.dims)]
    if our_bytes:
        sizes.append(("bytes", dims_within(kind, our_bytes, count, dim)))
    for matched, dims in sizes:
        t = train_baseline(kind, dims, pupil.training, place.gaussians, _distil(settings, place.seed))
        rows.append(
            _row(
                place, pupil, kind, t.latents, t.decode, "blend, then decode",
                size_bytes=t.size_bytes, seconds=t.seconds, chosen=t.chosen, matched=matched,
            )
        )  # fmt: skip
    return rows


def memory_settings(method: OurMethod, settings: BenchSettings, seed: int) -> MemorySettings:
    """Return how the memory stage is to work for a method."""
    steps = replace(settings.memory.polish, seed=seed)
    ours = replace(settings.memory, query_dim=settings.dims, keep_sums=False, polish=steps, seed=seed)
    if method != "paper":
        return replace(ours, projection=method)
    return replace(
        ours, selection="paper", theta=settings.paper_theta, projection="frozen", tau=PAPER_TAU, initial="random",
        polish=replace(steps, steps=settings.paper_steps),
    )  # fmt: skip


def bank_row(entry: PrincipalQueries, seed: int) -> BankRow:
    """Return the figures of an entry's bank."""
    bank = entry.attention.bank
    coverage = bank.coverage
    return BankRow(
        entry.encoder_name, bank.method, seed, bank.theta, len(bank), bank.capped, coverage.mean, coverage.minimum,
        coverage.share_below, coverage.count, bank.size_bytes,
    )  # fmt: skip


def _row(
    place: Place,
    pupil: Pupil,
    method: Method,
    values: Float[Tensor, "N s"],
    decode: Decode,
    order: Order,
    *,
    size_bytes: int,
    seconds: float,
    chosen: str,
    matched: Literal["", "dims", "bytes"] = "",
    dims: int = 0,
) -> MemoryRow:
    f = fidelity(pupil.held_out, place.gaussians, values, decode, order)
    return MemoryRow(
        pupil.encoder.name, method, dims or values.shape[1], matched, order, place.seed,
        f.cosine, f.cosine_masked, f.l2, f.l2_masked, size_bytes, seconds, chosen,
    )  # fmt: skip


def _as_it_is(x: Float[Tensor, "n D"]) -> Float[Tensor, "n D"]:
    return x


def _distil(settings: BenchSettings, seed: int) -> DistilSettings:
    return replace(settings.distil, seed=seed)


def _bytes_of_ours(rows: Sequence[MemoryRow], encoder: str) -> int:
    """Return the bytes of the learned memory of this encoder; 0 where it was not measured."""
    sizes = [r.bytes for r in rows if r.encoder == encoder and r.method == "learned"]
    return sizes[-1] if sizes else 0
