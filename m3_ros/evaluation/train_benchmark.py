"""The geometry stage measured: held-out quality against time, and what pose refinement is worth."""

import logging
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from m3_ros.errors import TrainingError
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import transform
from m3_ros.recording import Frame
from m3_ros.recording.keyframes import motion_between
from m3_ros.training.geometry_result import CurvePoint, GeometryResult, PoseReport
from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.geometry_stage import train_geometry
from m3_ros.training.pipeline import TrainingSettings, read_keyframes
from m3_ros.training.progress import Progress, ProgressCallback, ignore_progress

NOISE_M = 0.02
"""How far --pose-noise moves each keyframe [m]."""
NOISE_RAD = math.radians(0.5)
"""How far it turns each keyframe [rad]."""
CURVE_POINTS = 12
"""Measurements of the held-out views over the time budget."""

Poses = Literal["given", "disturbed", "refined"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainRun:
    """One training and how good it became when."""

    poses: Poses
    """As given; disturbed; or disturbed and refined."""
    initialisation: str
    """Where the first Gaussians came from, in words."""
    curve: tuple[CurvePoint, ...]
    """Held-out PSNR over the time spent training, at the poses that the training had."""
    psnr_db: float
    """Held-out PSNR at the end [dB], at the poses that the training had."""
    aligned_psnr_db: float
    """The same after each held-out pose was aligned to the finished field by its own pixels [dB]; nan: not done."""
    gaussians: int
    """Gaussians at the end."""
    steps: int
    """Optimiser steps."""
    skipped_steps: int
    """Steps left out because a gradient was not finite."""
    seconds: float
    """Time spent training [s], measuring left out."""
    stopped_by: str
    """What ended it."""
    pose_error_m: float
    """Mean distance of the final poses to those given [m]."""
    pose_error_rad: float
    """Mean angle of the final poses to those given [rad]."""
    pose_refinement: PoseReport | None
    """What the geometry stage says of its refinement; None where it made none."""
    warnings: tuple[str, ...]
    """What the geometry stage found odd about the frames."""


@dataclass(frozen=True)
class TrainBenchmark:
    """All runs on one scene."""

    keyframes: int
    held_out: int
    width: int
    """Of the pictures [px]."""
    height: int
    depth: bool
    """Whether training had depth."""
    runs: tuple[TrainRun, ...]

    @property
    def won_back(self) -> float:
        """Share of the dB lost to disturbed poses that refinement wins back; nan without --pose-noise."""
        return _won_back({run.poses: run.psnr_db for run in self.runs})

    @property
    def aligned_won_back(self) -> float:
        """The same where every held-out pose is aligned first: the loss in the field alone."""
        return _won_back({run.poses: run.aligned_psnr_db for run in self.runs})


def benchmark_training(
    frames: Sequence[Frame],
    settings: GeometrySettings,
    pose_noise: bool = False,
    progress: Callable[[Poses, Progress], None] | None = None,
) -> TrainBenchmark:
    """Train once as the settings say; with pose noise three times: clean, disturbed, and disturbed but refined.

    Raises:
        TrainingError: there are too few frames to hold any out.
    """
    if settings.held_out_every == 0 or len(frames) <= settings.held_out_every:
        raise TrainingError(
            f"the benchmark holds out every {settings.held_out_every}th keyframe and needs more than that; "
            f"got {len(frames)}: record a longer walk"
        )
    every = settings.max_seconds / CURVE_POINTS
    settings = replace(settings, curve_every_s=every if math.isfinite(every) else 5.0)
    plan: list[tuple[Poses, Sequence[Frame], GeometrySettings]] = [("given", frames, settings)]
    if pose_noise:
        noisy = disturbed(frames, settings.seed)
        off = replace(settings, refine_poses="off", align_held_out=True)
        plan = [("given", frames, off), ("disturbed", noisy, off), ("refined", noisy, replace(off, refine_poses="on"))]
    runs = tuple(_run(poses, frames, chosen, how, _reporter(poses, progress)) for poses, chosen, how in plan)
    camera, depth = frames[0].camera, any(frame.depth is not None for frame in frames)
    held_out = len(range(0, len(frames), settings.held_out_every))
    return TrainBenchmark(len(frames), held_out, camera.width, camera.height, depth, runs)


def simulated_walk(seed: int, keyframes: int = 300, width: int = 320, height: int = 240) -> list[Frame]:
    """Walk through the simulated room `seed`, a furnished living room, and return at most so many keyframes.

    Raises:
        SimulationError: the room cannot be built or drawn here.
    """
    from m3_ros.sim import World, WorldSettings, default_cache_dir, patrol, write_sequence

    world = World.generate(WorldSettings(seed, complete=True), default_cache_dir())
    states = patrol(world)
    picked = states[:: max(1, len(states) // keyframes)]
    camera = Camera.from_fov(width, height, math.radians(75))
    with tempfile.TemporaryDirectory(prefix="m3_bench_") as folder:
        path = write_sequence(Path(folder) / f"room_{seed}", world, camera, picked)
        return read_keyframes(path, TrainingSettings(max_width=width))


def without_depth(frames: Sequence[Frame]) -> list[Frame]:
    """Leave the depth out."""
    return [replace(frame, depth=None) for frame in frames]


def disturbed(frames: Sequence[Frame], seed: int) -> list[Frame]:
    """Move each keyframe by NOISE_M and turn it by NOISE_RAD, each in its own random direction."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    changed = []
    for frame in frames:
        direction, axis = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
        turn = Rotation.from_rotvec(NOISE_RAD * axis).as_matrix()
        change = transform(turn, NOISE_M * direction)
        changed.append(replace(frame, T_map_camera=frame.T_map_camera @ change))
    return changed


def _run(
    poses: Poses, given: Sequence[Frame], frames: Sequence[Frame], settings: GeometrySettings, report: ProgressCallback
) -> TrainRun:
    result = train_geometry(frames, settings, report)
    _log.info("%s poses: %.2f dB held out", poses, result.psnr_db)
    distance, angle = _pose_error(given, result)
    curve = tuple({point.step: point for point in result.curve}.values())  # the end may be measured twice
    return TrainRun(
        poses, result.initialisation, curve, result.psnr_db, result.aligned_psnr_db, len(result.gaussians),
        result.steps, result.skipped_steps, curve[-1].seconds, result.stopped_by, distance, angle,
        result.pose_refinement, result.warnings,
    )  # fmt: skip


def _pose_error(given: Sequence[Frame], result: GeometryResult) -> tuple[float, float]:
    pairs = zip(given, result.T_map_camera, strict=True)
    errors = np.array([motion_between(frame.T_map_camera, T_map_camera) for frame, T_map_camera in pairs])
    return float(errors[:, 0].mean()), float(errors[:, 1].mean())


def _reporter(poses: Poses, progress: Callable[[Poses, Progress], None] | None) -> ProgressCallback:
    return ignore_progress if progress is None else lambda report: progress(poses, report)


def _won_back(psnr_db: dict[Poses, float]) -> float:
    if len(psnr_db) < 3:
        return math.nan
    lost = psnr_db["given"] - psnr_db["disturbed"]
    return (psnr_db["refined"] - psnr_db["disturbed"]) / lost if lost > 0 else math.nan
