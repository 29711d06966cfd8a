"""The offline job: a recording in, a memory on disk out. Stages: read, features, geometry, memory, save."""

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from m3_ros.errors import Cancelled, TrainingError
from m3_ros.features import load_encoder
from m3_ros.memory import Provenance, QueryPrecision, save_memory
from m3_ros.recording import Frame, KeyframeSettings, PointCloud, describe, read, read_points, select_keyframes
from m3_ros.training.geometry_result import PoseReport, StoppedBy
from m3_ros.training.geometry_stage import GeometryResult, GeometrySettings, train_geometry
from m3_ros.training.memory_stage import MemorySettings, build_memory
from m3_ros.training.progress import CancelCheck, Progress, ProgressCallback, ignore_progress, never_cancelled

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSettings:
    """What a training does; presets fill in the geometry stage."""

    preset: str = "balanced"
    """Time against quality of the geometry stage: seconds, balanced or best."""
    encoders: tuple[str, ...] = ("embedded",)
    """Encoders of the registry whose features the memory holds."""
    max_width: int = 640
    """Wider pictures are scaled down to this [px]."""
    keyframes: KeyframeSettings = field(default_factory=KeyframeSettings)
    """Which frames are trained on."""
    memory: MemorySettings = field(default_factory=MemorySettings)
    """Settings of the memory stage."""
    query_precision: QueryPrecision = "float16"
    """How principal queries are saved: int8 takes half the bytes. Those that follow from kept sums take none."""
    max_seconds: float = 0.0
    """Time budget of the geometry stage [s]; 0: the preset's own."""
    max_gaussians: int = 0
    """Hard cap on the number of Gaussians; 0: the preset's own."""
    held_out_every: int = 8
    """Every so-manieth keyframe is kept from training to measure PSNR; 0: none."""
    refine_poses: str = GeometrySettings.refine_poses
    """Correct the pose of each picture first: on, off, or auto, where the pictures disagree with their poses."""
    resume: bool = False
    """Go on from the checkpoint that a stopped training left beside the memory; without one, begin anew."""
    cache_dir: Path | None = None
    """Where features are cached between runs; None: no cache."""
    ray_address: str | None = None
    """Ray cluster to encode on, such as "10.0.0.5:6379"; None: this process."""
    seed: int = 0
    """Seed of every random choice."""


@dataclass(frozen=True)
class TrainingReport:
    """What a training did."""

    memory_path: Path
    """Folder of the saved memory."""
    keyframes: int
    """Frames trained on or held out."""
    psnr_db: float
    """Mean PSNR over the held-out views [dB]; nan without any."""
    gaussians: int
    """Gaussians in the memory."""
    seconds: float
    """Time taken by the whole job [s]."""
    geometry_seconds: float
    """Time taken by the geometry stage [s]."""
    stopped_by: StoppedBy
    """What ended the geometry stage."""
    pose_refinement: PoseReport | None
    """What was done to the poses; None: nothing."""
    initialisation: str
    """Where the first Gaussians came from, in words."""
    warnings: tuple[str, ...]
    """What was odd about the recording, in words."""


def train(
    recording: Path,
    memory_path: Path,
    settings: TrainingSettings | None = None,
    progress: ProgressCallback = ignore_progress,
    cancelled: CancelCheck = never_cancelled,
) -> TrainingReport:
    """Build the memory of a recording and save it.

    Raises:
        RecordingError: the recording cannot be used.
        TrainingError: it can be read but not trained on, or the checkpoint to resume from belongs to another training.
        Cancelled: `cancelled` said so; nothing was written but the checkpoint.
    """
    settings = settings or TrainingSettings()
    start = time.monotonic()
    geometry_settings = _geometry_settings(settings)
    frames = describe(recording).frames
    encoders = [load_encoder(name) for name in settings.encoders]
    keyframes = read_keyframes(recording, settings, progress, cancelled, expected=frames)
    points, checkpoint = _points(recording, keyframes), _checkpoint(memory_path, settings)
    geometry = train_geometry(keyframes, geometry_settings, progress, cancelled, points, checkpoint)
    keyframes = [replace(f, T_map_camera=T) for f, T in zip(keyframes, geometry.T_map_camera, strict=True)]
    memory = build_memory(
        keyframes,
        geometry.gaussians,
        encoders,
        settings.memory,
        progress,
        cancelled,
        held_out=geometry.held_out,
        provenance=_provenance(recording, settings, geometry),
        cache_dir=settings.cache_dir,
        ray_address=settings.ray_address,
    )
    progress(Progress("save", 0.0))
    save_memory(memory, memory_path, settings.query_precision)
    progress(Progress("save", 1.0))
    report = TrainingReport(
        memory_path,
        len(keyframes),
        geometry.psnr_db,
        len(geometry.gaussians),
        time.monotonic() - start,
        geometry.seconds,
        geometry.stopped_by,
        geometry.pose_refinement,
        geometry.initialisation,
        geometry.warnings,
    )
    log.info(
        "memory of %d keyframes, %d Gaussians, held-out PSNR %.2f dB",
        report.keyframes,
        report.gaussians,
        report.psnr_db,
    )
    return report


def read_keyframes(
    recording: Path,
    settings: TrainingSettings,
    progress: ProgressCallback = ignore_progress,
    cancelled: CancelCheck = never_cancelled,
    expected: int = 0,
) -> list[Frame]:
    """Read a recording and keep the frames worth training on, scaled down where they are wide.

    Args:
        recording: bag or posed sequence.
        settings: which frames to keep, and how wide.
        progress: told of the stage "read".
        cancelled: asked at every frame.
        expected: frames in the recording, for the progress; 0: unknown.

    Raises:
        TrainingError: fewer than two keyframes are left.
    """

    def watched(frames: Iterator[Frame]) -> Iterator[Frame]:
        for i, frame in enumerate(frames):
            if cancelled():
                raise Cancelled("training was cancelled while the recording was read; nothing was written")
            if i % 10 == 0:
                progress(Progress("read", min(1.0, i / expected) if expected else 0.0))
            yield frame

    bounded = replace(settings.keyframes, max_width=settings.max_width)
    keyframes = select_keyframes(watched(read(recording)), bounded)
    if len(keyframes) < 2:
        raise TrainingError(
            f"{recording} gives {len(keyframes)} keyframe(s), training needs at least 2 from different places: "
            "record a walk, or lower keyframes.min_translation_m"
        )
    progress(Progress("read", 1.0))
    return keyframes


def _geometry_settings(settings: TrainingSettings) -> GeometrySettings:
    geometry = GeometrySettings.preset(settings.preset)
    geometry = replace(geometry, held_out_every=settings.held_out_every, seed=settings.seed)
    match settings.refine_poses:
        case "auto" | "on" | "off" as choice:
            geometry = replace(geometry, refine_poses=choice)
        case other:
            raise TrainingError(f"refine_poses must be auto, on or off; got {other!r}")
    if settings.max_seconds > 0:
        geometry = replace(geometry, max_seconds=settings.max_seconds)
    if settings.max_gaussians > 0:
        geometry = replace(geometry, max_gaussians=settings.max_gaussians)
    return geometry


def _points(recording: Path, keyframes: list[Frame]) -> PointCloud | None:
    """Read the recording's point cloud where the pictures have no depth."""
    return None if any(frame.depth is not None for frame in keyframes) else read_points(recording)


def _checkpoint(memory_path: Path, settings: TrainingSettings) -> Path:
    """Return where the checkpoint lies: hidden beside the memory. An old one goes, unless it is to be resumed."""
    path = memory_path.parent / f".{memory_path.name}.checkpoint"
    if not settings.resume:
        path.unlink(missing_ok=True)
    memory_path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _provenance(recording: Path, settings: TrainingSettings, geometry: GeometryResult) -> Provenance:
    here = ("resume", "cache_dir", "ray_address")  # how it was run, which makes no difference to the memory
    chosen = {name: value for name, value in asdict(settings).items() if name not in here}
    return Provenance.now(str(recording), geometry.psnr_db, steps=geometry.steps, **chosen)
