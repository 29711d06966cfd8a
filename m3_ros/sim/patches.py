"""Geometry as parametric patches: grids of points with a material, and a builder for boxes, lathes, tubes and the like.

Every grid is counter-clockwise seen from outside: columns run right (u), rows run up (v). A patch owns one rectangle of
the texture atlas; texels are spread evenly over grid cells, so cells of one patch should be of similar size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from m3_ros.sim.noise import Points

UV = Float[NDArray[np.float32], "*grid 2"]
RGB = Float[NDArray[np.float32], "*grid 3"]
Material = Callable[[Points, UV, Points], RGB]
"""(local points [m], uv in 0..1, normals) -> sRGB albedo in 0..1, float32."""
Grid = Float[NDArray[np.float64], "rows cols 3"]
Rotation = Float[NDArray[np.float64], "3 3"]

_CORNERS = {
    "x+": ((1, -1, -1), (1, 1, -1), (1, 1, 1), (1, -1, 1)),
    "x-": ((-1, 1, -1), (-1, -1, -1), (-1, -1, 1), (-1, 1, 1)),
    "y+": ((1, 1, -1), (-1, 1, -1), (-1, 1, 1), (1, 1, 1)),
    "y-": ((-1, -1, -1), (1, -1, -1), (1, -1, 1), (-1, -1, 1)),
    "z+": ((-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)),
    "z-": ((-1, 1, -1), (1, 1, -1), (1, -1, -1), (-1, -1, -1)),
}
_AXIS_RADIUS = 1e-4  # a lathe's pole keeps a tiny radius, so that its normal exists


@dataclass(frozen=True)
class Patch:
    """A grid of points and what it looks like."""

    grid: Grid
    """(nv + 1, nu + 1, 3) local points [m]."""
    material: Material
    """Albedo of its texels."""
    smooth: bool = True
    """Whether normals are interpolated over the grid."""
    texel_scale: float = 1.0
    """Texels per metre, as a multiple of the atlas's own; below 1 is coarser."""
    emission: float = 0.0
    """Above 0 it glows: albedo times this."""


def rotate_x(angle: float) -> Rotation:
    """Rotate about x [rad]."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]], dtype=np.float64)


def rotate_y(angle: float) -> Rotation:
    """Rotate about y [rad]."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=np.float64)


def rotate_z(angle: float) -> Rotation:
    """Rotate about z [rad]."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=np.float64)


def _even_profile(profile: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """Split long segments, so that the cells of a lathe are of similar size."""
    lengths = np.linalg.norm(np.diff(profile, axis=0), axis=1)
    step = max(lengths.sum() / cells, 1e-9)
    rows = [profile[:1]]
    for a, b, length in zip(profile[:-1], profile[1:], lengths, strict=True):
        t = np.linspace(0, 1, max(1, round(length / step)) + 1)[1:, None]
        rows.append(a + (b - a) * t)
    return np.concatenate(rows)


class Shape:
    """Collects patches; every method adds to it and returns it."""

    def __init__(self) -> None:
        self.patches: list[Patch] = []

    def add(
        self, grid: ArrayLike, material: Material, smooth: bool = True, texel_scale: float = 1.0, emission: float = 0.0
    ) -> Self:
        """Add a grid of points [m]."""
        self.patches.append(Patch(np.asarray(grid, np.float64), material, smooth, texel_scale, emission))
        return self

    def join(self, other: "Shape", R: Rotation | None = None, at: ArrayLike = (0, 0, 0)) -> Self:
        """Add another shape, rotated and then moved [m]."""
        R = np.eye(3) if R is None else R
        t = np.asarray(at, np.float64)
        self.patches += [replace(p, grid=p.grid @ R.T + t) for p in other.patches]
        return self

    def stretched(self, x: float, y: float, z: float) -> Self:
        """Scale all grids about the origin by positive factors."""
        factors = np.array([x, y, z], np.float64)
        self.patches = [replace(p, grid=p.grid * factors) for p in self.patches]
        return self

    def grounded(self) -> Self:
        """Move everything so that it stands on z = 0, centred in x and y."""
        points = np.concatenate([p.grid.reshape(-1, 3) for p in self.patches])
        low, high = points.min(axis=0), points.max(axis=0)
        t = -np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
        return self._moved(t)

    def backed(self, floor: bool = True) -> Self:
        """Move everything so that its back is y = 0, centred in x; on the floor it also stands on z = 0."""
        points = np.concatenate([p.grid.reshape(-1, 3) for p in self.patches])
        low, high = points.min(axis=0), points.max(axis=0)
        return self._moved(-np.array([(low[0] + high[0]) / 2, high[1], low[2] if floor else 0]))

    def _moved(self, t: NDArray[np.float64]) -> Self:
        self.patches = [replace(p, grid=p.grid + t) for p in self.patches]
        return self

    def quad(
        self,
        corners: Sequence[ArrayLike],
        material: Material,
        cells: int = 1,
        texel_scale: float = 1.0,
        emission: float = 0.0,
    ) -> Self:
        """Add a flat four-sided patch; corners counter-clockwise from the lower left [m]."""
        a, b, c, d = (np.asarray(q, np.float64) for q in corners)
        t = np.linspace(0, 1, cells + 1)
        x, y = t[None, :, None], t[:, None, None]
        grid = (a * (1 - x) + b * x) * (1 - y) + (d * (1 - x) + c * x) * y
        return self.add(grid, material, False, texel_scale, emission)

    def box(
        self,
        centre: ArrayLike,
        size: ArrayLike,
        material: Material,
        *,
        faces: Mapping[str, Material] | None = None,
        R: Rotation | None = None,
        skip: Sequence[str] = (),
        texel_scale: float = 1.0,
        emission: float = 0.0,
    ) -> Self:
        """Add a box.

        Args:
            centre: Its centre [m].
            size: Full lengths along its axes [m].
            material: Material of all faces.
            faces: Other materials of single faces: "x+", "x-", "y+", "y-", "z+", "z-".
            R: Rotation about the centre.
            skip: Faces that nobody sees.
            texel_scale: See Patch.
            emission: See Patch.
        """
        h = np.asarray(size, np.float64) / 2
        c = np.asarray(centre, np.float64)
        R = np.eye(3) if R is None else R
        for name, corners in _CORNERS.items():
            if name not in skip:
                points = [c + R @ (np.array(q) * h) for q in corners]
                self.quad(points, (faces or {}).get(name, material), texel_scale=texel_scale, emission=emission)
        return self

    def rounded_box(
        self,
        centre: ArrayLike,
        size: ArrayLike,
        radius: float,
        material: Material,
        cells: int = 6,
        *,
        R: Rotation | None = None,
        bulge: float = 0.0,
        texel_scale: float = 1.0,
    ) -> Self:
        """Add a box with round edges of a radius [m]; bulge [m] blows its faces up like a cushion's."""
        h = np.asarray(size, np.float64) / 2
        r = min(radius, float(h.min()) * 0.98)
        R = np.eye(3) if R is None else R
        t = np.linspace(-1, 1, cells + 1)
        t = np.sign(t) * np.abs(t) ** 0.7
        for axis in range(3):
            for sign in (-1, 1):
                U, V = np.meshgrid(t * sign, t)
                q = np.empty((*U.shape, 3))
                q[..., axis], q[..., (axis + 1) % 3], q[..., (axis + 2) % 3] = sign, U, V
                surface = q * h
                core = np.clip(surface, -(h - r), h - r)
                d = surface - core
                points = core + r * d / np.maximum(np.linalg.norm(d, axis=-1, keepdims=True), 1e-9)
                points[..., axis] += sign * bulge * (1 - U**2) * (1 - V**2)
                self.add(points @ R.T + np.asarray(centre, np.float64), material, texel_scale=texel_scale)
        return self

    def ellipsoid(
        self,
        centre: ArrayLike,
        radii: ArrayLike,
        material: Material,
        cells: tuple[int, int] = (20, 12),
        *,
        R: Rotation | None = None,
        bend: Callable[[Grid], Grid] | None = None,
        texel_scale: float = 1.0,
        emission: float = 0.0,
    ) -> Self:
        """Add an ellipsoid with z as its pole; bend reshapes the unit sphere first."""
        U, V = np.meshgrid(np.linspace(0, 2 * np.pi, cells[0] + 1), np.linspace(-np.pi / 2, np.pi / 2, cells[1] + 1))
        sphere = np.stack([np.cos(U) * np.cos(V), np.sin(U) * np.cos(V), np.sin(V)], axis=-1)
        points = (sphere if bend is None else bend(sphere)) * np.asarray(radii, np.float64)
        R = np.eye(3) if R is None else R
        return self.add(points @ R.T + np.asarray(centre, np.float64), material, True, texel_scale, emission)

    def lathe(
        self,
        centre: ArrayLike,
        profile: ArrayLike,
        material: Material,
        sides: int = 20,
        *,
        R: Rotation | None = None,
        cells: int = 8,
        texel_scale: float = 1.0,
        emission: float = 0.0,
    ) -> Self:
        """Turn a profile of (radius, height) [m] about z; it runs upwards on the outside and inwards over the top."""
        rows = _even_profile(np.asarray(profile, np.float64), cells)
        radius, height = np.maximum(rows[:, :1], _AXIS_RADIUS), rows[:, 1:]
        turn = np.linspace(0, 2 * np.pi, sides + 1)[None]
        points = np.stack([radius * np.cos(turn), radius * np.sin(turn), np.repeat(height, sides + 1, 1)], axis=-1)
        R = np.eye(3) if R is None else R
        return self.add(points @ R.T + np.asarray(centre, np.float64), material, True, texel_scale, emission)

    def cylinder(
        self,
        base: ArrayLike,
        radius: float,
        height: float,
        material: Material,
        top_radius: float | None = None,
        *,
        sides: int = 14,
        caps: bool = True,
        R: Rotation | None = None,
        texel_scale: float = 1.0,
        emission: float = 0.0,
    ) -> Self:
        """Add a cylinder or cone frustum standing on its base centre [m]."""
        top = radius if top_radius is None else top_radius
        profiles = [[(radius, 0), (top, height)]]
        if caps:
            profiles += [[(top, height), (0, height)], [(0, 0), (radius, 0)]]
        for profile in profiles:
            self.lathe(base, profile, material, sides, R=R, cells=1, texel_scale=texel_scale, emission=emission)
        return self

    def tube(
        self, path: ArrayLike, radius: ArrayLike, material: Material, sides: int = 7, texel_scale: float = 1.0
    ) -> Self:
        """Sweep a circle along a path [m]; the radius [m] is one number or one for each point of the path."""
        points = np.asarray(path, np.float64)
        tangents = np.gradient(points, axis=0)
        tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
        radii = np.broadcast_to(np.asarray(radius, np.float64), (len(points),))
        turn = np.linspace(0, 2 * np.pi, sides + 1)[:, None]
        side = np.cross(tangents[0], (0.0, 0.0, 1.0))
        if np.linalg.norm(side) < 0.1:
            side = np.cross(tangents[0], (1.0, 0.0, 0.0))
        rings = []
        for p, t, r in zip(points, tangents, radii, strict=True):
            side = side - t * (side @ t)
            side /= np.linalg.norm(side)
            rings.append(p + r * (side * np.cos(turn) + np.cross(t, side) * np.sin(turn)))
        return self.add(np.array(rings), material, True, texel_scale)
