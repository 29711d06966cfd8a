"""Frames as the optimiser sees them: tensors on the training device, and what each camera sees of a field."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from m3_ros.geometry.pose import inverse
from m3_ros.recording.frame import Frame
from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.render import Rendering, render
from m3_ros.splat.spherical_harmonics import colours
from m3_ros.training.initialisation import reliable_depth


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
        return View(planes, depth, self.viewmat, K)

    def truth(self) -> Float[Tensor, "H W 3"]:
        """Return the colours in [0, 1], as a view on planes."""
        return (self.planes.float() / 255).permute(1, 2, 0)

    def draw(self, gaussians: Gaussians) -> Rendering:
        """Render the colours of a field."""
        rgb = colours(gaussians, self.viewmat)
        features = rgb[0]
        g = gaussians
        return render(g.means, g.quats, g.scales, g.opacities, features, self.viewmat, self.K, self.width, self.height)


def make_view(frame: Frame, edge_px: int, device: torch.device) -> View:
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
    )


def split_frames(count: int, held_out_every: int) -> tuple[list[int], list[int]]:
    """Return the indices to train on and those to hold out: every so-manieth from the first on, if enough are left."""
    held_out = list(range(0, count, held_out_every)) if held_out_every and count > held_out_every else []
    return [i for i in range(count) if i not in set(held_out)], held_out
