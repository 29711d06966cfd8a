from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from m3_ros.errors import PlanningError
from m3_ros.geometry.box import OrientedBox
from m3_ros.geometry.grid import Grid2D
from m3_ros.geometry.pose import from_yaw, yaw_of
from m3_ros.planner import ApproachSettings, NavigationMap, NavigationSettings, approach, reachable, shortest_path
from m3_ros.query import Finder
from m3_ros.query.answer import Candidate


def thing_at(x, y, z=0.4, size=(0.4, 0.4, 0.8), yaw=0.0):
    box = OrientedBox(from_yaw(x, y, yaw, z), np.array(size, float))
    return Candidate(0, 0.9, box.centre, np.eye(3) * 0.01, box, torch.zeros(0, dtype=torch.bool), ())


def map_with(boxes, side=6.0, resolution=0.05, height=0.8):
    n = round(side / resolution)
    data, heights = np.zeros((n, n), bool), np.zeros((n, n))
    data[[0, -1]] = data[:, [0, -1]] = True
    for x0, x1, y0, y1 in boxes:
        rows, columns = (slice(round(a / resolution), round(b / resolution)) for a, b in ((y0, y1), (x0, x1)))
        data[rows, columns], heights[rows, columns] = True, height
    obstacles = Grid2D(np.zeros(2), resolution, data)
    blocked = obstacles.inflate(0.3)
    return NavigationMap(obstacles, np.zeros((n, n), bool), heights, blocked, 0.0, np.zeros((0, 2)), 0.3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.5, 5.0), st.floats(0.5, 5.0), st.floats(0.1, 0.9), st.floats(0.1, 0.9)), max_size=5),
    st.floats(0.8, 5.2),
    st.floats(0.8, 5.2),
    st.floats(0, 3),
    st.booleans(),
)
def test_approach_is_free_reachable_and_faces_the_thing(boxes, x, y, yaw, with_robot):
    things = [(a, min(a + w, 5.9), b, min(b + h, 5.9)) for a, b, w, h in boxes]
    nav_map = map_with([*things, (x - 0.2, x + 0.2, y - 0.2, y + 0.2)])
    robot = (0.6, 0.6) if with_robot and nav_map.blocked.is_free((0.6, 0.6)) else None
    thing = thing_at(x, y, yaw=yaw)
    try:
        stand = approach(nav_map, thing, robot)
    except PlanningError:
        return
    xy = stand.T_map_base[:2, 3]
    assert nav_map.blocked.is_free(xy)
    assert stand.clearance_m > 0.3
    assert robot is None or reachable(nav_map.blocked, robot, xy)
    towards = thing.centre[:2] - xy
    assert yaw_of(stand.T_map_base) == pytest.approx(float(np.arctan2(towards[1], towards[0])))
    assert 0.4 <= stand.distance_m <= 1.5


def test_in_the_open_it_stands_at_the_preferred_distance_on_the_robots_side():
    stand = approach(map_with([(2.8, 3.2, 2.8, 3.2)]), thing_at(3.0, 3.0), (1.0, 3.0))
    assert stand.distance_m == pytest.approx(ApproachSettings().preferred_distance_m, abs=0.06)
    assert stand.T_map_base[0, 3] < 3.0
    assert stand.visible


def test_it_stands_where_the_thing_is_in_sight():
    # A wall right before the thing: the robot's own side is nearer, but hidden.
    nav_map = map_with([(2.8, 3.2, 2.8, 3.2), (2.2, 2.3, 2.0, 4.0)])
    stand = approach(nav_map, thing_at(3.0, 3.0), (1.0, 3.0))
    assert stand.visible
    assert stand.T_map_base[0, 3] > 2.3


def test_a_low_thing_in_between_hides_nothing():
    nav_map = map_with([(2.2, 2.3, 2.0, 4.0)], height=0.15)
    xy = np.array([[1.5, 3.0]])
    from m3_ros.planner.approach import in_sight

    assert in_sight(nav_map, thing_at(3.0, 3.0).box, xy, 0.4).all()
    assert not in_sight(map_with([(2.2, 2.3, 2.0, 4.0)], height=1.0), thing_at(3.0, 3.0).box, xy, 0.4).any()


def test_thing_in_a_closed_yard_cannot_be_reached():
    yard = [(2, 5, 2, 2.1), (2, 5, 4.9, 5), (2, 2.1, 2, 5), (4.9, 5, 2, 5)]
    with pytest.raises(PlanningError, match="cannot be reached"):
        approach(map_with(yard), thing_at(3.5, 3.5), (1.0, 1.0))


def test_thing_among_obstacles_has_no_free_floor():
    with pytest.raises(PlanningError, match="no free floor"):
        approach(map_with([(1, 5, 1, 5)]), thing_at(3.0, 3.0), (0.5, 0.5))


def test_floor_of_a_memory_is_found_and_its_things_are_obstacles(coloured_room):
    nav_map = NavigationMap.from_memory(coloured_room.memory, NavigationSettings(margin_m=0.0))
    assert nav_map.floor_m == pytest.approx(0.0, abs=0.02)
    for name, centre in coloured_room.centres.items():
        assert not nav_map.blocked.is_free(centre[:2]), name
        corner = np.array(centre[:2]) + np.array(coloured_room.sizes[name][:2]) / 2 + 0.3
        assert nav_map.blocked.is_free(corner + 0.1), name
    assert nav_map.blocked.is_free((0.0, 0.0))
    assert not nav_map.blocked.is_free((2.4, 0.0))  # before the wall
    assert not nav_map.blocked.is_free((-2.7, 0.0))  # where no floor was seen


def test_robot_gets_from_the_question_to_the_goal(coloured_room):
    nav_map = NavigationMap.from_memory(coloured_room.memory)
    finder = Finder(coloured_room.memory, coloured_room.encoder)
    for name, centre in coloured_room.centres.items():
        stand = approach(nav_map, finder.find(name).candidates[0], (0.0, 0.0))
        path = shortest_path(nav_map.blocked, (0.0, 0.0), stand.T_map_base[:2, 3])
        assert stand.visible
        assert np.linalg.norm(path[-1] - centre[:2]) < 1.6


def test_memory_shifted_in_height_gives_the_same_map(coloured_room):
    memory, frames = coloured_room.memory, coloured_room.memory.keyframes
    up = np.array(frames.T_map_camera)
    up[:, 2, 3] += 3.0
    g = memory.gaussians
    shifted = replace(
        memory,
        gaussians=replace(g, means=g.means + torch.tensor([0.0, 0.0, 3.0])),
        keyframes=replace(frames, T_map_camera=up),
    )
    a, b = NavigationMap.from_memory(memory), NavigationMap.from_memory(shifted)
    assert b.floor_m == pytest.approx(a.floor_m + 3.0, abs=0.01)
    assert (a.blocked.data != b.blocked.data).mean() < 0.01


def test_map_of_a_simulators_grid_is_that_grid():
    grid = map_with([(2.8, 3.2, 2.8, 3.2)]).blocked
    nav_map = NavigationMap.from_grid(grid)
    stand = approach(nav_map, thing_at(3.0, 3.0), (1.0, 3.0))
    assert grid.is_free(stand.T_map_base[:2, 3])


def test_memory_without_matter_has_no_map(coloured_room):
    blind = replace(coloured_room.memory, visibility=torch.zeros(len(coloured_room.memory.gaussians)))
    with pytest.raises(PlanningError, match="nothing solid"):
        NavigationMap.from_memory(blind)
