from itertools import pairwise

import numpy as np
import pytest

from m3_ros.sim.quadruped import RobotState
from m3_ros.sim.walk import WalkSettings, walk_path

CORNER = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.5]])


@pytest.fixture(scope="module")
def walk():
    return list(walk_path(RobotState(0.0, 0.0, 0.0, 2.5), CORNER, -1.0))


def test_walk_ends_still_at_the_goal_with_its_heading(walk):
    last = walk[-1]
    assert (last.x, last.y) == pytest.approx((2.0, 1.5))
    assert last.yaw % (2 * np.pi) == pytest.approx(2 * np.pi - 1.0, abs=0.02)
    assert (last.vx, last.vy, last.yaw_rate) == (0.0, 0.0, 0.0)


def test_walk_never_leaves_the_path(walk):
    for state in walk:
        on_first = abs(state.y) < 1e-9 and -1e-9 <= state.x <= 2 + 1e-9
        on_second = abs(state.x - 2) < 1e-9 and -1e-9 <= state.y <= 1.5 + 1e-9
        assert on_first or on_second


def test_walk_keeps_its_speed_limits(walk):
    settings = WalkSettings()
    for state in walk:
        assert np.hypot(state.vx, state.vy) <= settings.speed + 1e-9
        assert abs(state.yaw_rate) <= settings.yaw_rate + 1e-9


def test_velocity_in_the_robots_frame_agrees_with_its_motion(walk):
    for before, after in pairwise(walk):
        dt = after.t - before.t
        c, s = np.cos(before.yaw), np.sin(before.yaw)
        moved = np.array([c * after.vx - s * after.vy, s * after.vx + c * after.vy]) * dt
        np.testing.assert_allclose([after.x - before.x, after.y - before.y], moved, atol=1e-9)


def test_a_path_to_where_the_robot_stands_only_turns():
    states = list(walk_path(RobotState(0.0, 1.0, 1.0, 0.0), np.array([[1.0, 1.0]]), 0.5))
    assert all((s.x, s.y) == (1.0, 1.0) for s in states)
    assert states[-1].yaw == pytest.approx(0.5, abs=0.02)
