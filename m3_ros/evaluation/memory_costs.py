"""What a memory costs: to build, to keep, to load and to ask."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from m3_ros.evaluation.memory_benchmark import Place
from m3_ros.features import extract
from m3_ros.features.encoder import Encoder
from m3_ros.memory import MemoryAttention, MemoryBank, SpatialMemory, View, lift
from m3_ros.memory.components import Coverage
from m3_ros.query import Finder
from m3_ros.training.feature_stream import halved
from m3_ros.training.memory_stage import MemorySettings, build_memory

_REPEATS = 5
_TURNS = 15
"""Of the weight passes, whose ratio is asked for: with five it moved by 4 % from run to run."""


@dataclass(frozen=True)
class TextScore:
    """The time of one text score of many Gaussians against a bank of random numbers."""

    gaussians: int
    components: int
    query_dim: int
    feature_dim: int
    fused_ms: float
    """Median by the kernel [ms]."""
    plain_ms: float
    """Median in plain torch [ms]."""
    largest_difference: float
    """Between the two."""


@dataclass(frozen=True)
class ArchiveFigures:
    """Building, saving, loading and asking the memory of all encoders."""

    encoders: tuple[str, ...]
    gaussians: int
    keyframes: int
    build_seconds: float
    """From cached features to the memory of all encoders [s]."""
    save_seconds: float
    megabytes: float
    """Of the saved folder [10^6 bytes]."""
    load_seconds: float
    answer_seconds: float
    """First answer after loading, its text encoded anew [s]; nan where no encoder has words."""


@dataclass(frozen=True)
class WeightPass:
    """The pass over all training views that gathers features on the Gaussians."""

    one_seconds: float
    """For the first encoder, its features in memory [s]."""
    all_seconds: float
    """For all encoders at once [s]."""
    one_projected_seconds: float
    """As one_seconds, but of features that are projected to queries already: what the weights alone take [s]."""
    all_projected_seconds: float
    encoders: int
    views: int
    gaussians: int
    query_dim: int


def time_text_score(
    gaussians: int = 100_000, components: int = 2048, query_dim: int = 16, feature_dim: int = 512
) -> TextScore:
    """Time the score of one text; the length of what is read out is known beforehand, as in a saved memory."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(components, feature_dim, generator=generator)
    bank = MemoryBank(rows, "random", "1", 0.9, Coverage(1.0, 1.0, 0.0, components), capped=False, method="cover")
    attention = MemoryAttention(bank, torch.randn(query_dim, feature_dim, generator=generator), 0.02)
    queries = torch.randn(gaussians, query_dim, generator=generator)
    along = rows @ torch.nn.functional.normalize(torch.randn(feature_dim, 1, generator=generator), dim=0)
    norms = attention.norms(queries)[:, None]
    with torch.inference_mode():
        fused, fused_ms = _timed(lambda: attention.read_fused(queries, along) / norms)
        plain, plain_ms = _timed(lambda: attention.read_plain(queries, along) / norms)
    difference = float((fused - plain).abs().max())
    return TextScore(gaussians, components, query_dim, feature_dim, fused_ms, plain_ms, difference)


def measure_archive(
    place: Place, encoders: Sequence[Encoder], settings: MemorySettings, cache_dir: Path, phrase: str = "chair"
) -> ArchiveFigures:
    """Build the memory of all encoders from cached features, save it, load it again and ask it one thing."""
    start = time.monotonic()
    memory = build_memory(
        place.frames, place.gaussians, encoders, settings, held_out=place.held_out, cache_dir=cache_dir
    )
    built = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="m3_bench_") as folder:
        path = Path(folder) / "memory"
        memory.save(path)
        saved = time.monotonic()
        size = sum(file.stat().st_size for file in path.iterdir())
        started = time.monotonic()
        loaded = SpatialMemory.load(path)
        load_seconds = time.monotonic() - started
    speaking = next((encoder for encoder in encoders if encoder.background_phrases), None)
    started = time.monotonic()
    if speaking is not None:
        Finder(loaded, speaking).find(phrase)
    answer_seconds = time.monotonic() - started if speaking is not None else float("nan")
    return ArchiveFigures(
        tuple(e.name for e in encoders), len(place.gaussians), len(place.frames), built - start, saved - built,
        size / 1e6, load_seconds, answer_seconds,
    )  # fmt: skip


def time_weight_pass(
    place: Place, encoders: Sequence[Encoder], settings: MemorySettings, cache_dir: Path
) -> WeightPass:
    """Time the lift of one encoder and of all at once, features in memory as a training holds them."""
    frames = [place.frames[i] for i in place.training]
    maps = list(zip(*(map(halved, extract(frames, encoder, cache_dir)) for encoder in encoders), strict=True))
    generator = torch.Generator().manual_seed(0)
    matrices = [torch.randn(encoder.dim, settings.query_dim, generator=generator) for encoder in encoders]
    views = [View(seen, frame.camera, frame.T_map_camera) for frame, seen in zip(frames, maps, strict=True)]
    queries = [_as_queries(view, matrices) for view in views]
    unchanged = [torch.eye(settings.query_dim)] * len(encoders)

    every = len(encoders)
    passes = [(views, 1, matrices), (views, every, matrices), (queries, 1, unchanged), (queries, every, unchanged)]
    cases = [([replace(v, feature_maps=v.feature_maps[:n]) for v in seen], to[:n]) for seen, n, to in passes]
    times: list[list[float]] = [[] for _ in cases]
    for _ in range(_TURNS):  # in turn: how fast memory is differs from second to second, and ratios count
        for (seen, to_query), taken in zip(cases, times, strict=True):
            start = time.monotonic()
            lift(seen, place.gaussians, to_query, settings.lift_width)
            taken.append(time.monotonic() - start)
    one, all_at_once, one_projected, all_projected = map(statistics.median, times)
    return WeightPass(
        one, all_at_once, one_projected, all_projected, every, len(frames), len(place.gaussians), settings.query_dim
    )


def _as_queries(view: View, matrices: Sequence[torch.Tensor]) -> View:
    """Project the features of a view."""
    pairs = zip(view.feature_maps, matrices, strict=True)
    return replace(
        view,
        feature_maps=tuple(halved(replace(seen, features=seen.features.float() @ matrix)) for seen, matrix in pairs),
    )


def _timed(call: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
    """Return what a call gives and its median time [ms], the first call left out."""
    result, times = call(), []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return result, statistics.median(times)
