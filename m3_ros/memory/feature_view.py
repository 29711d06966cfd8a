"""What a memory holds of one encoder, as that encoder would have seen it from a pose: the paper's order."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from m3_ros.features.encoder import FeatureMap
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import Transform
from m3_ros.memory.lift import pinhole
from m3_ros.memory.spatial_memory import PrincipalQueries
from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.render import render

_FINER = 4
"""Pixels rendered along a cell: a cell shows the mean of all that it covers, not what lies at its middle."""


@torch.inference_mode()
def feature_view(
    gaussians: Gaussians,
    entry: PrincipalQueries,
    camera: Camera,
    T_map_camera: Transform,
    rows: int,
    columns: int,
    min_alpha: float = 0.5,
) -> FeatureMap:
    """Render the features of a view: queries blended like colours, then read out of the bank (the paper's eq. 1, 2).

    Args:
        gaussians: the memory's geometry.
        entry: what the encoder knows of each Gaussian.
        camera: intrinsics of the view.
        T_map_camera: its pose.
        rows: cells from top to bottom.
        columns: cells from left to right.
        min_alpha: a cell counts where Gaussians that remember anything cover this much of it.
    """
    queries, valid = blended_queries(gaussians, entry, camera, T_map_camera, rows, columns, min_alpha)
    features = torch.zeros(rows, columns, entry.attention.bank.dim)
    if bool(valid.any()):
        features[valid] = entry.attention.reconstruct(queries[valid])
    return FeatureMap(features, valid, (camera.width, camera.height))


@torch.inference_mode()
def text_view(
    gaussians: Gaussians,
    entry: PrincipalQueries,
    camera: Camera,
    T_map_camera: Transform,
    rows: int,
    columns: int,
    text: Float[Tensor, "T D"],
    min_alpha: float = 0.5,
) -> tuple[Float[Tensor, "h w T"], Bool[Tensor, "h w"]]:
    """Return the cosine of each cell of a view to each text vector, in the paper's order, and which cells count.

    The same as the cosine to `feature_view`, but nothing of the features' length is formed; the other arguments are
    those of `feature_view`. `PrincipalQueries.text_scores` is the direct 3D query.
    """
    queries, valid = blended_queries(gaussians, entry, camera, T_map_camera, rows, columns, min_alpha)
    scores = torch.zeros(rows, columns, len(text))
    if bool(valid.any()):
        scores[valid] = entry.attention.text_scores(queries[valid], text)
    return scores, valid


def blended_queries(
    gaussians: Gaussians,
    entry: PrincipalQueries,
    camera: Camera,
    T_map_camera: Transform,
    rows: int,
    columns: int,
    min_alpha: float = 0.5,
) -> tuple[Float[Tensor, "h w s"], Bool[Tensor, "h w"]]:
    """Blend principal queries over the cells of a view (eq. 1), and tell which cells show what remembers anything."""
    known = (entry.queries != 0).any(dim=1).float()[:, None]
    values = torch.cat([entry.queries.float(), known], dim=1)
    cells = blend_cells(gaussians, values, camera, T_map_camera, rows, columns)
    return cells[..., :-1], cells[..., -1] >= min_alpha


def blend_cells(
    gaussians: Gaussians,
    values: Float[Tensor, "N ch"],
    camera: Camera,
    T_map_camera: Transform,
    rows: int,
    columns: int,
) -> Float[Tensor, "h w ch"]:
    """Blend values of the Gaussians like colours and average them over each cell of a grid over the view (eq. 1).

    Carries gradients to the values.
    """
    scaled = camera.scaled(columns * _FINER, rows * _FINER)
    pose, g = pinhole(scaled, T_map_camera), gaussians
    drawn = render(g.means, g.quats, g.scales, g.opacities, values, *pose, scaled.width, scaled.height)
    return functional.avg_pool2d(drawn.features[0].movedim(-1, 0)[None], _FINER)[0].movedim(0, -1)
