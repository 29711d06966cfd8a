"""NavigationMap: the floor of a memory, with what stands on it and what nobody has seen."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike, NDArray

from m3_ros.errors import PlanningError
from m3_ros.geometry.grid import Grid2D
from m3_ros.memory import SpatialMemory
from m3_ros.planner.settings import NavigationSettings

_SIGHT_HEIGHT_M = 1.2
"""Matter higher than this hides nothing from a robot that is lower."""


@dataclass(frozen=True, eq=False)
class NavigationMap:
    """Where a robot can be."""

    obstacles: Grid2D
    """Cells with matter at the robot's height."""
    unknown: Bool[NDArray[np.bool_], "ny nx"]
    """Cells of which neither floor nor matter was seen."""
    heights_m: Float[NDArray[np.float64], "ny nx"]
    """Top of the matter in each cell above the floor [m]; 0: none."""
    blocked: Grid2D
    """Cells where the robot's centre must not be: too near an obstacle, or unknown."""
    floor_m: float
    """Height of the floor in the map [m]."""
    walked_xy: Float[NDArray[np.float64], "n 2"]
    """Where the robot walked while it recorded [m], in order; may be empty."""
    robot_radius_m: float
    """Radius of the footprint that `blocked` was made for [m]."""

    @classmethod
    def from_memory(cls, memory: SpatialMemory, settings: NavigationSettings | None = None) -> "NavigationMap":
        """Estimate the floor and what stands on it from the Gaussians.

        A cell is an obstacle where enough opaque matter lies between the robot's step and its height; it is known
        where floor or matter was seen, or where the robot walked. Where it walked nothing stands.

        Raises:
            PlanningError: nothing solid was seen, or the place is too large for the resolution.
        """
        settings = settings or NavigationSettings()
        solid = memory.seen & (memory.gaussians.opacities >= settings.min_opacity)
        if not bool(solid.any()):
            raise PlanningError(
                "the memory holds nothing solid, so there is no floor to plan on: train it on a longer walk"
            )
        points, weights = _matter(memory, solid)
        walked = np.asarray(memory.keyframes.T_map_camera, np.float64).reshape(-1, 4, 4)[:, :3, 3]
        floor = floor_height(points, weights, walked[:, 2])
        origin, shape = _extent(points, walked, settings)
        empty = Grid2D(origin, settings.resolution_m, np.zeros(shape, bool))
        above = points[:, 2] - floor
        band = (above > settings.step_m) & (above < settings.robot_height_m)
        obstacles = _clean(_mass(empty, points[band], weights[band]) >= settings.min_cell_opacity, settings.min_cells)
        near_path = _near(empty, walked[:, :2])
        obstacles &= near_path > settings.robot_radius_m / 2
        ground = _mass(empty, points[np.abs(above) < settings.step_m], None) > 0
        known = _closed(ground, settings.floor_gap_m / settings.resolution_m) | obstacles
        known |= near_path <= settings.robot_radius_m
        standing = (above > settings.step_m) & (above < _SIGHT_HEIGHT_M)
        heights = _tops(empty, points[standing], above[standing]) * _clean(
            _mass(empty, points[standing], weights[standing]) >= settings.min_cell_opacity, settings.min_cells
        )
        return cls._of(
            Grid2D(origin, settings.resolution_m, obstacles), ~known, heights, floor, walked[:, :2], settings
        )

    @classmethod
    def from_grid(
        cls, blocked: Grid2D, floor_m: float = 0.0, robot_radius_m: float = 0.0, walked_xy: ArrayLike = ()
    ) -> "NavigationMap":
        """Take a grid that already says where the robot's centre must not be, such as a simulator's truth."""
        walked = np.asarray(walked_xy, np.float64).reshape(-1, 2)
        nothing = np.zeros(blocked.shape)
        return cls(blocked, nothing.astype(bool), nothing, blocked, floor_m, walked, robot_radius_m)

    @classmethod
    def _of(
        cls,
        obstacles: Grid2D,
        unknown: Bool[NDArray[np.bool_], "ny nx"],
        heights: Float[NDArray[np.float64], "ny nx"],
        floor: float,
        walked: Float[NDArray[np.float64], "n 2"],
        settings: NavigationSettings,
    ) -> "NavigationMap":
        inflated = obstacles.inflate(settings.robot_radius_m + settings.margin_m).data
        blocked = Grid2D(obstacles.origin_xy, obstacles.resolution_m, inflated | unknown)
        return cls(obstacles, unknown, heights, blocked, floor, walked, settings.robot_radius_m)

    @cached_property
    def regions(self) -> Int[NDArray[np.int32], "ny nx"]:
        """Number of the connected free region of each cell; 0: blocked."""
        from scipy.ndimage import label

        return np.asarray(label(~self.blocked.data)[0], np.int32)

    def home_region(self, robot_xy: ArrayLike | None = None) -> int:
        """Return the region that the robot can walk in: around `robot_xy`, or else where most of its walk lay.

        Raises:
            PlanningError: no free cell is near.
        """
        if robot_xy is not None:
            from m3_ros.planner.path import nearest_free

            row, column = self.blocked.world_to_cell(nearest_free(self.blocked, robot_xy, 1.0))
            return int(self.regions[row, column])
        cells = self.blocked.world_to_cell(self.walked_xy)
        cells = cells[self.blocked.inside(cells)]
        regions = self.regions[cells[:, 0], cells[:, 1]] if len(cells) else self.regions.ravel()
        count = np.bincount(regions[regions > 0], minlength=2)
        if count.max() == 0:
            count = np.bincount(self.regions[self.regions > 0], minlength=2)
        if count.max() == 0:
            raise PlanningError("the map has no free cell: the robot is too large for it, or the floor was not seen")
        return int(count.argmax())


def floor_height(
    points: Float[NDArray[np.float64], "n 3"],
    weights: Float[NDArray[np.float64], " n"],
    camera_heights: Float[NDArray[np.float64], " f"],
) -> float:
    """Return the floor's height [m]: the lowest strong layer of matter below the cameras."""
    ceiling = float(camera_heights.min()) - 0.05 if len(camera_heights) else np.inf
    below = points[:, 2] < ceiling
    z, w = (points[below, 2], weights[below]) if below.any() else (points[:, 2], weights)
    size = 0.02
    low = float(np.quantile(z, 0.001)) - size
    index = np.floor((z.clip(min=low) - low) / size).astype(np.int64)
    layers = np.convolve(np.bincount(index, w, minlength=3), [1.0, 2.0, 1.0], mode="same")
    strong = np.flatnonzero(layers >= 0.4 * layers.max())
    first = int(strong[0])
    run = layers[first : first + 4]
    rough = low + (first + int(run.argmax()) + 0.5) * size
    near = np.abs(z - rough) < 2 * size
    return float(np.average(z[near], weights=w[near]))


def _matter(
    memory: SpatialMemory, solid: torch.Tensor
) -> tuple[Float[NDArray[np.float64], "m 3"], Float[NDArray[np.float64], " m"]]:
    """Stand each solid Gaussian in by its centre and both ends of its axes, each with half of its opacity."""
    g = memory.gaussians[solid]
    values, vectors = torch.linalg.eigh(g.covariances.double())
    reach = vectors * values.clamp(min=0).sqrt()[:, None, :].clamp(max=0.15)
    means = g.means.double()[:, None, :]
    points = torch.cat([means, means + reach.mT, means - reach.mT], dim=1).reshape(-1, 3)
    weights = (g.opacities.double() / 2)[:, None].expand(-1, 7).reshape(-1)
    return points.numpy(), weights.numpy()


def _extent(
    points: Float[NDArray[np.float64], "m 3"], walked: Float[NDArray[np.float64], "f 3"], settings: NavigationSettings
) -> tuple[Float[NDArray[np.float64], "2"], tuple[int, int]]:
    low, high = np.quantile(points[:, :2], [0.001, 0.999], axis=0)
    pad = settings.robot_radius_m + 0.1
    if len(walked):
        low, high = np.minimum(low, walked[:, :2].min(axis=0)), np.maximum(high, walked[:, :2].max(axis=0))
    if (high - low).max() > settings.max_side_m:
        raise PlanningError(
            f"the place is {(high - low).max():.0f} m wide, more than the {settings.max_side_m:.0f} m of a map: "
            "raise max_side_m and resolution_m"
        )
    origin = np.floor((low - pad) / settings.resolution_m) * settings.resolution_m
    nx, ny = np.ceil((high + pad - origin) / settings.resolution_m).astype(int)
    return origin, (int(ny), int(nx))


def _cells(grid: Grid2D, points: Float[NDArray[np.float64], "n 3"]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    cells = grid.world_to_cell(points[:, :2])
    inside = grid.inside(cells)
    flat = cells[inside, 0] * grid.shape[1] + cells[inside, 1]
    return flat, inside


def _mass(
    grid: Grid2D, points: Float[NDArray[np.float64], "n 3"], weights: Float[NDArray[np.float64], " n"] | None
) -> Float[NDArray[np.float64], "ny nx"]:
    flat, inside = _cells(grid, points)
    mass = np.bincount(flat, None if weights is None else weights[inside], grid.data.size)
    return np.asarray(mass.reshape(grid.shape), np.float64)


def _tops(
    grid: Grid2D, points: Float[NDArray[np.float64], "n 3"], above: Float[NDArray[np.float64], " n"]
) -> Float[NDArray[np.float64], "ny nx"]:
    flat, inside = _cells(grid, points)
    tops = np.zeros(grid.data.size)
    np.maximum.at(tops, flat, above[inside])
    return tops.reshape(grid.shape)


def _near(grid: Grid2D, xy: Float[NDArray[np.float64], "n 2"]) -> Float[NDArray[np.float64], "ny nx"]:
    """Return the distance of each cell to the walk [m], taken as straight lines between its points."""
    marks = np.zeros(grid.shape, bool)
    for a, b in pairwise(xy):
        steps = int(np.ceil(np.linalg.norm(b - a) / (grid.resolution_m / 2))) + 1
        line = a + np.linspace(0, 1, steps)[:, None] * (b - a) if np.linalg.norm(b - a) < 1.0 else np.stack([a, b])
        cells = grid.world_to_cell(line)
        cells = cells[grid.inside(cells)]
        marks[cells[:, 0], cells[:, 1]] = True
    return Grid2D(grid.origin_xy, grid.resolution_m, marks).clearance_m


def _clean(mask: Bool[NDArray[np.bool_], "ny nx"], min_cells: int) -> Bool[NDArray[np.bool_], "ny nx"]:
    """Remove specks: connected groups of fewer than `min_cells` cells."""
    from scipy.ndimage import label

    groups, _ = label(mask, np.ones((3, 3)))
    large = np.bincount(groups.ravel()) >= min_cells
    large[0] = False
    return np.asarray(large[groups])


def _closed(mask: Bool[NDArray[np.bool_], "ny nx"], width_cells: float) -> Bool[NDArray[np.bool_], "ny nx"]:
    """Fill holes up to the given width."""
    from scipy.ndimage import distance_transform_edt

    radius = width_cells / 2
    if radius < 1 or not mask.any():
        return mask
    pad = int(np.ceil(radius)) + 1
    grown = distance_transform_edt(~np.pad(mask, pad)) <= radius
    closed = distance_transform_edt(grown) > radius
    return np.asarray(closed[pad:-pad, pad:-pad] | mask)
