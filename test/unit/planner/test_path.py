import heapq
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from m3_ros.errors import PlanningError
from m3_ros.geometry.grid import Grid2D
from m3_ros.planner import line_is_free, nearest_free, path_length, reachable, shortest_path


def random_grid(seed, share=0.25, shape=(18, 24)):
    return Grid2D(np.array([-0.7, 0.3]), 0.1, np.random.default_rng(seed).random(shape) < share)


def free_points(grid, seed, count=2):
    rng = np.random.default_rng(seed)
    free = np.argwhere(~grid.data)
    cells = free[rng.integers(0, len(free), count)]
    return grid.cell_to_world(cells) + rng.uniform(-0.045, 0.045, (count, 2))


def samples(path):
    return np.concatenate(
        [a + np.linspace(0, 1, 400)[:, None] * (b - a) for a, b in pairwise(path)]
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.0, 0.45), st.booleans())
def test_path_never_touches_a_blocked_cell(seed, share, straighten):
    grid = random_grid(seed, share)
    start, goal = free_points(grid, seed)
    assume(reachable(grid, start, goal))
    path = shortest_path(grid, start, goal, straighten)
    assert np.allclose(path[[0, -1]], [start, goal])
    assert grid.is_free(samples(path)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_path_exists_exactly_where_free_cells_join_the_points(seed):
    grid = random_grid(seed, 0.45)
    start, goal = free_points(grid, seed)
    try:
        shortest_path(grid, start, goal)
        found = True
    except PlanningError:
        found = False
    assert found == reachable(grid, start, goal)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_unstraightened_path_is_as_short_as_dijkstras(seed):
    grid = random_grid(seed)
    start, goal = grid.cell_to_world(grid.world_to_cell(free_points(grid, seed)))
    assume(reachable(grid, start, goal))
    expected = dijkstra(grid, start, goal)
    assert path_length(shortest_path(grid, start, goal, straighten=False)) == pytest.approx(expected, abs=1e-6)
    assert path_length(shortest_path(grid, start, goal)) <= expected + 1e-6


def dijkstra(grid, start, goal):
    a, b = (tuple(grid.world_to_cell(p)) for p in (start, goal))
    best, queue = {a: 0.0}, [(0.0, a)]
    while queue:
        cost, (r, c) = heapq.heappop(queue)
        if (r, c) == b:
            return cost * grid.resolution_m
        for dr in (-1, 0, 1):
            for dc in (-1, 0, 1):
                n = (r + dr, c + dc)
                if grid.inside(n) and not (grid.data[n] or grid.data[r, n[1]] or grid.data[n[0], c]):
                    new = cost + np.hypot(dr, dc)
                    if new < best.get(n, np.inf) - 1e-12:
                        best[n] = new
                        heapq.heappush(queue, (new, n))
    return np.inf


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_free_line_enters_no_blocked_cell_and_is_symmetric(seed):
    grid = random_grid(seed, 0.08)
    a, b = free_points(grid, seed)
    free = line_is_free(grid, a, b)
    assert free == line_is_free(grid, b, a)
    if free:
        assert grid.is_free(samples(np.stack([a, b]))).all()


def test_line_through_the_corner_of_a_blocked_cell_is_not_free():
    data = np.zeros((4, 4), bool)
    data[1, 2] = True
    grid = Grid2D(np.zeros(2), 1.0, data)
    assert not line_is_free(grid, (1.5, 1.5), (2.5, 2.5))
    assert not line_is_free(grid, (1.0, 0.5), (2.5, 2.0))
    assert line_is_free(grid, (0.5, 0.5), (0.5, 3.5))


def test_path_in_the_open_is_a_straight_line():
    grid = Grid2D(np.zeros(2), 0.05, np.zeros((60, 60), bool))
    assert len(shortest_path(grid, (0.2, 0.2), (2.6, 1.3))) == 2


def test_blocked_ends_and_separate_rooms_are_refused():
    data = np.zeros((20, 20), bool)
    data[:, 10] = True
    grid = Grid2D(np.zeros(2), 0.1, data)
    with pytest.raises(PlanningError, match="goal"):
        shortest_path(grid, (0.5, 0.5), (1.05, 0.5))
    with pytest.raises(PlanningError, match="start"):
        shortest_path(grid, (-5.0, 0.5), (0.5, 0.5))
    with pytest.raises(PlanningError, match="no free path"):
        shortest_path(grid, (0.5, 0.5), (1.55, 0.5))


def test_nearest_free_moves_only_blocked_points():
    data = np.zeros((20, 20), bool)
    data[:, 10] = True
    grid = Grid2D(np.zeros(2), 0.1, data)
    assert nearest_free(grid, (0.512, 0.5), 0.3).tolist() == [0.512, 0.5]
    moved = nearest_free(grid, (1.04, 0.5), 0.3)
    assert grid.is_free(moved)
    assert np.linalg.norm(moved - [1.04, 0.5]) < 0.12
    with pytest.raises(PlanningError, match="free floor"):
        nearest_free(grid, (-5.0, 0.0), 0.3)
