"""Lifting: what the views saw, gathered onto the Gaussians that they saw it on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

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
    """One posed feature map."""

    feature_map: FeatureMap
    """What an encoder saw."""
    camera: Camera
    """Intrinsics of the encoded image."""
    T_map_camera: Transform
    """Pose of the camera in the map."""


@dataclass(frozen=True, eq=False)
class Lifted:
    """Running sums over views. Adding views is addition, so that a walk can be added and taken away again."""

    sums: Float[Tensor, "N s"]
    """Sum of alpha-weight x projected unit feature."""
    weights: Float[Tensor, " N"]
    """Sum of alpha-weights of pixels that had a feature."""
    seen: Float[Tensor, " N"]
    """Sum of alpha-weights of all pixels."""

    def mean(self, min_weight: float) -> tuple[Float[Tensor, "N s"], Float[Tensor, " N"]]:
        """Return the weighted mean of each Gaussian and its length; zero where the weight is below `min_weight`."""
        mean = self.sums / self.weights.clamp(min=1e-9)[:, None] * (self.weights >= min_weight)[:, None]
        return mean, torch.linalg.vector_norm(mean, dim=1)


def lift(
    views: Iterable[View],
    gaussians: Gaussians,
    W: Float[Tensor, "s D"],
    width: int,
    accumulate: Accumulate | None = None,
) -> Lifted:
    """Project unit teacher features to queries and sum them over the Gaussians by their alpha-weights, in one pass.

    q_i = sum_{v,p} w_i(v,p) x(v,p) W^+ / sum_{v,p} w_i(v,p) is the row-sum solution of rendering q to the projected
    features: the blending of the paper's eq. 1 without its iterations. The geometry stays as it is.

    Args:
        views: posed feature maps of one encoder.
        gaussians: the geometry.
        W: projection of the queries.
        width: width [px] at which the Gaussians are splatted; the height follows from the camera.
        accumulate: stands in for m3_ros.splat.accumulate.
    """
    if accumulate is None:
        from m3_ros.splat import accumulate as from_splat

        accumulate = from_splat
    to_query = torch.linalg.pinv(W)
    n = len(gaussians)
    sums, seen = torch.zeros(n, W.shape[0] + 1), torch.zeros(n)
    for view in views:
        camera = lifting_camera(view.camera, width)
        values = torch.cat(_projected(view.feature_map, to_query, camera.width, camera.height), dim=-1)
        viewmat = torch.from_numpy(inverse(np.asarray(view.T_map_camera, np.float64))).float()[None]
        K = torch.from_numpy(camera.K).float()[None]
        s, w = accumulate(gaussians, viewmat, K, camera.width, camera.height, values[None])
        sums += s
        seen += w
    return Lifted(sums[:, :-1], sums[:, -1], seen)


def lifting_camera(camera: Camera, width: int) -> Camera:
    """Return the camera of the view at the lifting width; never larger than the image itself."""
    width = min(width, camera.width)
    return camera.scaled(width, max(1, round(camera.height * width / camera.width)))


def _projected(
    feature_map: FeatureMap, to_query: Float[Tensor, "D s"], width: int, height: int
) -> tuple[Float[Tensor, "H W s"], Float[Tensor, "H W 1"]]:
    """Return projected unit features at the lifting size, zero where there is none, and a mask of where there is one.

    Grids are interpolated between cell centres, regions are not: two regions' vectors never mix.
    """
    if feature_map.index is None:
        queries = (unit(feature_map.features.float()) @ to_query).movedim(-1, 0)[None]
        valid = feature_map.valid.float()[None, None]
        size = (height, width)
        mask = torch.nn.functional.interpolate(valid, size, mode="bilinear", align_corners=False)
        dense = torch.nn.functional.interpolate(queries * valid, size, mode="bilinear", align_corners=False)
        keep = mask > 0.5
        return (dense / mask.clamp(min=0.5) * keep)[0].movedim(0, -1), keep[0].movedim(0, -1).float()
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    scale_u, scale_v = feature_map.image_size[0] / width, feature_map.image_size[1] / height
    vectors, valid_at = feature_map.at((u * scale_u).reshape(-1), (v * scale_v).reshape(-1))
    queries_at = unit(vectors.float()) @ to_query * valid_at[:, None]
    return queries_at.reshape(height, width, -1), valid_at.reshape(height, width, 1).float()
