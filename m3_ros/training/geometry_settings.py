"""Settings of the geometry stage, and the three presets."""

from dataclasses import dataclass
from typing import Annotated, Literal

from m3_ros.errors import TrainingError
from m3_ros.training.device import DeviceName

PRESETS = ("seconds", "balanced", "best")
"""Time against quality."""


@dataclass(frozen=True)
class GeometrySettings:
    """How a field of Gaussians is learned from posed pictures."""

    steps: Annotated[int, ">= 1"] = 5000
    """Optimiser steps, one view each."""
    max_seconds: Annotated[float, "> 0"] = 75.0
    """Time budget [s]; the schedule shrinks to fit, whichever of steps and seconds ends first. inf: no limit.

    Correcting poses, where they need it, comes on top.
    """
    max_gaussians: Annotated[int, ">= 1"] = 60_000
    """Hard cap on the number of Gaussians."""
    initial_share: Annotated[float, "0..1"] = 0.6
    """Share of the cap that initialisation may use; the rest is added where the error is highest."""
    coarse_share: Annotated[float, "0..1"] = 0.2
    """First part of the schedule, at half the resolution: its steps take a third of the time."""
    held_out_every: Annotated[int, ">= 0"] = 8
    """Every so-manieth keyframe is kept from training to measure PSNR; 0: none."""
    sh_degree: Annotated[int, "0..3"] = 0
    """Degree of the spherical harmonics; 0 is a colour that does not depend on the view."""
    dssim_weight: Annotated[float, "0..1"] = 0.2
    """Share of D-SSIM in the photometric loss; the rest is L1."""
    depth_weight: Annotated[float, ">= 0"] = 0.05
    """Weight of the robust depth loss, where frames have depth."""
    depth_softness_m: Annotated[float, "> 0"] = 0.05
    """Depth error beyond which a pixel counts less and less [m]."""
    depth_edge_px: Annotated[int, ">= 0"] = 2
    """Depth this near to a depth edge is not used [px]: registration is never exact there."""
    opacity_weight: Annotated[float, ">= 0"] = 1e-3
    """Weight of the mean opacity: unneeded Gaussians fade and are replaced."""
    scale_weight: Annotated[float, ">= 0"] = 1e-3
    """Weight of the mean scale [1/m]: unneeded Gaussians shrink."""
    exposure: Literal["auto", "on", "off"] = "auto"
    """Learn a gain and an offset per training picture and channel; auto: where the pictures' brightness disagrees."""
    refine_poses: Literal["auto", "on", "off"] = "auto"
    """Correct the pose of each training picture; auto: where the pictures disagree with their poses."""
    align_held_out: bool = False
    """Also measure held-out views at poses aligned by their own pixels; done anyway where poses were refined."""
    target_psnr_db: Annotated[float, ">= 0"] = 0.0
    """Training ends early where training views reach this PSNR [dB]; 0: never."""
    least_gain_db: Annotated[float, ">= 0"] = 0.0
    """Training ends early where a tenth of the schedule gains less than this on training views [dB]; 0: never."""
    curve_every_s: Annotated[float, ">= 0"] = 0.0
    """Seconds of training between measurements of the held-out PSNR; 0: only at the end."""
    checkpoint_every_s: Annotated[float, "> 0"] = 30.0
    """Seconds between checkpoints, where a checkpoint was asked for."""
    means_rate: Annotated[float, "> 0"] = 3e-3
    """Learning rate of the centres at the start [m]; it falls a hundredfold."""
    scales_rate: Annotated[float, "> 0"] = 6e-2
    """Learning rate of the logarithm of the scales."""
    quats_rate: Annotated[float, "> 0"] = 1e-2
    """Learning rate of the quaternions."""
    opacities_rate: Annotated[float, "> 0"] = 3e-2
    """Learning rate of the logit of the opacities."""
    colours_rate: Annotated[float, "> 0"] = 2.5e-2
    """Learning rate of sh0; that of shN is a twentieth."""
    seed: int = 0
    """Seed of initialisation, view order and densification."""
    device: DeviceName = "auto"
    """Where to train; auto: CUDA where it is there."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.max_gaussians < 1 or not self.max_seconds > 0 or self.held_out_every < 0:
            raise TrainingError(
                "the geometry stage needs steps, max_gaussians, max_seconds above 0 and held_out_every of at least 0; "
                f"got {self.steps}, {self.max_gaussians}, {self.max_seconds} and {self.held_out_every}"
            )
        if self.held_out_every == 1:
            raise TrainingError("held_out_every=1 leaves no frame to train on: use 0 (none) or at least 2")

    @classmethod
    def preset(cls, name: str) -> "GeometrySettings":
        """Return the settings of a preset: seconds, balanced or best.

        Raises:
            TrainingError: there is no such preset.
        """
        if name == "seconds":
            return cls(steps=2000, max_seconds=20, max_gaussians=25_000)
        if name == "balanced":
            return cls()
        if name == "best":
            return cls(steps=15_000, max_seconds=300, max_gaussians=120_000, sh_degree=1)
        raise TrainingError(f"no preset {name!r}: choose one of {', '.join(PRESETS)}")
