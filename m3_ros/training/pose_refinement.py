"""Camera poses corrected by what the cameras see: one robust Gauss-Newton step each time a picture is trained on.

A small motion of the camera shifts a static scene by a known amount at each pixel, from the rendered depth. So the
image gradients tell how the picture would change, and six numbers explain most of its error (direct alignment, Lucas
and Kanade 1981; the average gradient of both pictures as in Benhimane and Malis 2004). That needs no further
rendering and converges in a few visits, where gradient descent needs hundreds.
"""

import logging
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from m3_ros.geometry.pose import Transform, inverse, transform
from m3_ros.recording.keyframes import motion_between
from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.render import Rendering
from m3_ros.training.geometry_result import PoseReport
from m3_ros.training.views import View

Twist = Float[NDArray[np.float64], "6"]
"""Translation [m] and rotation vector [rad]."""

Exposed = Callable[[Float[Tensor, "H W 3"], int], Float[Tensor, "H W 3"]]
"""(picture, number) -> the picture as that one was exposed."""

_PRIOR = np.array([0.05, 0.05, 0.05, 0.04, 0.04, 0.04])
"""Corrections as large as this are unremarkable [m, rad]; where the picture tells less, none is made."""
_INDEPENDENT_SHARE = 0.02
"""Share of the pixels that count as independent: the errors of neighbours are alike."""
_SOLID = 0.9
"""Opacity from which a pixel has a depth to rely on."""
_METRES_PER_RADIAN = 1.5
"""Weighs turns against shifts: about what they do to a picture of things at this distance."""
_DISAGREEMENT_M = 0.01
"""Median motion that pictures ask for above which poses are refined [m]."""
_LARGEST_STEP = 1.0
"""Longest step, in units of the prior."""

_log = logging.getLogger(__name__)


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
def poses_disagree(gaussians: Gaussians, views: Sequence[tuple[int, View]], exposed: Exposed) -> bool:
    """Tell from a roughly trained field whether numbered pictures would rather have been taken from elsewhere."""
    moves = []
    for number, view in views:
        drawn = view.draw(gaussians)
        step = alignment_step(drawn, exposed(drawn.features[0], number), view)
        if step is not None:
            moves.append(float(np.linalg.norm(step[:3]) + _METRES_PER_RADIAN * np.linalg.norm(step[3:])))
    wanted = float(np.median(moves)) if moves else 0.0
    _log.info("the median picture would move its camera by %.1f mm", 1e3 * wanted)
    return wanted > _DISAGREEMENT_M


class Poses:
    """The poses of the training views, corrected. Changes in place."""

    def __init__(self, given: Float[NDArray[np.float64], "V 4 4"]) -> None:
        self.given = given
        self.refined = given.copy()

    def visit(self, number: int, drawn: Rendering, image: Float[Tensor, "H W 3"], view: View) -> None:
        """Correct the pose of a view by what was just drawn of it."""
        step = alignment_step(drawn, image, view, self._so_far(number))
        if step is not None:
            self.refined[number] = self.refined[number] @ exp(-step)

    def _so_far(self, number: int) -> Twist:
        """Return the correction in the camera's axes, so that T_camera_map was multiplied by exp(it)."""
        return -log(inverse(self.given[number]) @ self.refined[number])

    def fix_gauge(self) -> None:
        """Take the rigid motion that all cameras have in common out of the corrections."""
        self.refined = self.without_drift()

    def without_drift(self) -> Float[NDArray[np.float64], "V 4 4"]:
        """Return the refined poses with the rigid motion that all cameras have in common undone."""
        turns = [rotation_vector(b[:3, :3] @ a[:3, :3].T) for a, b in zip(self.given, self.refined, strict=True)]
        R = exp(np.concatenate([np.zeros(3), np.mean(turns, axis=0)]))[:3, :3]
        shift = (self.refined[:, :3, 3] - self.given[:, :3, 3] @ R.T).mean(0)
        return np.asarray(inverse(transform(R, shift)) @ self.refined)

    def report(self, psnr_before_db: float, psnr_after_db: float) -> PoseReport:
        """Return how far the poses were moved, and what it was worth on held-out views [dB]."""
        pairs = zip(self.given, self.without_drift(), strict=True)
        metres, radians = np.array([motion_between(a, b) for a, b in pairs]).T
        return PoseReport(
            float(metres.mean()), float(metres.max()), float(radians.mean()), float(radians.max()),
            psnr_before_db, psnr_after_db,
        )  # fmt: skip


def exp(twist: Twist) -> Transform:
    """Return the transform of a motion: rotation about the origin, then translation."""
    v, w = twist[:3], twist[3:]
    angle = float(np.linalg.norm(w))
    K = np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])
    a, b = (math.sin(angle) / angle, (1 - math.cos(angle)) / angle**2) if angle > 1e-9 else (1.0, 0.5)
    return transform(np.eye(3) + a * K + b * K @ K, v)


def log(T: Transform) -> Twist:
    """Return the motion of a transform: the inverse of `exp`."""
    return np.concatenate([T[:3, 3], rotation_vector(T[:3, :3])])


def rotation_vector(R: Float[NDArray[np.float64], "3 3"]) -> Float[NDArray[np.float64], "3"]:
    """Return axis times angle [rad] of a rotation of less than half a turn."""
    axis = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]]) / 2
    sine = float(np.linalg.norm(axis))
    angle = math.atan2(sine, (float(np.trace(R)) - 1) / 2)
    return axis * (angle / sine) if sine > 1e-9 else axis
