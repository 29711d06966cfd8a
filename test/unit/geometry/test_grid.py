import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3_ros.geometry.grid import Grid2D


def grid_with(blocked, shape=(40, 60), origin=(-1.5, 2.0), resolution=0.05):
    data = np.zeros(shape, bool)
    for cell in blocked:
        data[cell] = True
    return Grid2D(np.array(origin), resolution, data)


@given(st.integers(0, 39), st.integers(0, 59))
def test_centre_of_a_cell_lies_in_that_cell(row, column):
    grid = grid_with([])
    assert grid.world_to_cell(grid.cell_to_world((row, column))).tolist() == [row, column]


def test_point_in_a_blocked_cell_or_outside_is_not_free():
    grid = grid_with([(3, 5)])
    x0, x1, y0, y1 = grid.extent
    assert not grid.is_free(grid.cell_to_world((3, 5)))
    assert grid.is_free(grid.cell_to_world((3, 6)))
    assert grid.is_free(np.array([[x0 - 1, y0 + 1], [x1 - 0.01, y1 - 0.01], [x1 + 0.01, y0]])).tolist() == [
        False,
        True,
        False,
    ]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 59)), min_size=1, max_size=5), st.floats(0.0, 0.6))
def test_inflate_blocks_exactly_the_cells_within_the_radius(blocked, radius):
    grid = grid_with(blocked)
    rows, columns = np.indices(grid.shape)
    distance = np.min([np.hypot(rows - r, columns - c) for r, c in blocked], axis=0) * grid.resolution_m
    sure = np.abs(distance - radius) > 1e-6
    assert (grid.inflate(radius).data == (distance <= radius))[sure].all()


def test_empty_grid_has_infinite_clearance():
    assert np.isinf(grid_with([]).clearance_m).all()


def test_bad_grids_are_refused():
    with pytest.raises(ValueError, match="resolution"):
        Grid2D(np.zeros(2), 0.0, np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match="boolean"):
        Grid2D(np.zeros(2), 0.1, np.zeros((2, 2)))
