"""What an encoder really saw, view by view: what every way of remembering it is trained on and measured against."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from m3_ros.features.encoder import FeatureMap
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import Transform
from m3_ros.memory.feature_view import blend_cells
from m3_ros.recording import Frame
from m3_ros.splat.gaussians import Gaussians

_MOST_COLUMNS = 80
"""A finer map, such as that of regions, is looked at in this many columns: its nearest cell, never a mixture."""


@dataclass(frozen=True, eq=False)
class TeacherView:
    """The features of one posed picture."""

    features: Float[Tensor, "h w D"]
    """As the encoder gave them, in half precision; zero where there is none."""
    valid: Bool[Tensor, "h w"]
    """Cells that hold a feature."""
    camera: Camera
    """Intrinsics of the picture."""
    T_map_camera: Transform
    """Pose of the camera."""

    @property
    def dim(self) -> int:
        """Length D of the features."""
        return int(self.features.shape[-1])

    def blend(self, gaussians: Gaussians, values: Float[Tensor, "N ch"]) -> Float[Tensor, "h w ch"]:
        """Blend values of the Gaussians over the cells of this view."""
        rows, columns = self.valid.shape
        return blend_cells(gaussians, values, self.camera, self.T_map_camera, rows, columns)


def teacher_views(frames: Sequence[Frame], maps: Iterable[FeatureMap]) -> list[TeacherView]:
    """Pair frames with what an encoder saw in them."""
    return list(_views(frames, maps))


def _views(frames: Sequence[Frame], maps: Iterable[FeatureMap]) -> Iterator[TeacherView]:
    for frame, seen in zip(frames, maps, strict=True):
        features, valid = _cells(seen)
        yield TeacherView((features * valid[..., None]).half(), valid, frame.camera, frame.T_map_camera)


def _cells(seen: FeatureMap) -> tuple[Float[Tensor, "h w D"], Bool[Tensor, "h w"]]:
    rows, columns = seen.valid.shape
    if columns <= _MOST_COLUMNS:
        has_feature = seen.valid if seen.index is None else seen.valid & (seen.index >= 0)
        return seen.dense(), has_feature
    rows, columns = max(1, round(rows * _MOST_COLUMNS / columns)), _MOST_COLUMNS
    width, height = seen.image_size
    v, u = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    features, valid = seen.at((u * width / columns).reshape(-1), (v * height / rows).reshape(-1))
    return features.reshape(rows, columns, -1), valid.reshape(rows, columns)
