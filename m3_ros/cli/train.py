"""`m3 train RECORDING`: build a memory from a recording."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from m3_ros.cli.progress_line import ProgressLine

if TYPE_CHECKING:
    from m3_ros.training.pipeline import TrainingReport


def run(
    recording: Annotated[Path, tyro.conf.Positional],
    out: Path | None = None,
    preset: Literal["seconds", "balanced", "best"] = "balanced",
    encoders: tuple[str, ...] = ("embedded",),
    max_width: int = 640,
    max_seconds: float = 0.0,
    seed: int = 0,
    cache_dir: Path | None = None,
    refine_poses: Literal["auto", "on", "off"] = "auto",
    resume: bool = False,
    ray: str | None = None,
    keep_sums: bool = True,
    query_precision: Literal["float16", "int8"] = "float16",
    code_length: int = 0,
) -> int:
    """Build a memory from a recording.

    Args:
        recording: Bag (folder, .mcap or .db3) or posed sequence (folder with transforms.json).
        out: Folder of the memory; default: next to the recording with the suffix .m3.
        preset: Time against quality of the geometry.
        encoders: Whose features the memory holds.
        max_width: Wider pictures are scaled down to this [px].
        max_seconds: Time budget of the geometry stage [s]; 0: the preset's own.
        seed: Seed of every random choice.
        cache_dir: Keep features here between runs.
        refine_poses: Correct the pose of each picture first; auto: where the pictures disagree with their poses.
        resume: Go on from the checkpoint that a stopped training left.
        ray: Ray cluster to encode on, HOST:PORT.
        keep_sums: Keep what `m3 add` and `m3 forget` need; without, the memory is smaller.
        query_precision: How what each Gaussian remembers is saved; int8 takes half the bytes. Where sums are kept it
            follows from them and takes none.
        code_length: Components of the linear head that is kept for `m3 ask --head linear`; 0: none.
    """
    from m3_ros.training.memory_stage import MemorySettings
    from m3_ros.training.pipeline import TrainingSettings, train

    memory_path = out or recording.with_suffix(".m3")
    settings = TrainingSettings(
        preset=preset,
        encoders=encoders,
        max_width=max_width,
        max_seconds=max_seconds,
        seed=seed,
        cache_dir=cache_dir,
        refine_poses=refine_poses,
        resume=resume,
        ray_address=ray,
        query_precision=query_precision,
        memory=MemorySettings(code_length=code_length, keep_sums=keep_sums),
    )
    with ProgressLine() as line:
        report = train(recording, memory_path, settings, line.show)
    _say(report)
    return 0


def _say(report: "TrainingReport") -> None:
    print(
        f"{report.memory_path}: {report.gaussians} Gaussians from {report.keyframes} keyframes, "
        f"held-out PSNR {report.psnr_db:.2f} dB, {report.seconds:.0f} s ({report.geometry_seconds:.0f} s geometry), "
        f"started from {report.initialisation}"
    )
    if report.pose_refinement is not None:
        moved = report.pose_refinement
        print(
            f"the poses disagreed with the pictures and were corrected by {1000 * moved.mean_m:.0f} mm and "
            f"{math.degrees(moved.mean_rad):.2f} degrees on average"
        )
    for warning in report.warnings:
        print(f"warning: {warning}")
    print(f'ask it: m3 ask {report.memory_path} "find the chair"')
