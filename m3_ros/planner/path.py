"""Paths over a grid: A* on eight neighbours, then straightened wherever nothing is in the way."""

import heapq
from math import hypot, inf, sqrt

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from m3_ros.errors import PlanningError
from m3_ros.geometry.grid import Grid2D

Cell = tuple[int, int]
_STEPS = tuple((dr, dc, hypot(dr, dc)) for dr in (-1, 0, 1) for dc in (-1, 0, 1) if dr or dc)


def shortest_path(
    grid: Grid2D, start_xy: ArrayLike, goal_xy: ArrayLike, straighten: bool = True
) -> Float[NDArray[np.float64], "n 2"]:
    """Return the points (x, y) [m] of a shortest path that enters no blocked cell and cuts no corner.

    Args:
        grid: blocked cells, already inflated by the robot's radius.
        start_xy: first point of the path [m].
        goal_xy: last point of the path [m].
        straighten: replace corners by straight lines through free cells.

    Raises:
        PlanningError: start or goal is blocked, or no path joins them.
    """
    start, goal = np.asarray(start_xy, np.float64), np.asarray(goal_xy, np.float64)
    for name, xy in (("start", start), ("goal", goal)):
        if xy.shape != (2,) or not np.isfinite(xy).all() or not grid.is_free(xy):
            raise PlanningError(
                f"the {name} {np.round(xy, 2).tolist()} is not in free space: choose another, or use nearest_free"
            )
    a, b = (grid.world_to_cell(xy) for xy in (start, goal))
    cells = _a_star(grid.data, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])))
    if cells is None:
        raise PlanningError(f"no free path leads from {np.round(start, 2).tolist()} to {np.round(goal, 2).tolist()}")
    between = np.array(cells, np.int64)[1:-1]
    path = np.concatenate([start[None], grid.cell_to_world(between), goal[None]])
    return _straightened(grid, path) if straighten else path


def reachable(grid: Grid2D, start_xy: ArrayLike, goal_xy: ArrayLike) -> bool:
    """Tell whether free cells join two points [m]."""
    from scipy.ndimage import label

    if not (grid.is_free(start_xy) and grid.is_free(goal_xy)):
        return False
    regions = label(~grid.data)[0]
    a, b = grid.world_to_cell(start_xy), grid.world_to_cell(goal_xy)
    return bool(regions[a[0], a[1]] == regions[b[0], b[1]])


def nearest_free(grid: Grid2D, xy: ArrayLike, within_m: float) -> Float[NDArray[np.float64], "2"]:
    """Return the point itself if it is free, or else the nearest free cell's centre.

    Raises:
        PlanningError: nothing within `within_m` is free.
    """
    point = np.asarray(xy, np.float64)
    if grid.is_free(point):
        return point
    free = grid.cell_to_world(np.argwhere(~grid.data)).reshape(-1, 2)
    distance = np.linalg.norm(free - point, axis=1)
    if len(free) == 0 or distance.min() > within_m:
        raise PlanningError(f"nothing within {within_m:.2f} m of {np.round(point, 2).tolist()} is free floor")
    return np.asarray(free[distance.argmin()])


def line_is_free(grid: Grid2D, a: ArrayLike, b: ArrayLike) -> bool:
    """Tell whether a straight line [m] touches free cells only; through a corner it touches the cells on both sides."""
    p = (np.asarray(a, np.float64) - grid.origin_xy) / grid.resolution_m
    q = (np.asarray(b, np.float64) - grid.origin_xy) / grid.resolution_m
    cuts = [np.array([0.0, 1.0])]
    for axis in range(2):
        low, high = sorted((p[axis], q[axis]))
        lines = np.arange(np.floor(low) + 1, high)
        if len(lines):
            cuts.append((lines - p[axis]) / (q[axis] - p[axis]))
    t = np.unique(np.concatenate(cuts).clip(0, 1))
    # A sliver to each side of every crossing: a line through a corner touches the cells on both sides of it.
    middles = (t[:-1] + t[1:]) / 2 if len(t) > 1 else t
    normal = np.array([-(q - p)[1], (q - p)[0]]) / max(float(np.linalg.norm(q - p)), 1e-12) * 1e-6
    at = np.concatenate([p + s[:, None] * (q - p) for s in (middles, t)])
    samples = np.concatenate([at + normal, at - normal]) * grid.resolution_m + grid.origin_xy
    return bool(grid.is_free(samples).all())


def path_length(path: Float[NDArray[np.float64], "n 2"]) -> float:
    """Return the length of a path [m]."""
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def _a_star(blocked: NDArray[np.bool_], start: Cell, goal: Cell) -> list[Cell] | None:
    """Find the shortest chain of cells; a diagonal step needs both cells beside it to be free."""
    rows, columns = blocked.shape
    closed = blocked.tolist()
    cost: dict[Cell, float] = {start: 0.0}
    parent: dict[Cell, Cell] = {}
    queue = [(_octile(start, goal), start)]
    done: set[Cell] = set()
    while queue:
        _, cell = heapq.heappop(queue)
        if cell == goal:
            return _chain(parent, cell)
        if cell in done:
            continue
        done.add(cell)
        r, c = cell
        for dr, dc, step in _STEPS:
            y, x = r + dr, c + dc
            if not (0 <= y < rows and 0 <= x < columns) or closed[y][x] or closed[r][x] or closed[y][c]:
                continue
            new = cost[cell] + step
            if new < cost.get((y, x), inf) - 1e-12:
                cost[y, x], parent[y, x] = new, cell
                heapq.heappush(queue, (new + _octile((y, x), goal), (y, x)))
    return None


def _octile(a: Cell, b: Cell) -> float:
    dr, dc = abs(a[0] - b[0]), abs(a[1] - b[1])
    return max(dr, dc) + (sqrt(2) - 1) * min(dr, dc)


def _chain(parent: dict[Cell, Cell], cell: Cell) -> list[Cell]:
    cells = [cell]
    while cells[-1] in parent:
        cells.append(parent[cells[-1]])
    return cells[::-1]


def _straightened(grid: Grid2D, path: Float[NDArray[np.float64], "n 2"]) -> Float[NDArray[np.float64], "m 2"]:
    """Keep only the corners that a free straight line cannot skip."""
    kept = [0]
    while kept[-1] < len(path) - 1:
        here = kept[-1]
        low, high = here + 1, len(path) - 1
        ahead = next((i for i in range(high, low, -1) if line_is_free(grid, path[here], path[i])), low)
        kept.append(ahead)
    return path[kept]
