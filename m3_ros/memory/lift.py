"""Lifting: what the views saw, gathered onto the Gaussians that they saw it on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.features.encoder import FeatureMap, unit
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import Transform, inverse
from m3_ros.splat.gaussians import Gaussians

Accumulate = Callable[
    [Gaussians, Tensor, Tensor, int, int, Tensor],
    tuple[Tensor, Tensor],
]
"""The shape of m3_ros.splat.accumulate.

(gaussians, viewmats, Ks, width, height, values [C,H,W,ch]) -> (sums [N,ch], weights [N]).
"""


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
    accumulate: Accumulate | None = None,
    *,
    normalised: bool = True,
) -> tuple[Lifted, ...]:
    """Project unit teacher features to queries and sum them over the Gaussians by their alpha-weights.

    q_i = sum_{v,p} w_i(v,p) x(v,p) W^+ / sum_{v,p} w_i(v,p) is the row-sum solution of rendering q to the projected
    features: the blending of the paper's eq. 1 without its iterations. The geometry stays as it is. One pass over the
    weights of a view serves all encoders.

    Args:
        views: what the encoders saw, all of one camera shape per view.
        gaussians: the geometry.
        to_query: W^+ of each encoder.
        width: width [px] at which the Gaussians are splatted; the height follows from the camera.
        accumulate: stands in for m3_ros.splat.accumulate.
        normalised: sum features at length one; else as they are.

    Returns:
        The sums of each encoder.
    """
    if accumulate is None:
        from m3_ros.splat import accumulate as from_splat

        accumulate = from_splat
    sizes = [matrix.shape[1] + 1 for matrix in to_query]
    sums, seen = torch.zeros(len(gaussians), sum(sizes)), torch.zeros(len(gaussians))
    for view in views:
        camera = lifting_camera(view.camera, width)
        maps = zip(view.feature_maps, to_query, strict=True)
        values = torch.cat(
            [x for seen_by, matrix in maps for x in _projected(seen_by, matrix, camera, normalised)], dim=-1
        )
        s, w = accumulate(gaussians, *pinhole(camera, view.T_map_camera), camera.width, camera.height, values[None])
        sums += s
        seen += w
    parts = torch.split(sums, sizes, dim=1)
    return tuple(Lifted(part[:, :-1].contiguous(), part[:, -1].contiguous(), seen) for part in parts)


def pinhole(camera: Camera, T_map_camera: Transform) -> tuple[Float[Tensor, "1 4 4"], Float[Tensor, "1 3 3"]]:
    """Return viewmats and Ks of one camera, as rendering takes them."""
    viewmat = torch.from_numpy(inverse(np.asarray(T_map_camera, np.float64))).float()
    return viewmat[None], torch.from_numpy(camera.K).float()[None]


def lifting_camera(camera: Camera, width: int) -> Camera:
    """Return the camera of the view at the lifting width; never larger than the image itself."""
    width = min(width, camera.width)
    return camera.scaled(width, max(1, round(camera.height * width / camera.width)))


def _projected(
    feature_map: FeatureMap, to_query: Float[Tensor, "D s"], camera: Camera, normalised: bool
) -> tuple[Float[Tensor, "H W s"], Float[Tensor, "H W 1"]]:
    """Return projected features at the lifting size, zero where there is none, and a mask of where there is one.

    Grids are interpolated between cell centres, regions are not: two regions' vectors never mix.
    """
    width, height = camera.width, camera.height
    x = feature_map.features.float()
    projected = (unit(x) if normalised else x) @ to_query
    if feature_map.index is None:
        valid = feature_map.valid.float()[None, None]
        size = (height, width)
        mask = torch.nn.functional.interpolate(valid, size, mode="bilinear", align_corners=False)
        weighted = projected.movedim(-1, 0)[None] * valid
        dense = torch.nn.functional.interpolate(weighted, size, mode="bilinear", align_corners=False)
        keep = mask > 0.5
        return (dense / mask.clamp(min=0.5) * keep)[0].movedim(0, -1), keep[0].movedim(0, -1).float()
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    scale_u, scale_v = feature_map.image_size[0] / width, feature_map.image_size[1] / height
    regions = replace(feature_map, features=projected)
    queries, valid = regions.at((u * scale_u).reshape(-1), (v * scale_v).reshape(-1))
    known = valid.reshape(height, width, 1).float()
    return queries.reshape(height, width, -1) * known, known
