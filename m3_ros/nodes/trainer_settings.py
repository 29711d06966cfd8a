"""Parameters of the trainer node, and how they and a goal become the settings of a training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from m3_ros.nodes.parameters import Live

if TYPE_CHECKING:
    from m3_ros.training.pipeline import TrainingSettings


@dataclass(frozen=True)
class TrainerSettings:
    """Parameters of the trainer node."""

    preset: Annotated[str, Live()] = "balanced"
    """Time against quality where a goal names none: seconds, balanced or best."""
    encoders: Annotated[tuple[str, ...], Live()] = ("embedded",)
    """Encoders of the registry where a goal names none."""
    max_width_px: Annotated[int, "64..4096", Live()] = 640
    """Wider pictures are scaled down to this [px]."""
    max_seconds: Annotated[float, "0..86400", Live()] = 0.0
    """Time budget of the geometry stage [s]; 0: the preset's own."""
    max_gaussians: Annotated[int, "0..", Live()] = 0
    """Hard cap on the number of Gaussians; 0: the preset's own."""
    refine_poses: Annotated[str, Live()] = "auto"
    """Correct the pose of each picture first: on, off, or auto, where the pictures disagree with their poses."""
    cache_dir: Annotated[str, Live()] = ""
    """Folder that keeps features between trainings; empty: no cache."""
    seed: Annotated[int, "0..", Live()] = 0
    """Seed of every random choice."""


def training_settings(
    settings: TrainerSettings, preset: str, encoders: Sequence[str], resume: bool = False
) -> "TrainingSettings":
    """Combine the parameters of the node with what a goal asks for; the goal wins."""
    from m3_ros.training.pipeline import TrainingSettings

    return TrainingSettings(
        preset=preset or settings.preset,
        encoders=tuple(encoders) or settings.encoders,
        max_width=settings.max_width_px,
        max_seconds=settings.max_seconds,
        max_gaussians=settings.max_gaussians,
        cache_dir=Path(settings.cache_dir) if settings.cache_dir else None,
        seed=settings.seed,
        refine_poses=settings.refine_poses,
        resume=resume,
    )
