from itertools import islice

import numpy as np
import pytest

from m3_ros.errors import SimulationError
from m3_ros.sim import PatrolSettings, PhysicsRobot, RobotState, World, WorldSettings, physics_patrol
from m3_ros.sim.patrol import patrol_path

pytest.importorskip("mujoco", reason="the simulator is an extra")


@pytest.fixture(scope="module")
def bare_world():
    return World.generate(WorldSettings(seed=8, texel_m=0.3, light_samples=1, bounces=0))


def test_servos_and_contacts_carry_the_robot_forward(bare_world):
    robot = PhysicsRobot(bare_world, RobotState(0, 0, 0, 0))
    start = robot.T_map_base
    end = robot.drive(0.35, 0.0, 2.0)
    assert 0.4 < end[0, 3] - start[0, 3] < 0.8  # the feet slip a little
    assert abs(end[1, 3]) < 0.15
    assert end[2, 2] > 0.98


def test_a_robot_on_its_back_has_fallen(bare_world):
    robot = PhysicsRobot(bare_world, RobotState(0, 0, 0, 0))
    robot._data.qpos[3:7] = [0, 1, 0, 0]
    with pytest.raises(SimulationError, match="fell"):
        robot.drive(0.0, 0.0, 0.1)


def test_the_physics_patrol_follows_the_path(bare_world):
    walk = PatrolSettings(rate_hz=10.0)
    path = patrol_path(bare_world, walk)
    poses = list(islice(physics_patrol(bare_world, walk), 60))
    xy = np.array([pose[:2, 3] for _, pose in poses])
    off = np.linalg.norm(xy[:, None] - path[None], axis=2).min(axis=1)
    assert off.max() < 0.2
    assert np.linalg.norm(np.diff(xy, axis=0), axis=1).sum() > 0.9
    assert poses[-1][0] == pytest.approx(6.3, abs=0.1)
