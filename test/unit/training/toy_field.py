"""Gaussians on the walls of the toy room, from its exact depth: what a perfect geometry stage would give."""

import numpy as np
import torch

from m3_ros.geometry.pose import apply
from m3_ros.splat.gaussians import Gaussians


def toy_gaussians(frames, step: int = 4, scale: float = 0.05) -> Gaussians:
    points, colours = [], []
    for frame in frames:
        points.append(apply(frame.T_map_camera, frame.camera.unproject(frame.depth)[::step, ::step].reshape(-1, 3)))
        colours.append(frame.rgb[::step, ::step].reshape(-1, 3) / 255)
    means, rgb = (torch.from_numpy(np.concatenate(x)).float() for x in (points, colours))
    n = len(means)
    return Gaussians(
        means, torch.tensor([1.0, 0, 0, 0]).repeat(n, 1), torch.full((n, 3), scale), torch.full((n,), 0.9),
        ((rgb - 0.5) / 0.2820948)[:, None], torch.zeros(n, 0, 3),
    )  # fmt: skip
