"""`m3 bench memory`: what a memory keeps of its encoders' features, and what it costs."""

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from m3_ros.cli.bench_document import machine, plain

if TYPE_CHECKING:
    from m3_ros.evaluation.memory_ablation import AblationRow
    from m3_ros.evaluation.memory_benchmark import BenchSettings, Measured
    from m3_ros.evaluation.memory_costs import ArchiveFigures, TextScore, WeightPass
    from m3_ros.features.encoder import Encoder
    from m3_ros.recording import Frame

Part = Literal["fidelity", "ablation", "costs"]


def run(
    scene: str = "12",
    encoders: tuple[str, ...] = ("embedded",),
    seeds: tuple[int, ...] = (0,),
    parts: tuple[Part, ...] = ("fidelity", "costs"),
    methods: tuple[str, ...] = (),
    questions: tuple[str, ...] = (),
    dims: int = 16,
    components: int = 1024,
    keyframes: int = 60,
    gaussians: int = 15_000,
    steps: int = 1500,
    iterations: int = 300,
    max_width: int = 320,
    cache: Path | None = None,
    json_document: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Measure what a memory keeps of its encoders' features on held-out views, and what it costs.

    Every 8th keyframe is held out. A seed trains its own geometry, which all methods then share.

    Args:
        scene: Number of a simulated room, which is walked at 320x240; or a recording.
        encoders: Encoders, such as `embedded dinov2:/models/dinov2-base openclip:/models/clip`; for costs also a
            stand-in of a width and grid, such as `stand-in:1152:27x27` or `stand-in:4096:60x80:regions`.
        seeds: Seeds of the trainings.
        parts: What to measure: fidelity beside other methods; ablation of our own choices; costs.
        methods: Only these methods; default: all.
        questions: Only these questions of the ablation; default: all.
        dims: Length of what each Gaussian carries for an encoder.
        components: Most components of a bank of ours.
        keyframes: About so many keyframes are used.
        gaussians: Most Gaussians.
        steps: Optimiser steps of the geometry.
        iterations: Optimiser steps of other methods and of our polish; the paper's queries take 600 at least.
        max_width: Wider pictures of a recording are scaled down to this [px].
        cache: Folder that keeps features between runs; default: a temporary one.
        json_document: One JSON document instead of tables.
    """
    from m3_ros.evaluation.stand_in import load_any

    settings = _settings(methods, dims, components, gaussians, steps, iterations)
    loaded = [load_any(spec) for spec in encoders]
    frames = _frames(scene, keyframes, max_width)
    kept = nullcontext(str(cache)) if cache else tempfile.TemporaryDirectory(prefix="m3_features_")
    with kept as folder:
        found = _measure(frames, loaded, seeds, parts, _questions(questions), settings, Path(folder))
    if json_document:
        document = {"scene": scene, "keyframes": len(frames), **machine(), **dataclasses.asdict(found)}
        print(json.dumps(plain(document), indent=1, allow_nan=False))
    else:
        print(f"scene {scene}, {len(frames)} keyframes, " + ", ".join(map(str, machine().values())))
        print(as_table(found))
    return 0


@dataclasses.dataclass(frozen=True)
class Found:
    """All that was measured."""

    seeds: "tuple[Measured, ...]" = ()
    ablation: "tuple[AblationRow, ...]" = ()
    text_scores: "tuple[TextScore, ...]" = ()
    archive: "ArchiveFigures | None" = None
    weight_pass: "WeightPass | None" = None


def as_table(found: Found) -> str:
    """Return what was measured as lines for a terminal; several seeds as mean and spread."""
    lines = [f"seed {m.seed}: {m.gaussians} Gaussians, {m.psnr_db:.2f} dB held out" for m in found.seeds]
    lines += [*_fidelity_lines(found.seeds), *_bank_lines(found.seeds), *_ablation_lines(found.ablation)]
    for t in found.text_scores:
        lines.append(
            f"text score of {t.gaussians} Gaussians, {t.components} components of {t.feature_dim}: fused "
            f"{t.fused_ms:.0f} ms, plain {t.plain_ms:.0f} ms, difference {t.largest_difference:.1e}, queries of "
            f"{t.query_dim}"
        )
    if (w := found.weight_pass) is not None:
        lines.append(
            f"weight pass over {w.views} views, {w.gaussians} Gaussians, queries of {w.query_dim}: "
            f"{w.one_seconds:.2f} s for one encoder, {w.all_seconds:.2f} s for {w.encoders} "
            f"({w.all_seconds / w.one_seconds:.2f}x); of projected features {w.one_projected_seconds:.2f} s and "
            f"{w.all_projected_seconds:.2f} s ({w.all_projected_seconds / w.one_projected_seconds:.2f}x)"
        )
    if (a := found.archive) is not None:
        lines.append(
            f"memory of {len(a.encoders)} encoders, {a.keyframes} keyframes, {a.gaussians} Gaussians: built in "
            f"{a.build_seconds:.1f} s from cached features, saved in {a.save_seconds:.2f} s, {a.megabytes:.1f} MB, "
            f"loaded in {a.load_seconds:.2f} s, first answer {a.answer_seconds:.2f} s later"
        )
    return "\n".join(lines)


def _fidelity_lines(seeds: "Sequence[Measured]") -> list[str]:
    grouped: dict[tuple[str, str, str], list[Any]] = {}
    for measured in seeds:
        for row in measured.rows:
            grouped.setdefault((row.encoder, f"{row.method} {row.matched}".strip(), row.order), []).append(row)
    if not grouped:
        return []
    head = f"{'encoder':18}{'method':14}{'dims':>5}{'cosine':>16}{'masked':>9}{'L2':>20}{'kB':>8}{'s':>7}  order"
    lines = [head]
    for (encoder, method, order), rows in grouped.items():
        masked, size, seconds = (_mean([getattr(r, k) for r in rows]) for k in ("cosine_masked", "bytes", "seconds"))
        cosine, l2 = _spread([r.cosine for r in rows], ".4f"), _spread([r.l2 for r in rows], ".3g")
        lines.append(
            f"{encoder[-17:]:18}{method:14}{rows[0].dims:5}{cosine:>16}{masked:9.4f}{l2:>20}{size / 1e3:8.0f}"
            f"{seconds:7.1f}  {order}"
        )
    return lines


def _bank_lines(seeds: "Sequence[Measured]") -> list[str]:
    return [
        f"bank of {bank.encoder}, {bank.method}, seed {bank.seed}: {bank.components} of {bank.features} features, "
        f"theta {bank.theta:.3f}{' by the cap' if bank.capped else ''}, coverage mean {bank.coverage_mean:.3f} "
        f"min {bank.coverage_min:.3f}, {bank.share_below_theta:.2%} below theta, {bank.bytes / 1e3:.0f} kB"
        for measured in seeds
        for bank in measured.banks
    ]


def _ablation_lines(rows: "Sequence[AblationRow]") -> list[str]:
    if not rows:
        return []
    lines = [f"{'question':12}{'variant':34}{'seed':>5}{'t':>6}{'tau':>8}{'cosine':>9}{'L2':>11}{'kB':>7}{'s':>7}"]
    lines += [
        f"{r.question:12}{r.variant:34}{r.seed:5}{r.components:6}{r.tau:8.4f}{r.cosine:9.4f}{r.l2:11.3g}"
        f"{r.bytes / 1e3:7.0f}{r.seconds:7.1f}"
        for r in rows
    ]
    return lines


def _measure(
    frames: "Sequence[Frame]",
    encoders: "Sequence[Encoder]",
    seeds: Sequence[int],
    parts: Sequence[Part],
    questions: Sequence[Any],
    settings: "BenchSettings",
    cache_dir: Path,
) -> Found:
    from m3_ros.cli.progress_line import ProgressLine
    from m3_ros.evaluation import memory_ablation, memory_benchmark, memory_costs

    measured, ablation, found = [], [], Found()
    with ProgressLine() as line:
        for seed in seeds:
            line.say(f"training the geometry of seed {seed}")
            place = memory_benchmark.prepare(frames, dataclasses.replace(settings.geometry, seed=seed))
            if "fidelity" in parts:
                measured.append(memory_benchmark.benchmark_fidelity(place, encoders, settings, cache_dir, line.say))
            ours = dataclasses.replace(settings.memory, query_dim=settings.dims, seed=seed)
            if "ablation" in parts:
                ablation += memory_ablation.ablate(place, encoders, questions, ours, cache_dir, line.say)
            if "costs" in parts and seed == seeds[-1]:
                line.say("measuring costs")
                found = Found(
                    text_scores=tuple(
                        memory_costs.time_text_score(query_dim=settings.dims, feature_dim=d) for d in (128, 512, 2048)
                    ),
                    weight_pass=memory_costs.time_weight_pass(place, encoders, ours, cache_dir),
                    archive=memory_costs.measure_archive(place, encoders, ours, cache_dir),
                )
    return dataclasses.replace(found, seeds=tuple(measured), ablation=tuple(ablation))


def _settings(
    methods: Sequence[str], dims: int, components: int, gaussians: int, steps: int, iterations: int
) -> "BenchSettings":
    from m3_ros.errors import M3Error
    from m3_ros.evaluation.feature_baselines import DistilSettings
    from m3_ros.evaluation.memory_benchmark import METHODS, BenchSettings
    from m3_ros.training.geometry_settings import GeometrySettings
    from m3_ros.training.memory_stage import MemorySettings
    from m3_ros.training.polish import PolishSettings

    if unknown := set(methods) - set(METHODS):
        raise M3Error(f"no method is called {', '.join(sorted(unknown))}: choose from {', '.join(METHODS)}")
    geometry = GeometrySettings(steps=steps, max_seconds=float("inf"), max_gaussians=gaussians)
    chosen = tuple(method for method in METHODS if not methods or method in methods)
    memory = MemorySettings(max_components=components, polish=PolishSettings(steps=iterations))
    distil, paper_steps = DistilSettings(iterations), max(600, iterations)
    return BenchSettings(chosen, dims, paper_steps=paper_steps, memory=memory, distil=distil, geometry=geometry)


def _questions(names: Sequence[str]) -> Sequence[Any]:
    from m3_ros.errors import M3Error
    from m3_ros.evaluation.memory_ablation import QUESTIONS

    if unknown := set(names) - set(QUESTIONS):
        raise M3Error(f"no question is called {', '.join(sorted(unknown))}: choose from {', '.join(QUESTIONS)}")
    return [question for question in QUESTIONS if not names or question in names]


def _frames(scene: str, keyframes: int, max_width: int) -> "Sequence[Frame]":
    from m3_ros.evaluation.train_benchmark import simulated_walk
    from m3_ros.training.pipeline import TrainingSettings, read_keyframes

    if scene.isdigit():
        return simulated_walk(int(scene), keyframes)
    frames = read_keyframes(Path(scene), TrainingSettings(max_width=max_width))
    return frames[:: -(-len(frames) // keyframes)]


def _spread(values: Sequence[float], how: str) -> str:
    mean = format(_mean(values), how)
    return mean if len(values) == 1 else f"{mean} +-{format((max(values) - min(values)) / 2, how)}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
