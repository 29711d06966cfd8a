"""Grids over the floor: which cells a robot must not enter."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Grid2D:
    """Square cells over the map's xy plane; row 0 lies at the lowest y, column 0 at the lowest x."""

    origin_xy: Float[NDArray[np.float64], "2"]
    """Outer corner of cell (0, 0) in the map [m]."""
    resolution_m: float
    """Edge length of a cell [m]."""
    data: Bool[NDArray[np.bool_], "ny nx"]
    """True where a cell is blocked."""

    def __post_init__(self) -> None:
        if np.shape(self.origin_xy) != (2,) or not np.isfinite(self.origin_xy).all():
            raise ValueError(f"a grid needs a finite origin (x, y); got {self.origin_xy}")
        if not np.isfinite(self.resolution_m) or self.resolution_m <= 0:
            raise ValueError(f"a grid needs a positive resolution [m]; got {self.resolution_m}")
        if self.data.ndim != 2 or self.data.dtype != np.bool_ or self.data.size == 0:
            raise ValueError(f"a grid needs a boolean array [ny, nx]; got {self.data.dtype} {self.data.shape}")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows (y) and columns (x)."""
        return self.data.shape[0], self.data.shape[1]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Bounds x0, x1, y0, y1 in the map [m], as matplotlib's imshow wants them."""
        x0, y0 = (float(v) for v in self.origin_xy)
        return x0, x0 + self.shape[1] * self.resolution_m, y0, y0 + self.shape[0] * self.resolution_m

    @cached_property
    def clearance_m(self) -> Float[NDArray[np.float64], "ny nx"]:
        """Distance from each cell's centre to the nearest blocked cell's centre [m]; inf where nothing is blocked."""
        from scipy.ndimage import distance_transform_edt

        if not self.data.any():
            return np.full(self.shape, np.inf)
        return np.asarray(distance_transform_edt(~self.data), np.float64) * self.resolution_m

    def world_to_cell(self, xy: ArrayLike) -> Int[NDArray[np.int64], "*n 2"]:
        """Return (row, column) of points [m]; points outside the grid give cells outside it."""
        cell_xy = np.floor((np.asarray(xy, np.float64) - self.origin_xy) / self.resolution_m).astype(np.int64)
        return np.ascontiguousarray(cell_xy[..., ::-1])

    def cell_to_world(self, cells: ArrayLike) -> Float[NDArray[np.float64], "*n 2"]:
        """Return the centre (x, y) [m] of cells (row, column)."""
        return (np.asarray(cells, np.float64)[..., ::-1] + 0.5) * self.resolution_m + self.origin_xy

    def inside(self, cells: ArrayLike) -> NDArray[np.bool_]:
        """Tell which cells (row, column) lie on the grid."""
        index = np.asarray(cells)
        return np.asarray(((index >= 0) & (index < np.array(self.shape))).all(axis=-1))

    def is_free(self, xy: ArrayLike) -> NDArray[np.bool_]:
        """Tell which points [m] lie in a cell that is not blocked; outside the grid nothing is free."""
        cells = self.world_to_cell(xy)
        inside = self.inside(cells)
        row, column = np.moveaxis(np.where(inside[..., None], cells, 0), -1, 0)
        return np.asarray(inside & ~self.data[row, column])

    def inflate(self, radius_m: float) -> "Grid2D":
        """Return the grid with every cell blocked whose centre is within `radius_m` of a blocked cell's centre."""
        return replace(self, data=self.data | (self.clearance_m <= radius_m + 1e-9))
