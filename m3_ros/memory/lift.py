"""Lifting: what the views saw, gathered onto the Gaussians that they saw it on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.features.encoder import FeatureMap
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import Transform, inverse
from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.lifting import Gathered, Grid, Projection, Regions, gather


@dataclass(frozen=True, eq=False)
class View:
    """What encoders saw from one pose."""

    feature_maps: tuple[FeatureMap, ...]
    """One of each encoder."""
    camera: Camera
    """Intrinsics of the encoded image."""
    T_map_camera: Transform
    """Pose of the camera in the map."""


@dataclass(frozen=True, eq=False)
class Lifted:
    """Sums over views of what one encoder saw. Views are added by addition, so a walk can be taken away again."""

    sums: Float[Tensor, "N s"]
    """Sum of alpha-weight x projected unit feature."""
    weights: Float[Tensor, " N"]
    """Sum of alpha-weights of pixels that had a feature."""
    seen: Float[Tensor, " N"]
    """Sum of alpha-weights of all pixels."""

    def __add__(self, other: "Lifted") -> "Lifted":
        return Lifted(self.sums + other.sums, self.weights + other.weights, self.seen + other.seen)

    def mean(self, min_weight: float) -> tuple[Float[Tensor, "N s"], Float[Tensor, " N"]]:
        """Return the weighted mean of each Gaussian and its length; zero where the weight is below `min_weight`."""
        mean = self.sums / self.weights.clamp(min=1e-9)[:, None] * (self.weights >= min_weight)[:, None]
        return mean, torch.linalg.vector_norm(mean, dim=1)


def lift(
    views: Iterable[View],
    gaussians: Gaussians,
    to_query: Sequence[Float[Tensor, "D s"]],
    width: int,
    *,
    normalised: bool = True,
) -> tuple[Lifted, ...]:
    """Project unit teacher features to queries and sum them over the Gaussians by their alpha-weights.

    q_i = sum_{v,p} w_i(v,p) x(v,p) W^+ / sum_{v,p} w_i(v,p) is the row-sum solution of rendering q to the projected
    features: the blending of the paper's eq. 1 without its iterations. The geometry stays as it is. One pass over the
    weights of a view serves all encoders. Grids are interpolated between cell centres to spots of 2x2 pixels, regions
    are not: two regions' vectors never mix.

    Args:
        views: what the encoders saw, all of one camera shape per view.
        gaussians: the geometry.
        to_query: W^+ of each encoder.
        width: width [px] at which the Gaussians are splatted; the height follows from the camera.
        normalised: sum features at length one; else as they are.

    Returns:
        The sums of each encoder.
    """
    projections = [Projection.by(matrix, normalised=normalised) for matrix in to_query]
    out = Gathered.nothing(len(gaussians), [projection.channels for projection in projections])
    for view in views:
        camera = lifting_camera(view.camera, width)
        images = list(zip(map(_image, view.feature_maps), projections, strict=True))
        (viewmat,), (K,) = pinhole(camera, view.T_map_camera)
        gather(gaussians, viewmat, K, camera.width, camera.height, images, out)
    return tuple(Lifted(sums, weights, out.seen) for sums, weights in zip(out.sums, out.weights, strict=True))


def _image(seen: FeatureMap) -> Grid | Regions:
    if seen.index is None:
        return Grid(seen.features, seen.valid)
    everywhere = bool(seen.valid.all())
    return Regions(seen.features, seen.index if everywhere else torch.where(seen.valid, seen.index, -1))


def pinhole(camera: Camera, T_map_camera: Transform) -> tuple[Float[Tensor, "1 4 4"], Float[Tensor, "1 3 3"]]:
    """Return viewmats and Ks of one camera, as rendering takes them."""
    viewmat = torch.from_numpy(inverse(np.asarray(T_map_camera, np.float64))).float()
    return viewmat[None], torch.from_numpy(camera.K).float()[None]


def lifting_camera(camera: Camera, width: int) -> Camera:
    """Return the camera of the view at the lifting width; never larger than the image itself."""
    width = min(width, camera.width)
    return camera.scaled(width, max(1, round(camera.height * width / camera.width)))
