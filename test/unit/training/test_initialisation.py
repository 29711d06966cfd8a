import logging
from dataclasses import replace

import numpy as np
import pytest
from toy_room import HALF, toy_frame, toy_frames

from m3_ros.recording.point_cloud import PointCloud
from m3_ros.training.initialisation import make_seeds, reliable_depth
from m3_ros.training.plane_sweep import SweepSettings

QUICK = SweepSettings(width=32, planes=48, partners=5, references=24)


def walk(depth=False):
    return [toy_frame(i, 24, depth=depth) for i in range(24)]


def distance_to_walls(points):
    return np.abs(HALF - np.abs(points)).min(1)


def points_on_walls(count=6000, seed=0):
    """Even points on the two long walls, the floor and the ceiling."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-HALF, HALF, (count, 3))
    axis = rng.integers(1, 3, count)
    points[np.arange(count), axis] = HALF[axis] * rng.choice([-1, 1], count)
    return points.astype(np.float32)


@pytest.mark.parametrize("count", [50, 700, 5000])
def test_seeds_lie_on_the_walls_and_keep_to_the_budget(count):
    seeds = make_seeds(toy_frames(), count, edge_px=1, seed=0)
    assert 0.4 * count < len(seeds.points) <= count
    # the mean of a cube that spans a corner lies off both walls
    assert np.quantile(distance_to_walls(seeds.points), 0.75) < 0.02
    assert (np.abs(seeds.points) <= HALF + 1e-3).all()


def test_seeds_are_flat_along_the_wall():
    seeds = make_seeds(toy_frames(), 2000, edge_px=1, seed=0)
    wall = np.abs(HALF[2] - np.abs(seeds.points[:, 2])) < 1e-3
    assert wall.sum() > 50
    assert np.median(np.abs(seeds.normals[wall, 2])) > 0.99


def test_depth_is_taken_before_points_and_points_before_the_poses(caplog):
    cloud = PointCloud(points_on_walls(), None, "/lidar")
    with caplog.at_level(logging.INFO):
        assert make_seeds(walk(depth=True), 500, 1, 0, cloud, QUICK).source == "measured depth of 24 pictures"
        assert make_seeds(walk(), 500, 1, 0, cloud, QUICK).source.startswith("6000 points of /lidar")
        assert make_seeds(walk(), 500, 1, 0, None, QUICK).source.startswith("depth of 24 pictures")
    assert "starting from" in caplog.text


def test_without_depth_seeds_lie_on_the_surfaces_that_the_pictures_share():
    seeds = make_seeds(walk(), 3000, edge_px=1, seed=0, sweep=QUICK)
    assert len(seeds) > 1000
    assert [view.frame for view in seeds.swept] == list(range(24))
    trusted = seeds.points[seeds.opacities > 0.5]
    assert len(trusted) > 0.7 * len(seeds)
    assert np.median(distance_to_walls(trusted)) < 0.03
    assert np.quantile(distance_to_walls(trusted), 0.8) < 0.1


def test_points_are_coloured_by_the_pictures_that_see_them():
    frames, cloud = walk(), PointCloud(points_on_walls(), None, "/lidar")
    measured = make_seeds(walk(depth=True), 3000, edge_px=1, seed=0)
    seeds = make_seeds(frames, 3000, edge_px=1, seed=0, points=cloud, sweep=QUICK)
    distance = np.linalg.norm(seeds.points[:, None] - measured.points[None], axis=2)
    near = distance.min(1) < 0.05
    assert near.sum() > 300
    error = np.abs(seeds.colours - measured.colours[distance.argmin(1)])[near].max(1)
    assert np.median(error) < 0.03


def test_points_keep_their_own_colours_and_get_normals_of_their_walls():
    red = PointCloud(points_on_walls(), np.full((6000, 3), (1, 0, 0), np.float32), "/lidar")
    seeds = make_seeds(walk(), 3000, edge_px=1, seed=0, points=red, sweep=QUICK)
    from_points = np.isclose(seeds.colours, (1, 0, 0)).all(1)
    wall = from_points & (np.abs(HALF[1] - np.abs(seeds.points[:, 1])) < 1e-3)
    wall &= (np.abs(seeds.points[:, ::2]) < HALF[::2] - 0.4).all(1)
    assert wall.sum() > 30
    assert np.median(np.abs(seeds.normals[wall, 1])) > 0.99


def test_what_points_leave_open_is_filled_from_the_poses():
    points = points_on_walls()
    cloud = PointCloud(points[points[:, 2] < -1.1], None, "/lidar")  # the floor alone
    seeds = make_seeds(walk(), 3000, edge_px=1, seed=0, points=cloud, sweep=QUICK)
    assert "; depth of 24 pictures" in seeds.source
    assert len(seeds) <= 3000
    assert (seeds.points[:, 2] > 0.5).sum() > 200


def test_points_that_no_picture_sees_are_named_and_not_used(caplog):
    far = PointCloud(points_on_walls() + np.array([0, 0, 100], np.float32), None, "/lidar")
    with caplog.at_level(logging.WARNING):
        seeds = make_seeds(walk(), 500, 1, 0, far, QUICK)
    assert "see none of the 6000 points of /lidar" in caplog.text
    assert "/lidar" not in seeds.source


def test_where_nothing_is_known_seeds_fill_the_viewed_volume_and_it_is_told(caplog):
    frame = toy_frame(0, 16, depth=False)
    with caplog.at_level(logging.WARNING):
        seeds = make_seeds([frame, replace(frame, stamp_ns=1)], 300, edge_px=1, seed=0, sweep=QUICK)
    assert "starting from random points" in caplog.text
    assert 250 < len(seeds) <= 300
    assert np.isfinite(seeds.points).all()
    assert (seeds.scales > 0).all()
    assert np.linalg.norm(seeds.points - frame.T_map_camera[:3, 3], axis=1).min() >= 0.3
    assert (seeds.opacities < 0.5).all()


def test_black_pictures_and_lone_pictures_give_random_seeds():
    frames = [replace(frame, rgb=np.zeros_like(frame.rgb)) for frame in walk()]
    assert len(make_seeds(frames[:1], 50, 1, 0, sweep=QUICK)) > 0
    assert len(make_seeds(frames, 50, 1, 0, sweep=QUICK)) > 0


def test_depth_that_is_not_finite_is_not_used():
    frames = [replace(f, depth=np.full_like(f.depth, np.nan)) for f in walk(depth=True)]
    assert "poses" in make_seeds(frames, 500, 1, 0, sweep=QUICK).source


def test_seeds_are_the_same_every_time():
    a, b = (make_seeds(walk(), 1000, 1, 0, sweep=QUICK) for _ in range(2))
    np.testing.assert_array_equal(a.points, b.points)


def test_depth_at_an_edge_is_not_relied_on():
    depth = np.full((20, 20), 2.0, np.float32)
    depth[:, 10:] = 4.0
    depth[3, 3] = 0
    reliable = reliable_depth(depth, 2)
    assert not reliable[:, 8:12].any()
    assert reliable[10, :7].all()
    assert reliable[10, 13:].all()
    assert not reliable[3, 3]
