"""One camera aligned to a field by what it sees: robust Gauss-Newton on the picture, with the rendered depth.

A small motion of the camera shifts a static scene by a known amount at each pixel, from the rendered depth. So the
image gradients tell how the picture would change, and six numbers explain most of its error (direct alignment, Lucas
and Kanade 1981; the average gradient of both pictures as in Benhimane and Malis 2004). That needs no further
rendering and converges in a few steps, where gradient descent needs hundreds.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from m3_ros.geometry.pose import Transform, inverse
from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.render import Rendering
from m3_ros.training.twists import Twist, exp, log
from m3_ros.training.views import View

Exposed = Callable[[Float[Tensor, "H W 3"]], Float[Tensor, "H W 3"]]
"""A rendering -> the same as the picture was exposed."""

_PRIOR = np.array([0.05, 0.05, 0.05, 0.04, 0.04, 0.04])
"""Corrections as large as this are unremarkable [m, rad]; where the picture tells less, none is made."""
_INDEPENDENT_SHARE = 0.02
"""Share of the pixels that count as independent: the errors of neighbours are alike."""
_SOLID = 0.9
"""Opacity from which a pixel has a depth to rely on."""
_LEAST_PX = 8
"""Pictures smaller than this have no gradients to speak of [px]."""
_LARGEST_STEP = 1.0
"""Longest step, in units of the prior."""
_STEPS = 12
"""Steps that align a camera; most need six."""


def alignment_step(
    drawn: Rendering, image: Float[Tensor, "H W 3"], view: View, so_far: Twist | None = None
) -> Twist | None:
    """Return the motion of the camera, in its own axes, that brings a rendering nearer to its picture.

    T_camera_map becomes exp(motion) @ T_camera_map.

    Args:
        drawn: what the camera sees of the field, for depth and opacity.
        image: its colours, as the picture was exposed.
        view: the camera and its picture.
        so_far: correction already made, which the prior holds against the new one.

    Returns None where the picture says nothing about the motion.
    """
    if min(view.width, view.height) < _LEAST_PX:
        return None
    with torch.no_grad():
        shown, truth, depth, solid = _pooled(drawn, image, view)
        error = (shown - truth)[:, 1:-1, 1:-1].flatten(1)
        rows = _motion_rows(shown, truth, depth, view)
        size = error.abs().amax(0)
        scale = size[solid].median() if bool(solid.any()) else size.new_tensor(1.0)
        weight = solid / size.clamp(min=1e-3).maximum(1.5 * scale)
        weighted = rows * weight
        normal = torch.einsum("icp,jcp->ij", weighted, rows).double().cpu().numpy()
        pull = torch.einsum("icp,cp->i", weighted, error).double().cpu().numpy()
        noise = float(scale) / 1.5
    return _solved(normal, pull, noise, np.zeros(6) if so_far is None else so_far)


def _solved(normal: NDArray[np.float64], pull: NDArray[np.float64], noise: float, so_far: Twist) -> Twist | None:
    """Solve the normal equations under the prior on the whole correction."""
    prior = noise / _INDEPENDENT_SHARE / _PRIOR**2
    if not (np.isfinite(normal).all() and np.isfinite(pull).all() and noise > 0):
        return None
    step = np.linalg.solve(normal + np.diag(prior), pull - prior * so_far)
    return np.asarray(step / max(1.0, float(np.abs(step / _PRIOR).max()) / _LARGEST_STEP))


def _pooled(drawn: Rendering, image: Tensor, view: View) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return both pictures [3, h, w] at half the resolution, and depth and mask of their inner pixels [p]."""
    shown = avg_pool2d(image.permute(2, 0, 1), 2)
    truth = avg_pool2d(view.truth().permute(2, 0, 1), 2)
    h, w = shown.shape[1:]
    depth, alpha = (x[0, 0 : 2 * h : 2, 0 : 2 * w : 2][1:-1, 1:-1].flatten() for x in (drawn.depth, drawn.alpha))
    return shown, truth, depth, (alpha > _SOLID) & (depth > 0.05)


def _motion_rows(shown: Tensor, truth: Tensor, depth: Tensor, view: View) -> Float[Tensor, "6 3 p"]:
    """Return by how much each motion of the camera lowers each pixel and channel."""
    mean = (shown + truth) / 2
    fx, fy, cx, cy = (float(view.K[0, i, j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    gx = (mean[:, 1:-1, 2:] - mean[:, 1:-1, :-2]).flatten(1) * (fx / 4)
    gy = (mean[:, 2:, 1:-1] - mean[:, :-2, 1:-1]).flatten(1) * (fy / 4)
    h, w = shown.shape[1:]
    x = (2 * torch.arange(1, w - 1, device=depth.device) + 1 - cx) / fx
    y = (2 * torch.arange(1, h - 1, device=depth.device) + 1 - cy) / fy
    x, y = x.repeat(h - 2), y.repeat_interleave(w - 2)
    nearness = 1 / depth.clamp(min=0.05)
    along = gx * x + gy * y
    return torch.stack(
        [gx * nearness, gy * nearness, -along * nearness, -gy - along * y, gx + along * x, gy * x - gx * y]
    )


@torch.no_grad()
def aligned(gaussians: Gaussians, view: View, T_map_camera: Transform, exposed: Exposed) -> View:
    """Return a view at the pose at which a frozen field explains its pixels best, starting from a near one."""
    T, best, least = T_map_camera, view, math.inf
    for _ in range(_STEPS + 1):
        posed = view.at(T)
        drawn = posed.draw(gaussians)
        image = exposed(drawn.features[0])
        error = float((image - view.truth()).square().mean())
        if error < least:
            best, least = posed, error
        step = alignment_step(drawn, image, posed, -log(inverse(T_map_camera) @ T))
        if step is None:
            break
        T = T @ exp(-step)
    return best
