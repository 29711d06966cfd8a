"""Patches of every placed thing -> one triangle mesh whose texture coordinates point into one shared atlas."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from m3_ros.geometry.pose import Transform
from m3_ros.sim.patches import Patch

PADDING = 3  # texels around each chart that repeat its edge, so that mip levels do not bleed
SMALLEST_SIDE = 4  # texels
SMALLEST_AREA_M2 = 1e-10  # triangles at the poles of a sphere are degenerate


@dataclass(frozen=True)
class Chart:
    """One patch with its rectangle in the atlas, padding not counted."""

    instance: int
    """Index of the placed thing it belongs to."""
    patch: Patch
    points: Float[NDArray[np.float64], "nv nu 3"]
    """The patch's grid in the map frame [m]."""
    normals: Float[NDArray[np.float64], "nv nu 3"]
    """Outward unit normals at the grid, in the map frame."""
    rotation: Float[NDArray[np.float64], "3 3"]
    """Turns the thing's own frame into the map frame."""
    width: int
    height: int
    x: int = 0
    y: int = 0

    @property
    def inner(self) -> tuple[slice, slice]:
        """Rows and columns of the chart in the atlas."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    @property
    def padded(self) -> tuple[slice, slice]:
        """Rows and columns of the chart and its padding."""
        rows, columns = self.inner
        return slice(rows.start - PADDING, rows.stop + PADDING), slice(columns.start - PADDING, columns.stop + PADDING)


@dataclass(frozen=True)
class Atlas:
    """The triangle mesh of a room and the charts that texture it."""

    width: int
    height: int
    charts: tuple[Chart, ...]
    vertices: Float[NDArray[np.float32], "V 3"]
    """Map frame [m]."""
    uv: Float[NDArray[np.float32], "V 2"]
    """Atlas coordinates in 0..1; v grows with the atlas row."""
    triangles: Int[NDArray[np.int32], "T 3"]
    triangle_instance: Int[NDArray[np.int32], " T"]


def build_atlas(things: Sequence[tuple[Sequence[Patch], Transform]], texel_m: float, width: int = 2048) -> Atlas:
    """Unfold the patches of all things (given with T_map_thing) into one atlas of about `texel_m` metres a texel."""
    charts = [
        _chart(instance, patch, T_map_thing, texel_m, width)
        for instance, (patches, T_map_thing) in enumerate(things)
        for patch in patches
    ]
    charts, height = _pack(charts, width)
    vertices, uv, triangles, owner, start = [], [], [], [], 0
    for chart in charts:
        rows, columns = chart.points.shape[:2]
        v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
        vertices.append(chart.points.reshape(-1, 3))
        uv.append(
            np.stack([(chart.x + u * chart.width) / width, (chart.y + v * chart.height) / height], -1).reshape(-1, 2)
        )
        faces = _grid_triangles(rows, columns) + start
        triangles.append(faces)
        owner.append(np.full(len(faces), chart.instance))
        start += rows * columns
    points, faces, instance = np.concatenate(vertices), np.concatenate(triangles), np.concatenate(owner)
    corner = points[faces]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    keep = area > SMALLEST_AREA_M2
    return Atlas(
        width=width,
        height=height,
        charts=tuple(charts),
        vertices=points.astype(np.float32),
        uv=np.concatenate(uv).astype(np.float32),
        triangles=faces[keep].astype(np.int32),
        triangle_instance=instance[keep].astype(np.int32),
    )


def resample(grid: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """Interpolate a vertex grid bilinearly at the centres of height x width equal cells."""
    rows, columns = grid.shape[0] - 1, grid.shape[1] - 1
    y, x = (np.arange(height) + 0.5) / height * rows, (np.arange(width) + 0.5) / width * columns
    j, i = np.minimum(y.astype(int), rows - 1), np.minimum(x.astype(int), columns - 1)
    fy, fx = (y - j)[:, None, None].astype(np.float32), (x - i)[None, :, None].astype(np.float32)
    values = grid.astype(np.float32)
    low = values[j]
    lines = low + (values[j + 1] - low) * fy
    left = lines[:, i]
    return np.asarray(left + (lines[:, i + 1] - left) * fx, np.float32)


def grid_normals(
    points: Float[NDArray[np.float64], "nv nu 3"], *, smooth: bool
) -> Float[NDArray[np.float64], "nv nu 3"]:
    """Return unit normals of a vertex grid; a smooth closed grid has no seam, poles take their neighbour row's mean."""
    along_u, along_v = np.gradient(points, axis=1), np.gradient(points, axis=0)
    normals = np.cross(along_u, along_v)
    if smooth and points.shape[1] > 3 and np.allclose(points[:, 0], points[:, -1], atol=1e-6):
        across_seam = (points[:, 1] - points[:, -2]) / 2
        normals[:, 0] = normals[:, -1] = np.cross(across_seam, along_v[:, 0])
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    unit = normals / np.maximum(length, 1e-12)
    flat = length[..., 0] < 1e-9
    for row in np.flatnonzero(flat.all(axis=1)):
        mean = unit[1 if row == 0 else row - 1].mean(axis=0)
        unit[row] = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return np.asarray(unit)


def _chart(instance: int, patch: Patch, T_map_thing: Transform, texel_m: float, atlas_width: int) -> Chart:
    points = patch.grid @ T_map_thing[:3, :3].T + T_map_thing[:3, 3]
    span_u = np.linalg.norm(np.diff(points, axis=1), axis=-1).sum(axis=1).max()
    span_v = np.linalg.norm(np.diff(points, axis=0), axis=-1).sum(axis=0).max()
    largest = atlas_width - 2 * PADDING
    width, height = (
        int(np.clip(np.ceil(span / texel_m * patch.texel_scale), SMALLEST_SIDE, largest)) for span in (span_u, span_v)
    )
    return Chart(instance, patch, points, grid_normals(points, smooth=patch.smooth), T_map_thing[:3, :3], width, height)


def _pack(charts: list[Chart], atlas_width: int) -> tuple[list[Chart], int]:
    """Place charts on shelves, the tallest first; returns them in the given order and the atlas height."""
    placed: dict[int, Chart] = {}
    x = y = shelf = 0
    for index in sorted(range(len(charts)), key=lambda i: (-charts[i].height, i)):
        chart = charts[index]
        if x + chart.width + 2 * PADDING > atlas_width:
            x, y, shelf = 0, y + shelf, 0
        placed[index] = replace(chart, x=x + PADDING, y=y + PADDING)
        x += chart.width + 2 * PADDING
        shelf = max(shelf, chart.height + 2 * PADDING)
    return [placed[i] for i in range(len(charts))], -(-(y + shelf) // 64) * 64


def _grid_triangles(rows: int, columns: int) -> Int[NDArray[np.int64], "T 3"]:
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
