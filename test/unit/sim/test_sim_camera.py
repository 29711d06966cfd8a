import threading

import numpy as np
import pytest

from m3_ros.errors import SimulationError
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import apply, inverse
from m3_ros.sim import RobotState, T_map_camera, patrol
from m3_ros.sim.views import ViewSettings, random_views


def _states(world, count=6):
    states = patrol(world)
    return [states[i] for i in np.linspace(0, len(states) - 1, count).astype(int)]


def test_depth_lies_on_the_surfaces_of_the_instance_that_is_seen(world, camera, eye):
    for state in _states(world):
        shot = eye.shot(state)
        points = apply(shot.T_map_camera, camera.unproject(shot.depth).reshape(-1, 3).astype(np.float64))
        ids = shot.instances.ravel()
        assert (ids > 0).all()
        lo = np.array([i.minimum for i in world.instances])[ids - 1]
        hi = np.array([i.maximum for i in world.instances])[ids - 1]
        outside = np.maximum(lo - points, points - hi).max(axis=1)
        assert np.mean(outside < 0.01) > 0.995  # a pixel on an edge may take its depth from the neighbour


def test_a_pixel_seen_twice_is_the_same_point_and_colour(world, camera, eye):
    state = _states(world)[2]
    a, b = eye.shot(state), eye.shot(state.advanced(0.3, 0.1, 0.2, 0.3))
    points = apply(a.T_map_camera, camera.unproject(a.depth).reshape(-1, 3).astype(np.float64))
    seen = apply(inverse(b.T_map_camera), points)
    uv = camera.project(seen)
    inside = np.isfinite(uv).all(axis=1) & (uv >= 0).all(axis=1) & (uv < [camera.width, camera.height]).all(axis=1)
    column, row = uv[inside].astype(int).T
    error = np.abs(b.depth[row, column] - seen[inside, 2])
    assert inside.mean() > 0.5
    assert np.median(error) < 0.006  # metres; half a pixel on a slanted surface at this small size
    near = error < 0.02
    colour = np.abs(a.rgb.reshape(-1, 3)[inside][near].astype(int) - b.rgb[row, column][near])
    assert colour.mean() < 6


def test_pictures_are_reproducible_and_not_flat(world, eye):
    state = _states(world)[0]
    first, second = eye.shot(state), eye.shot(state)
    assert np.array_equal(first.rgb, second.rgb)
    assert first.rgb.std() > 10
    assert np.array_equal(first.T_map_camera, T_map_camera(state))


def test_the_robot_shows_only_when_asked_for(world, eye):
    state = _states(world)[0]
    behind = RobotState(0, state.x, state.y, state.yaw)
    pose = T_map_camera(behind)
    ahead = behind.advanced(0.7, 0, 0, 1.0)
    assert (eye.shot(pose).instances > 0).all()
    assert (eye.shot(pose, robot=ahead).instances == 0).mean() > 0.01


def test_a_camera_belongs_to_its_thread_and_ends_when_closed(world, eye):
    caught = []

    def elsewhere():
        try:
            eye.shot(np.eye(4))
        except SimulationError as error:
            caught.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(20)
    assert "thread" in caught[0]
    with pytest.raises(SimulationError, match="160x120"):
        eye.shot(np.eye(4), camera=Camera.from_fov(80, 60, 1.0))
    eye.close()
    with pytest.raises(SimulationError, match="closed"):
        eye.shot(np.eye(4))


def test_random_views_show_many_things(world, eye):
    eye.close()
    shots = list(random_views(world, np.random.default_rng(0), 12, ViewSettings(width=96, height=72)))
    assert len(shots) == 12
    assert len(np.unique(np.concatenate([s.instances.ravel() for s in shots]))) > 8
