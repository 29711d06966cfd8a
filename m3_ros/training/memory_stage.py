"""The memory stage: posed frames, Gaussians and encoders in, a SpatialMemory out. The geometry is not touched.

Features are streamed from a cache on disk in a few passes (statistics, components, one lift for all encoders, polish),
one view at a time, so that memory does not grow with the number of views.
"""

import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.errors import TrainingError
from m3_ros.features.encoder import Encoder, unit
from m3_ros.memory import (
    Keyframes,
    Lifted,
    MemoryAttention,
    MemoryBank,
    PrincipalQueries,
    Provenance,
    Recipe,
    SpatialMemory,
    Walk,
    component_captions,
    compose,
    cover_components,
    find_objects,
    fit_tau,
    frozen_projection,
    lift,
    paper_components,
    pca_projection,
    visibility,
)
from m3_ros.memory.attention import PAPER_TAU
from m3_ros.memory.sources import component_sources
from m3_ros.recording.frame import Frame
from m3_ros.splat.gaussians import Gaussians
from m3_ros.training.feature_stream import KEPT_BYTES, FeatureStream, Statistics, statistics
from m3_ros.training.feature_views import FeatureViews
from m3_ros.training.polish import Learner, PolishSettings, fit_taus, polish, trust
from m3_ros.training.progress import CancelCheck, Progress, ProgressCallback, ignore_progress, never_cancelled

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MemorySettings:
    """How features become a memory. The paper's own: paper, frozen, tau 0.05, random."""

    query_dim: Annotated[int, "4..256"] = 32
    """Length of the principal queries of each encoder."""
    selection: Literal["cover", "paper"] = "cover"
    """How components are chosen: a true cover, or the paper's Algorithm 1."""
    theta: Annotated[float, "0..1"] = 0.9
    """Cosine within which a component stands for a feature; lowered by itself where the cap asks for it."""
    max_components: Annotated[int, "1..65536"] = 1024
    """Most components of a bank."""
    leaky: bool = False
    """Choose components from held-out views too, as the paper's code does; only to compare with it."""
    projection: Literal["learned", "pca", "frozen"] = "learned"
    """W of the memory attention: learned with tau and what the components stand for, from the features' own directions,
    or the paper's untrained random one."""
    tau: Annotated[float, "0..1"] = 0.0
    """Temperature of the memory attention; 0: the best one for the features at hand."""
    initial: Literal["lift", "random"] = "lift"
    """Queries that the polish starts from: lifted from the views, or random as the paper's."""
    polish: PolishSettings = field(default_factory=PolishSettings)
    """How lifted queries are refined; 0 steps leave them as lifted."""
    lift_width: Annotated[int, "16..4096"] = 240
    """Width at which the Gaussians are splatted while features are gathered [px]."""
    min_weight: Annotated[float, "0.."] = 0.05
    """A Gaussian whose alpha-weights sum to less than this over all views [px] remembers nothing."""
    keep_sums: bool = True
    """Keep the sums of the walk, so that it can be taken away, and others added."""
    code_length: Annotated[int, "0..64"] = 0
    """Components in the code of each Gaussian, for a linear head kept beside the queries; 0: none is kept."""
    seed: int = 0
    """Seed of random choices."""


def build_memory(
    frames: Sequence[Frame],
    gaussians: Gaussians,
    encoders: Sequence[Encoder],
    settings: MemorySettings | None = None,
    progress: ProgressCallback = ignore_progress,
    cancelled: CancelCheck = never_cancelled,
    *,
    held_out: Sequence[int] = (),
    provenance: Provenance | None = None,
    cache_dir: Path | None = None,
    map_frame: str = "map",
    walk: str = "first",
    ray_address: str | None = None,
) -> SpatialMemory:
    """Choose each encoder's components, lift all features onto the Gaussians, polish, and put the memory together.

    Args:
        frames: all keyframes; they become the keyframes of the memory.
        gaussians: trained geometry in the same map.
        encoders: models whose features to remember, at least one.
        settings: None gives the defaults.
        progress: told of stages "features" and "memory".
        cancelled: asked once a view.
        held_out: numbers of frames whose features are not looked at.
        provenance: where the recording comes from.
        cache_dir: keeps features for the next training; None: a temporary folder.
        map_frame: name of the frame that the poses are in.
        walk: name of the recording among those that may be added later.
        ray_address: the Ray cluster to encode on, such as "10.0.0.5:6379"; None: in this process.

    Raises:
        TrainingError: there are no frames, Gaussians or encoders, or no Gaussian was seen.
        Cancelled: `cancelled` said so.
    """
    settings = settings or MemorySettings()
    used = [frame for i, frame in enumerate(frames) if i not in set(held_out)]
    if not used or len(gaussians) == 0 or not encoders:
        raise TrainingError(
            f"a memory needs frames, Gaussians and an encoder; got {len(used)} frames, {len(gaussians)} Gaussians, "
            f"{len(encoders)} encoders"
        )
    with tempfile.TemporaryDirectory(prefix="m3_features_") as scratch, torch.no_grad():
        cache = cache_dir or Path(scratch)
        room = KEPT_BYTES // len(encoders)
        streams = [FeatureStream(used, encoder, cache, cancelled, ray_address, room) for encoder in encoders]
        lifted, entries = _remembered(streams, frames, gaussians, settings, progress, cancelled)
    remembered = Walk(walk, len(frames), lifted)
    visible = visibility([remembered], settings.min_weight)
    if not bool((visible > 0).any()):
        raise TrainingError("no Gaussian is seen by any frame: the poses and the geometry do not belong together")
    progress(Progress("memory", 1.0))
    walks = (remembered,) if settings.keep_sums else ()
    where_from = provenance or Provenance.now()
    memory = SpatialMemory(gaussians, entries, visible, keyframes_of(frames), where_from, map_frame, walks=walks)
    return replace(memory, objects=find_objects(memory, encoders))


def _remembered(
    streams: Sequence[FeatureStream],
    frames: Sequence[Frame],
    gaussians: Gaussians,
    settings: MemorySettings,
    progress: ProgressCallback,
    cancelled: CancelCheck,
) -> tuple[tuple[Lifted, ...], tuple[PrincipalQueries, ...]]:
    """Go through the features of all encoders: components, sums over the Gaussians, queries."""
    told = [statistics(x, settings.seed, _part(progress, i, len(streams))) for i, x in enumerate(streams)]
    offered = [replace(x, frames=frames) for x in streams] if settings.leaky else streams
    starts = [_start(stream, known, settings) for stream, known in zip(offered, told, strict=True)]
    progress(Progress("memory", 0.2))
    views = FeatureViews(streams[0].frames, streams, gaussians, settings.lift_width)
    lifted = lift(views, gaussians, [torch.linalg.pinv(start.attention.W) for start in starts], settings.lift_width)
    progress(Progress("memory", 0.4))
    return lifted, _polished(views, starts, told, lifted, settings, _from(progress, 0.4), cancelled)


def keyframes_of(frames: Sequence[Frame]) -> Keyframes:
    """Return from where frames were seen."""
    return Keyframes(
        np.array([f.stamp_ns for f in frames], np.int64),
        np.stack([np.asarray(f.T_map_camera, np.float64) for f in frames]),
        tuple(f.camera for f in frames),
    )


@dataclass(frozen=True, eq=False)
class _Start:
    """What the memory of an encoder starts with."""

    attention: MemoryAttention
    directions: Float[Tensor, "p D"] | None
    """Along which the polish looks; None: in full."""


def _start(stream: FeatureStream, known: Statistics, settings: MemorySettings) -> _Start:
    """Choose the components, W and tau that an encoder starts with."""
    start = time.monotonic()
    bank = _bank(stream, settings)
    W, directions = _projection(bank, known.moment, settings)
    lifted = settings.initial == "lift"  # then tau is fitted to blended queries, once there are some
    tau = settings.tau or (PAPER_TAU if lifted else fit_tau(bank, W, known.sample))
    attention = MemoryAttention(bank, W, tau)
    log.info(
        "%s: %d components (%d bytes), theta %.3f%s, coverage mean %.3f min %.3f, %.1f s",
        bank.encoder_name, len(bank), attention.size_bytes, bank.theta, " by the cap" if bank.capped else "",
        bank.coverage.mean, bank.coverage.minimum, time.monotonic() - start,
    )  # fmt: skip
    return _Start(attention, directions)


def _polished(
    views: FeatureViews,
    starts: Sequence[_Start],
    told: Sequence[Statistics],
    lifted: Sequence[Lifted],
    settings: MemorySettings,
    progress: ProgressCallback,
    cancelled: CancelCheck,
) -> tuple[PrincipalQueries, ...]:
    """Refine what was lifted, and say how the queries of each encoder came from its sums."""
    means = [sums.mean(settings.min_weight)[0] for sums in lifted]
    learned = settings.projection == "learned"
    generator = torch.Generator().manual_seed(settings.seed)
    random = settings.initial == "random"
    learners = [
        Learner(
            torch.randn(mean.shape, generator=generator) if random else mean,
            start.attention,
            known.mean_square,
            learned,
            None if random else trust(sums.weights, settings.polish),
            start.directions,
        )
        for start, known, mean, sums in zip(starts, told, means, lifted, strict=True)
    ]
    if settings.tau == 0 and settings.initial == "lift":
        fit_taus(views, learners, settings.polish)
    polish(views, learners, settings.polish, progress, cancelled)
    entries = []
    for start, learner, mean, sums in zip(starts, learners, means, lifted, strict=True):
        recipe = Recipe(
            torch.linalg.pinv(start.attention.W), (learner.result() - mean).half(), settings.min_weight,
            settings.lift_width, settings.code_length,
        )  # fmt: skip
        entry = compose(learner.attention(), recipe, sums)
        entries.append(entry if settings.keep_sums else replace(entry, recipe=None))
    return tuple(entries)


def _bank(stream: FeatureStream, settings: MemorySettings) -> MemoryBank:
    if settings.selection == "paper":
        selection = paper_components(torch.cat(list(stream)), settings.theta)
    else:
        selection = cover_components(stream, settings.theta, settings.max_components)
    bank = selection.bank(stream.encoder.name, stream.encoder.version, settings.selection)
    views = zip((frame.stamp_ns for frame in stream.frames), stream.maps(), strict=True)
    speaks = any(seen.captions is not None for seen in islice(stream.maps(), 1))
    captions = component_captions(stream.maps(), bank.components) if speaks else ()
    return replace(bank, sources=component_sources(views, bank.components), captions=captions)


def _projection(
    bank: MemoryBank, moment: Float[Tensor, "D D"], settings: MemorySettings
) -> tuple[Float[Tensor, "s D"], Float[Tensor, "p D"] | None]:
    """Return W, and the directions along which the polish looks: those of a PCA, turned among themselves.

    PCA weighs the bank as much as the pixels: a rare thing has few pixels and needs its direction too. Turned, because
    Adam moves all coordinates alike: the last ones of a PCA would be moved as far as the first.
    """
    dims, most = settings.query_dim, settings.polish.directions
    if settings.projection == "frozen":
        return frozen_projection(dims, bank.dim, settings.seed), None
    b = unit(bank.components)
    looks = settings.projection == "learned" and 0 < most < bank.dim
    leading = pca_projection(moment + b.T @ b / len(b), max(dims, most) if looks else dims)
    if not looks:
        return leading, None
    generator = torch.Generator().manual_seed(settings.seed)
    turn, _ = torch.linalg.qr(torch.randn(len(leading), len(leading), generator=generator))
    return leading[:dims].contiguous(), turn @ leading


def _part(progress: ProgressCallback, part: int, parts: int) -> ProgressCallback:
    """Map the fractions of one encoder's features into the whole stage."""

    def report(p: Progress) -> None:
        progress(replace(p, fraction=(part + p.fraction) / parts))

    return report


def _from(progress: ProgressCallback, first: float) -> ProgressCallback:
    """Map the fractions of the last part of a stage into the whole stage."""

    def report(p: Progress) -> None:
        progress(replace(p, fraction=first + (1 - first) * p.fraction))

    return report
