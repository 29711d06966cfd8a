"""The memory stage: posed frames, Gaussians and encoders in, a SpatialMemory out. The geometry is not touched.

Features are streamed from a cache on disk in a few passes (statistics, components, lift), one view at a time, so that
memory does not grow with the number of views.
"""

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.errors import Cancelled, TrainingError
from m3_ros.features import extract
from m3_ros.features.encoder import Encoder, FeatureMap, unit
from m3_ros.memory import (
    Keyframes,
    MemoryAttention,
    MemoryBank,
    PrincipalQueries,
    Provenance,
    SpatialMemory,
    View,
    cover_components,
    fit_tau,
    frozen_projection,
    lift,
    paper_components,
    pca_projection,
)
from m3_ros.recording.frame import Frame
from m3_ros.splat.gaussians import Gaussians
from m3_ros.training.progress import CancelCheck, Progress, ProgressCallback, ignore_progress, never_cancelled

log = logging.getLogger(__name__)

_SAMPLE_PER_VIEW = 48


@dataclass(frozen=True)
class MemorySettings:
    """How features become a memory."""

    query_dim: Annotated[int, "4..256"] = 32
    """Length of the principal queries of each encoder."""
    selection: Literal["cover", "paper"] = "cover"
    """How components are chosen: a true cover, or the paper's Algorithm 1."""
    theta: Annotated[float, "0..1"] = 0.9
    """Cosine within which a component stands for a feature; lowered by itself where the cap asks for it."""
    max_components: Annotated[int, "1..65536"] = 1024
    """Most components of a bank."""
    projection: Literal["pca", "frozen"] = "pca"
    """W of the memory attention: from the features' own directions, or the paper's untrained random one."""
    tau: Annotated[float, "0..1"] = 0.0
    """Temperature of the memory attention; 0: the best one for the features at hand."""
    lift_width: Annotated[int, "16..4096"] = 160
    """Width at which the Gaussians are splatted while features are gathered [px]."""
    min_weight: Annotated[float, "0.."] = 0.05
    """A Gaussian whose alpha-weights sum to less than this over all views [px] remembers nothing."""
    seed: int = 0
    """Seed of random choices."""


@dataclass(frozen=True, eq=False)
class _Features:
    """The feature maps of the training views of one encoder, gone through as often as needed."""

    frames: Sequence[Frame]
    encoder: Encoder
    cache_dir: Path
    cancelled: CancelCheck

    def maps(self, progress: ProgressCallback = ignore_progress) -> Iterator[FeatureMap]:
        start = time.monotonic()

        def report(done: int) -> None:
            share = done / len(self.frames)
            progress(Progress("features", share, (time.monotonic() - start) * (1 / share - 1)))

        for feature_map in extract(self.frames, self.encoder, self.cache_dir, report):
            if self.cancelled():
                raise Cancelled("training was cancelled while the memory was built; nothing was written")
            yield feature_map

    def __iter__(self) -> Iterator[Float[Tensor, "n D"]]:
        for feature_map in self.maps():
            yield _vectors(feature_map)

    def views(self) -> Iterator[View]:
        for frame, feature_map in zip(self.frames, self.maps(), strict=True):
            yield View(feature_map, frame.camera, frame.T_map_camera)


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
) -> SpatialMemory:
    """Choose each encoder's components, lift its features onto the Gaussians, and put the memory together.

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
    entries, seen = [], torch.zeros(len(gaussians))
    with tempfile.TemporaryDirectory(prefix="m3_features_") as scratch, torch.inference_mode():
        for i, encoder in enumerate(encoders):
            features = _Features(used, encoder, cache_dir or Path(scratch), cancelled)
            entry, seen = _remember(features, gaussians, settings, _share(progress, i, len(encoders)))
            entries.append(entry)
    visibility = torch.where(seen >= settings.min_weight, seen, 0.0)
    if not bool((visibility > 0).any()):
        raise TrainingError("no Gaussian is seen by any frame: the poses and the geometry do not belong together")
    return SpatialMemory(
        gaussians, tuple(entries), visibility, _keyframes(frames), provenance or Provenance.now(), map_frame
    )


def _remember(
    features: _Features, gaussians: Gaussians, settings: MemorySettings, progress: ProgressCallback
) -> tuple[PrincipalQueries, Float[Tensor, " N"]]:
    """Build what one encoder remembers; also return the alpha-weight sums of the Gaussians."""
    start = time.monotonic()
    moment, sample = _statistics(features, settings.seed, progress)
    bank = _bank(features, settings)
    progress(Progress("memory", 0.4))
    W = _projection(bank, moment, settings)
    attention = MemoryAttention(bank, W, settings.tau or fit_tau(bank, W, sample))
    lifted = lift(features.views(), gaussians, W, settings.lift_width)
    progress(Progress("memory", 0.9))
    queries, _ = lifted.mean(settings.min_weight)
    queries = queries.half()
    length = torch.linalg.vector_norm(queries.float() @ W, dim=1).clamp(max=1.0)
    entry = PrincipalQueries(queries, attention.norms(queries.float()), length, attention)
    log.info(
        "%s: %d components, tau %.3f, %.1f s", bank.encoder_name, len(bank), attention.tau, time.monotonic() - start
    )
    log.info("theta %.3f, coverage mean %.3f min %.3f", bank.theta, bank.coverage.mean, bank.coverage.minimum)
    progress(Progress("memory", 1.0))
    return entry, lifted.seen


def _statistics(
    features: _Features, seed: int, progress: ProgressCallback
) -> tuple[Float[Tensor, "D D"], Float[Tensor, "n D"]]:
    """Go through the features once: their second moment as unit vectors, and a random sample of them."""
    dim = features.encoder.dim
    moment, count, sample = torch.zeros(dim, dim), 0, []
    generator = torch.Generator().manual_seed(seed)
    for feature_map in features.maps(progress):
        x = unit(_vectors(feature_map).float())
        moment += x.T @ x
        count += len(x)
        sample.append(x[torch.randperm(len(x), generator=generator)[:_SAMPLE_PER_VIEW]])
    return moment / max(count, 1), torch.cat(sample)


def _bank(features: _Features, settings: MemorySettings) -> MemoryBank:
    if settings.selection == "paper":
        selection = paper_components(torch.cat(list(features)), settings.theta)
    else:
        selection = cover_components(features, settings.theta, settings.max_components)
    return selection.bank(features.encoder.name, features.encoder.version, settings.selection)


def _projection(bank: MemoryBank, moment: Float[Tensor, "D D"], settings: MemorySettings) -> Float[Tensor, "s D"]:
    """Return W. PCA weighs the bank as much as the pixels: a rare thing has few pixels and needs its direction too."""
    if settings.projection == "frozen":
        return frozen_projection(settings.query_dim, bank.dim, settings.seed)
    b = unit(bank.components)
    return pca_projection(moment + b.T @ b / len(b), settings.query_dim)


def _vectors(feature_map: FeatureMap) -> Float[Tensor, "n D"]:
    """Return the valid vectors of a map: cells of a grid, or regions once each."""
    if feature_map.index is None:
        return feature_map.features[feature_map.valid]
    regions = torch.unique(feature_map.index[feature_map.valid & (feature_map.index >= 0)])
    return feature_map.features[regions]


def _keyframes(frames: Sequence[Frame]) -> Keyframes:
    return Keyframes(
        np.array([f.stamp_ns for f in frames], np.int64),
        np.stack([np.asarray(f.T_map_camera, np.float64) for f in frames]),
        tuple(f.camera for f in frames),
    )


def _share(progress: ProgressCallback, part: int, parts: int) -> ProgressCallback:
    """Map the fractions of one encoder's work into the whole stage."""

    def report(p: Progress) -> None:
        progress(Progress(p.stage, (part + p.fraction) / parts, p.eta_s, p.psnr_db, p.gaussians))

    return report
