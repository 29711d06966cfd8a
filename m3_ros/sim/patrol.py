"""A walk through a whole room: a smooth closed path past every part of the free floor, looking left and right."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from m3_ros.errors import SimulationError
from m3_ros.geometry.grid import Grid2D
from m3_ros.sim.quadruped import RADIUS, RobotState
from m3_ros.sim.world import World

Points = Float[NDArray[np.float64], "N 2"]
STEP_M = 0.02  # between points of the path
OPEN_M = 0.15  # waypoints stay this much farther from things than the path has to, where they can


@dataclass(frozen=True)
class PatrolSettings:
    """How to walk."""

    speed: float = 0.5
    """Along the path [m/s]."""
    rate_hz: float = 15.0
    """States per second."""
    clearance_m: float = RADIUS + 0.07
    """Distance the planned path keeps from things [m]; smoothing may use up what exceeds the robot's radius."""
    spacing_m: float = 1.5
    """Every free place is nearer than this to a waypoint [m]."""
    sweep: float = 0.75
    """How far the body turns to both sides [rad]."""
    inward: float = 1.0
    """How much it prefers to look towards the middle of the room; 0: along the path."""
    sweep_period_s: float = 7.0
    """Time of a sweep to both sides [s]."""
    yaw_rate: float = 0.9
    """Fastest turn [rad/s]."""


def patrol(world: World, settings: PatrolSettings | None = None) -> tuple[RobotState, ...]:
    """Return the states of one round through the room, collision-free on `world.free_space()`.

    Raises:
        SimulationError: no place in the room is free.
    """
    walk = settings or PatrolSettings()
    return _walk_along(patrol_path(world, walk), walk)


def patrol_path(world: World, settings: PatrolSettings) -> Points:
    """Return the closed path of the patrol [m], `STEP_M` between points.

    Raises:
        SimulationError: no place in the room is free.
    """
    planned = world.free_space(robot_radius_m=settings.clearance_m)
    return closed_path(planned, world.free_space(robot_radius_m=RADIUS), settings.spacing_m)


def closed_path(planned: Grid2D, allowed: Grid2D, spacing_m: float) -> Points:
    """Return a smooth closed path [m], `STEP_M` between points, that comes near every place free in `planned`.

    Raises:
        SimulationError: nothing is free.
    """
    cells, graph = _floor_graph(planned)
    stops, distance, before = _waypoints(graph, spacing_m, planned.clearance_m[tuple(cells.T)] > OPEN_M)
    order = _tour(distance[:, stops])
    route: list[int] = []
    for a, b in zip(order, [*order[1:], order[0]], strict=True):
        leg = [stops[b]]
        while leg[-1] != stops[a]:
            leg.append(int(before[a, leg[-1]]))
        route += leg[:0:-1]
    points = planned.cell_to_world(cells[route])
    return _smoothed(points, allowed)


def _floor_graph(grid: Grid2D) -> tuple[Int[NDArray[np.int64], "N 2"], Any]:
    """Return the cells of the largest free area and the sparse graph of steps between them, dear close to things."""
    from scipy import ndimage, sparse

    labels, count = ndimage.label(~grid.data)
    if count == 0:
        raise SimulationError("the patrol needs free floor and the room has none: take another seed")
    main: Bool[NDArray[np.bool_], "ny nx"] = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
    cells = np.argwhere(main)
    index = np.full(main.shape, -1)
    index[main] = np.arange(len(cells))
    price = 1 + 0.2 / (grid.clearance_m + 0.05)
    rows, columns, weights = [], [], []
    for step in ((0, 1), (1, 0), (1, 1), (1, -1)):
        there = cells + step
        known = (there >= 0).all(axis=1) & (there < main.shape).all(axis=1)
        here, there = cells[known], there[known]
        free = main[tuple(there.T)]
        here, there = here[free], there[free]
        rows.append(index[tuple(here.T)])
        columns.append(index[tuple(there.T)])
        weights.append(np.hypot(*step) * grid.resolution_m * (price[tuple(here.T)] + price[tuple(there.T)]) / 2)
    pairs = np.concatenate(rows), np.concatenate(columns)
    graph = sparse.csr_matrix((np.concatenate(weights), pairs), shape=(len(cells), len(cells)))
    return cells, graph


def _waypoints(
    graph: Any, spacing_m: float, open_places: Bool[NDArray[np.bool_], " N"]
) -> tuple[list[int], Float[NDArray[np.float64], "S N"], Int[NDArray[np.int64], "S N"]]:
    """Sample the farthest open places until all are near one; returns them, their distances, shortest-path trees."""
    from scipy.sparse.csgraph import dijkstra

    wanted = open_places if open_places.any() else np.ones_like(open_places)
    stops, distances, trees = [int(np.argmax(wanted))], [], []
    while True:
        distance, before = dijkstra(graph, directed=False, indices=stops[-1:], return_predecessors=True)
        distances.append(distance[0])
        trees.append(before[0])
        nearest = np.where(wanted, np.min(distances, axis=0), 0)
        farthest = int(np.argmax(nearest))
        if nearest[farthest] < spacing_m:
            return stops, np.array(distances), np.array(trees)
        stops.append(farthest)


def _tour(distance: Float[NDArray[np.float64], "S S"]) -> list[int]:
    """Return a short round trip through all stops: nearest neighbour, then 2-opt."""
    count = len(distance)
    order = [0]
    while len(order) < count:
        left = [s for s in range(count) if s not in order]
        order.append(min(left, key=lambda s: float(distance[order[-1], s])))
    improved = True
    while improved:
        improved = False
        for i in range(1, count - 1):
            for j in range(i + 1, count):
                a, b, c, d = order[i - 1], order[i], order[j], order[(j + 1) % count]
                if distance[a, c] + distance[b, d] < distance[a, b] + distance[c, d] - 1e-9:
                    order[i : j + 1] = order[i : j + 1][::-1]
                    improved = True
    return order


def _smoothed(points: Points, allowed: Grid2D) -> Points:
    """Average a closed path over as long a window as stays free, and space it evenly."""
    even = _even(points)
    for window_m in (1.2, 0.9, 0.6, 0.4, 0.24, 0.12):
        size = min(2 * int(window_m / STEP_M / 2) + 1, len(even))
        kernel = np.hanning(size + 2)[1:-1]
        kernel /= kernel.sum()
        wrapped = np.concatenate([even[-(size // 2) :], even, even[: size // 2]]) if size > 1 else even
        smooth = np.stack([np.convolve(wrapped[:, axis], kernel, "valid") for axis in (0, 1)], axis=1)
        rows, columns = allowed.world_to_cell(smooth).T
        if not allowed.data[rows, columns].any():
            return _even(smooth)
    return even


def _even(points: Points) -> Points:
    """Resample a closed path at equal steps."""
    closed = np.concatenate([points, points[:1]])
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    count = max(4, round(along[-1] / STEP_M))
    at = np.linspace(0, along[-1], count, endpoint=False)
    return np.stack([np.interp(at, along, closed[:, axis]) for axis in (0, 1)], axis=1)


def _walk_along(path: Points, walk: PatrolSettings) -> tuple[RobotState, ...]:
    length = len(path) * STEP_M
    count, dt = max(2, round(length / walk.speed * walk.rate_hz)), 1 / walk.rate_hz
    closed = np.concatenate([path, path[:1]])
    at = np.arange(count + 1) * dt * walk.speed % length / STEP_M
    xy = np.stack([np.interp(at, np.arange(len(closed)), closed[:, axis]) for axis in (0, 1)], axis=1)
    velocity = np.diff(xy, axis=0) / dt
    ahead = velocity / walk.speed
    middle = (path.min(axis=0) + path.max(axis=0)) / 2 - xy[:-1]
    gaze = ahead + walk.inward * middle / np.maximum(np.linalg.norm(middle, axis=1, keepdims=True), 1)
    heading = np.arctan2(gaze[:, 1], gaze[:, 0])
    sweep = walk.sweep * np.sin(2 * np.pi * np.arange(count) * dt / walk.sweep_period_s)
    yaw = _followed(heading + sweep, walk.yaw_rate * dt)
    turn = np.diff(yaw, append=yaw[-1]) / dt
    states = []
    for i in range(count):
        c, s = np.cos(yaw[i]), np.sin(yaw[i])
        vx, vy = c * velocity[i, 0] + s * velocity[i, 1], c * velocity[i, 1] - s * velocity[i, 0]
        x, y = (float(v) for v in xy[i])
        states.append(RobotState(i * dt, x, y, float(yaw[i]), float(vx), float(vy), float(turn[i])))
    return tuple(states)


def _followed(wanted: Float[NDArray[np.float64], " N"], largest: float) -> Float[NDArray[np.float64], " N"]:
    """Follow angles with bounded steps [rad], easing in."""
    yaw = np.empty_like(wanted)
    yaw[0], step = wanted[0], 0.0
    for i in range(1, len(wanted)):
        error = (wanted[i] - yaw[i - 1] + np.pi) % (2 * np.pi) - np.pi
        step = 0.7 * step + 0.3 * float(np.clip(0.5 * error, -largest, largest))
        yaw[i] = yaw[i - 1] + step
    return yaw
