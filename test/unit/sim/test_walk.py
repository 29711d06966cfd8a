import json

import numpy as np
import pytest

from m3_ros.errors import SimulationError
from m3_ros.geometry.pose import is_rigid
from m3_ros.sim import (
    Odometry,
    OdometrySettings,
    RobotState,
    T_base_camera,
    T_map_base,
    patrol,
    write_sequence,
)
from m3_ros.sim.quadruped import CALF, HIP, THIGH, leg_angles, trot


@pytest.fixture(scope="module")
def round_trip(world):
    return patrol(world)


def test_the_patrol_never_collides(world, round_trip):
    free = world.free_space()
    rows, columns = free.world_to_cell([[s.x, s.y] for s in round_trip]).T
    assert not free.data[rows, columns].any()


def test_the_patrol_is_smooth_and_closes(round_trip):
    xy = np.array([[s.x, s.y] for s in round_trip])
    steps = np.linalg.norm(np.diff(xy, axis=0), axis=1)
    dt = round_trip[1].t - round_trip[0].t
    assert steps.max() <= 0.5 * dt * 1.01
    assert np.linalg.norm(xy[0] - xy[-1]) < 0.1
    assert np.abs(np.diff([s.yaw for s in round_trip])).max() <= 0.9 * dt + 1e-6


def test_the_patrol_sees_every_thing_on_the_floor(world, round_trip, eye):
    pixels = np.zeros(len(world.instances) + 1, int)
    for state in round_trip[::12]:
        pixels += np.bincount(eye.shot(state).instances.ravel(), minlength=len(pixels))
    for instance in world.instances:
        if instance.minimum[2] < 0.05:
            assert pixels[instance.id] > 50, instance.name


def test_states_carry_the_velocity_of_the_walk(round_trip):
    a, b = round_trip[100], round_trip[101]
    c, s = np.cos(a.yaw), np.sin(a.yaw)
    step = np.array([c * a.vx - s * a.vy, s * a.vx + c * a.vy]) * (b.t - a.t)
    assert np.allclose([b.x - a.x, b.y - a.y], step, atol=1e-6)


def test_leg_angles_put_the_foot_where_it_was_wanted():
    for left in (1, -1):
        wanted = np.array([0.05, left * HIP + 0.03, -0.27])
        hip, thigh, calf = leg_angles(*wanted, left)
        knee = np.array([-THIGH * np.sin(thigh), 0, -THIGH * np.cos(thigh)])
        shin = np.array([-CALF * np.sin(thigh + calf), 0, -CALF * np.cos(thigh + calf)])
        x, _, z = knee + shin
        c, s = np.cos(hip), np.sin(hip)
        foot = np.array([x, c * left * HIP - s * z, s * left * HIP + c * z])
        assert np.allclose(foot, wanted, atol=1e-9)


def test_a_standing_robot_neither_bobs_nor_steps():
    one, two = RobotState(0.1, 1, 2, 0.3), RobotState(0.4, 1, 2, 0.3)
    assert np.allclose(T_map_base(one), T_map_base(two))
    assert np.allclose(trot(one), trot(two))


def test_the_camera_looks_forward_and_stands_upright():
    mount = T_base_camera()
    assert is_rigid(mount)
    assert mount[0, 2] > 0.99  # forward
    assert mount[2, 1] < -0.99  # down


def test_exact_odometry_has_no_drift(round_trip):
    odometry = Odometry()
    for state in round_trip[::20]:
        assert np.array_equal(odometry.update(T_map_base(state)), T_map_base(state))


def test_noisy_odometry_drifts_reproducibly_and_T_map_odom_corrects_it(round_trip):
    settings = OdometrySettings(slip=0.02, noise_m=0.01, yaw_drift=0.005, yaw_noise=0.01, seed=4)
    one, two = Odometry(settings), Odometry(settings)
    for state in round_trip[::10]:
        exact = T_map_base(state)
        reported = one.update(exact)
        assert np.array_equal(reported, two.update(exact))
        assert np.allclose(one.T_map_odom @ reported, exact)
    assert 0.02 < np.linalg.norm(reported[:3, 3] - exact[:3, 3]) < 3
    assert is_rigid(reported)


def test_a_sequence_is_complete_and_true(world, camera, round_trip, tmp_path, eye):
    import cv2

    eye.close()
    target = write_sequence(tmp_path / "walk", world, camera, round_trip[:60:20])
    assert [p.name for p in tmp_path.iterdir()] == ["walk"]
    told = json.loads((target / "transforms.json").read_text())
    assert (told["width"], told["fy"], told["up"]) == (160, 90.0, [0, 0, 1])
    assert len(told["frames"]) == 3
    assert [i["name"] for i in told["instances"]] == [i.name for i in world.instances]
    frame = told["frames"][1]
    assert np.allclose(frame["c2w"], T_map_base(round_trip[20]) @ T_base_camera())
    depth = cv2.imread(str(target / frame["depth"]), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16
    assert 200 < np.median(depth) < 9000
    masks = cv2.imread(str(target / frame["instances"]), cv2.IMREAD_UNCHANGED)
    assert masks.max() <= len(world.instances)


def test_a_failed_sequence_leaves_nothing_behind(world, camera, round_trip, tmp_path, eye):
    eye.close()

    def states():
        yield round_trip[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sequence(tmp_path / "walk", world, camera, states())
    with pytest.raises(SimulationError, match="at least one"):
        write_sequence(tmp_path / "walk", world, camera, [])
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_not_overwritten(world, camera, round_trip, tmp_path):
    with pytest.raises(SimulationError, match="exists"):
        write_sequence(tmp_path, world, camera, round_trip[:1])
