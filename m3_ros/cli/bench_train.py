"""`m3 bench train`: quality of the geometry stage against time."""

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from m3_ros.cli.bench_document import machine, plain

if TYPE_CHECKING:
    from m3_ros.evaluation.train_benchmark import TrainBenchmark
    from m3_ros.recording import Frame
    from m3_ros.training.geometry_settings import GeometrySettings


def run(
    scene: str = "12",
    rgb_only: bool = False,
    pose_noise: bool = False,
    preset: Literal["seconds", "balanced", "best"] = "balanced",
    seconds: float = 0.0,
    max_gaussians: int = 0,
    max_width: int = 640,
    seed: int = 0,
    json_document: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Measure the geometry stage: held-out quality against time.

    Every 8th keyframe is held out. The whole curve is shown, not its best point.

    Args:
        scene: Number of a simulated room, which is walked at 320x240; or a recording.
        rgb_only: Leave the depth out.
        pose_noise: Train on given poses, on disturbed ones (2 cm, 0.5 degrees), and on those with refinement.
        preset: Time against quality.
        seconds: Time budget of each training [s]; 0: the preset's own.
        max_gaussians: Hard cap on the number of Gaussians; 0: the preset's own.
        max_width: Wider pictures of a recording are scaled down to this [px].
        seed: Seed of every random choice.
        json_document: One JSON document instead of a table.
    """
    from m3_ros.cli.progress_line import ProgressLine
    from m3_ros.evaluation.train_benchmark import benchmark_training, without_depth

    frames = _frames(scene, max_width)
    with ProgressLine() as line:
        measured = benchmark_training(
            without_depth(frames) if rgb_only else frames,
            _settings(preset, seconds, max_gaussians, seed),
            pose_noise,
            lambda poses, p: line.update(poses, p.fraction, p.psnr_db, p.gaussians, p.eta_s),
        )
    if json_document:
        document = {"scene": scene, "preset": preset, "seed": seed, **machine(), **as_record(measured)}
        print(json.dumps(document, indent=1, allow_nan=False))
    else:
        print("\n".join([f"scene {scene}, preset {preset}, " + ", ".join(map(str, machine().values()))]))
        print(as_table(measured))
    return 0


def as_record(measured: "TrainBenchmark") -> dict[str, Any]:
    """Return what was measured as plain JSON values; null where there is none."""
    record = dataclasses.asdict(measured)
    record["won_back"], record["aligned_won_back"] = measured.won_back, measured.aligned_won_back
    cleaned: dict[str, Any] = plain(record)
    return cleaned


def as_table(measured: "TrainBenchmark") -> str:
    """Return what was measured as lines for a terminal."""
    kind = "RGB-D" if measured.depth else "RGB"
    lines = [
        f"{measured.keyframes} keyframes of {measured.width}x{measured.height}, {kind}, {measured.held_out} held out",
        f"{'poses':10}{'seconds':>9}{'steps':>8}{'held-out dB':>13}{'Gaussians':>11}",
    ]
    for run_ in measured.runs:
        lines += [f"{run_.poses:10}{p.seconds:9.1f}{p.step:8d}{p.psnr_db:13.2f}{p.gaussians:11d}" for p in run_.curve]
    for run_ in measured.runs:
        aligned = "" if math.isnan(run_.aligned_psnr_db) else f" ({run_.aligned_psnr_db:.2f} dB at aligned poses)"
        lines.append(
            f"{run_.poses}: {run_.psnr_db:.2f} dB{aligned} with {run_.gaussians} Gaussians after {run_.seconds:.0f} s, "
            f"started from {run_.initialisation}, ended by {run_.stopped_by}; "
            f"poses {100 * run_.pose_error_m:.2f} cm, {math.degrees(run_.pose_error_rad):.2f} degrees from those given"
        )
    lines += [f"warning: {text}" for text in dict.fromkeys(w for run_ in measured.runs for w in run_.warnings)]
    if not math.isnan(measured.won_back):
        lines.append(
            f"refinement wins back {measured.won_back:.0%} of the dB lost, "
            f"{measured.aligned_won_back:.0%} where held-out poses are aligned"
        )
    return "\n".join(lines)


def _frames(scene: str, max_width: int) -> "list[Frame]":
    from m3_ros.evaluation.train_benchmark import simulated_walk
    from m3_ros.training.pipeline import TrainingSettings, read_keyframes

    if scene.isdigit():
        return simulated_walk(int(scene))
    return read_keyframes(Path(scene), TrainingSettings(max_width=max_width))


def _settings(preset: str, seconds: float, max_gaussians: int, seed: int) -> "GeometrySettings":
    from m3_ros.training.geometry_settings import GeometrySettings

    settings = dataclasses.replace(GeometrySettings.preset(preset), seed=seed)
    if seconds > 0:
        settings = dataclasses.replace(settings, max_seconds=seconds)
    return dataclasses.replace(settings, max_gaussians=max_gaussians) if max_gaussians > 0 else settings
