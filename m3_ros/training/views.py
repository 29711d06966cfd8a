"""Frames as the optimiser sees them: tensors on the training device, and what each camera sees of a field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.geometry.pose import Transform, inverse
from m3_ros.recording.frame import Frame
from m3_ros.recording.keyframes import NEIGHBOURS, sharpness
from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.render import Rendering, render
from m3_ros.splat.spherical_harmonics import colours
from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.initialisation import reliable_depth

_SHARP = 0.7
"""A picture with this share of its neighbours' sharpness counts fully."""
_LEAST_WEIGHT = 0.3
"""Weight of the blurriest picture: it may be the only one of its place."""


AllPoses = Float[NDArray[np.float64], "F 4 4"]
"""T_map_camera of every frame."""


@dataclass(frozen=True)
class View:
    """One posed picture."""

    planes: UInt8[Tensor, "3 H W"]
    """Colours."""
    depth: Float[Tensor, "H W"] | None
    """Depth where it can be relied on [m], else 0; None without depth."""
    viewmat: Float[Tensor, "1 4 4"]
    """T_camera_map."""
    K: Float[Tensor, "1 3 3"]
    """Intrinsics."""
    weight: float = 1.0
    """Say of this picture in the loss; less than 1 where it is blurred."""

    @property
    def width(self) -> int:
        """Image width [px]."""
        return int(self.planes.shape[2])

    @property
    def height(self) -> int:
        """Image height [px]."""
        return int(self.planes.shape[1])

    def halved(self) -> "View":
        """Return the same view at half the resolution; an odd last row or column is dropped."""
        planes = torch.nn.functional.avg_pool2d(self.planes.float(), 2).round().to(torch.uint8)
        depth = None if self.depth is None else self.depth[::2, ::2][: planes.shape[1], : planes.shape[2]].contiguous()
        K = self.K.clone()
        K[:, :2] /= 2
        return replace(self, planes=planes, depth=depth, K=K)

    def at(self, T_map_camera: Transform) -> "View":
        """Return the same picture as taken from another pose."""
        viewmat = torch.from_numpy(inverse(T_map_camera))[None].to(self.viewmat)
        return replace(self, viewmat=viewmat)

    def with_depth(self, depth: Float[Tensor, "h w"]) -> "View":
        """Return the same view with depth of a smaller size, by nearest pixel."""
        size = (self.height, self.width)
        large = torch.nn.functional.interpolate(depth[None, None], size, mode="nearest-exact")[0, 0]
        return replace(self, depth=large.to(self.viewmat))

    def truth(self) -> Float[Tensor, "H W 3"]:
        """Return the colours in [0, 1], as a view on planes."""
        return (self.planes.float() / 255).permute(1, 2, 0)

    def draw(self, gaussians: Gaussians) -> Rendering:
        """Render the colours of a field."""
        rgb = colours(gaussians, self.viewmat)
        features = rgb[0]
        g = gaussians
        return render(g.means, g.quats, g.scales, g.opacities, features, self.viewmat, self.K, self.width, self.height)


def make_view(frame: Frame, edge_px: int, device: torch.device, weight: float = 1.0) -> View:
    """Turn a frame into tensors; depth near edges is dropped."""
    depth = None
    if frame.depth is not None and (frame.depth > 0).any():
        depth = torch.from_numpy(np.where(reliable_depth(frame.depth, edge_px), frame.depth, np.float32(0))).to(device)
    planes = torch.from_numpy(np.ascontiguousarray(frame.rgb.transpose(2, 0, 1))).to(device)
    viewmat = torch.from_numpy(inverse(frame.T_map_camera))[None]
    return View(
        planes,
        depth,
        viewmat.to(device, torch.float32),
        torch.from_numpy(frame.camera.K)[None].to(device, torch.float32),
        weight,
    )


def sharpness_weights(frames: Sequence[Frame]) -> list[float]:
    """Return the say of each picture in the loss: less the blurrier it is than its neighbours, but never none."""
    values = np.array([sharpness(frame.rgb) for frame in frames])
    weights = []
    for i, value in enumerate(values):
        around = float(np.median(values[max(0, i - NEIGHBOURS) : i + NEIGHBOURS + 1]))
        weights.append(float(np.clip(value / max(_SHARP * around, 1e-6), _LEAST_WEIGHT, 1)) if around > 0 else 1.0)
    return weights


@dataclass(frozen=True)
class Split:
    """All views of a training."""

    training: tuple[int, ...]
    """Numbers of the frames that are trained on, ascending."""
    views: tuple[View, ...]
    """Their views."""
    halved: tuple[View, ...]
    """The same at half the resolution."""
    held_out: tuple[int, ...]
    """Numbers of the frames that are kept from training."""
    held_out_views: tuple[View, ...]
    """Their views."""
    T_map_camera: AllPoses
    """Poses of all frames."""

    def with_depths(self, depths: Mapping[int, Float[Tensor, "h w"]]) -> "Split":
        """Return the same views, some training views (by number) with depth that was estimated."""
        views = tuple(view.with_depth(depths[i]) if i in depths else view for i, view in enumerate(self.views))
        if self.halved is self.views:
            return replace(self, views=views, halved=views)
        halved = tuple(views[i].halved() if i in depths else old for i, old in enumerate(self.halved))
        return replace(self, views=views, halved=halved)


def make_split(frames: Sequence[Frame], settings: GeometrySettings, device: torch.device) -> Split:
    """Turn frames into the views to train on and those to hold out."""
    training, held_out = split_frames(len(frames), settings.held_out_every)
    chosen = [frames[i] for i in training]
    views = [
        make_view(frame, settings.depth_edge_px, device, weight)
        for frame, weight in zip(chosen, sharpness_weights(chosen), strict=True)
    ]
    kept = [make_view(frames[i], settings.depth_edge_px, device) for i in held_out]
    poses = np.stack([frame.T_map_camera for frame in frames])
    sharp = tuple(views)
    halved = tuple(view.halved() for view in sharp) if settings.coarse_share > 0 else sharp
    return Split(tuple(training), sharp, halved, tuple(held_out), tuple(kept), poses)


def split_frames(count: int, held_out_every: int) -> tuple[list[int], list[int]]:
    """Return the indices to train on and those to hold out: every so-manieth from the first on, if enough are left."""
    held_out = list(range(0, count, held_out_every)) if held_out_every and count > held_out_every else []
    return [i for i in range(count) if i not in set(held_out)], held_out
