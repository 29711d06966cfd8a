from dataclasses import replace

import numpy as np
import pytest
import torch

from m3_ros.features.encoder import FeatureMap, unit
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import look_at
from m3_ros.memory.lift import View, lift, lifting_camera
from m3_ros.splat.gaussians import Gaussians

CAMERA = Camera.from_fov(80, 60, np.deg2rad(70))


def row_of_gaussians(xyz):
    n = len(xyz)
    return Gaussians(
        torch.tensor(xyz, dtype=torch.float32),
        torch.tensor([1.0, 0, 0, 0]).repeat(n, 1),
        torch.full((n, 3), 0.08),
        torch.full((n,), 0.95),
        torch.zeros(n, 1, 3),
        torch.zeros(n, 0, 3),
    )


def split_map(left, right, grid=(15, 20)):
    features = torch.empty(*grid, len(left))
    features[:, : grid[1] // 2], features[:, grid[1] // 2 :] = left, right
    return FeatureMap(features, torch.ones(grid, dtype=torch.bool), (80, 60))


LEFT, RIGHT = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0, 2.0, 0, 0])
TO_QUERY = torch.eye(4)[:, :3]
GAUSSIANS = row_of_gaussians([[2.0, 0.7, 0.0], [2.0, -0.7, 0.0], [3.0, 1.05, 0.0], [-2.0, 0.0, 0.0]])
POSE = look_at((0, 0, 0), (1, 0, 0))


def seen(feature_map, pose=POSE):
    return View((feature_map,), CAMERA, pose)


def lift_one(views, to_query=TO_QUERY, width=80):
    (lifted,) = lift(views, GAUSSIANS, [to_query], width)
    return lifted


def test_each_gaussian_gets_what_its_pixels_show():
    lifted = lift_one([seen(split_map(LEFT, RIGHT))])
    mean, length = lifted.mean(0.01)
    torch.testing.assert_close(mean[0], torch.tensor([1.0, 0, 0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(mean[1], torch.tensor([0, 1.0, 0]), atol=1e-3, rtol=0)
    assert length[:2].tolist() == pytest.approx([1, 1], abs=1e-3)


def test_hidden_and_unseen_gaussians_remember_nothing():
    lifted = lift_one([seen(split_map(LEFT, RIGHT))])
    assert float(lifted.seen[3]) == 0
    assert float(lifted.seen[2]) < 0.25 * float(lifted.seen[0])
    mean, _ = lifted.mean(0.01)
    assert mean[3].tolist() == [0, 0, 0]


def test_views_that_disagree_give_a_shorter_mean():
    views = [seen(split_map(a, b)) for a, b in ((LEFT, RIGHT), (RIGHT, RIGHT))]
    _, length = lift_one(views).mean(0.01)
    assert float(length[0]) == pytest.approx(0.5**0.5, abs=1e-3)
    assert float(length[1]) == pytest.approx(1.0, abs=1e-3)


def test_a_view_added_and_taken_away_leaves_no_trace():
    first = seen(split_map(LEFT, RIGHT))
    second = seen(split_map(RIGHT, LEFT), look_at((0, 0, 0), (1, 0.2, 0)))
    one, two, both = (lift_one(v) for v in ([first], [second], [first, second]))
    torch.testing.assert_close(both.sums - two.sums, one.sums, atol=1e-5, rtol=0)
    torch.testing.assert_close(both.weights - two.weights, one.weights, atol=1e-5, rtol=0)


def test_invalid_cells_count_as_seen_but_give_no_feature():
    feature_map = split_map(LEFT, RIGHT)
    valid = feature_map.valid.clone()
    valid[:, :10] = False
    lifted = lift_one([seen(replace(feature_map, valid=valid))])
    assert float(lifted.seen[0]) > 1
    assert float(lifted.weights[0]) < 1e-3
    torch.testing.assert_close(lifted.mean(0.01)[0][1], torch.tensor([0, 1.0, 0]), atol=1e-3, rtol=0)


def test_encoders_side_by_side_get_what_each_would_get_alone():
    index = torch.zeros(6, 8, dtype=torch.long)
    index[:, 4:] = 1
    regions = FeatureMap(torch.stack([RIGHT, LEFT]), torch.ones(6, 8, dtype=torch.bool), (80, 60), index)
    both = lift([View((split_map(LEFT, RIGHT), regions), CAMERA, POSE)], GAUSSIANS, [TO_QUERY, torch.eye(4)], 80)
    alone = lift_one([seen(split_map(LEFT, RIGHT))]), lift_one([seen(regions)], torch.eye(4))
    for lifted, expected in zip(both, alone, strict=True):
        torch.testing.assert_close(lifted.sums, expected.sums, atol=1e-5, rtol=0)
        torch.testing.assert_close(lifted.weights, expected.weights, atol=1e-5, rtol=0)
        torch.testing.assert_close(lifted.seen, expected.seen, atol=1e-5, rtol=0)


def test_region_vectors_never_mix():
    index = torch.zeros(15, 20, dtype=torch.long)
    index[:, 10:] = 1
    regions = FeatureMap(torch.stack([LEFT, RIGHT]), torch.ones(15, 20, dtype=torch.bool), (80, 60), index)
    grid = lift_one([seen(split_map(LEFT, RIGHT))]).mean(0.01)[0]
    lifted = lift_one([seen(regions)]).mean(0.01)[0]
    torch.testing.assert_close(lifted[:2], grid[:2], atol=1e-3, rtol=0)


def test_smaller_lifting_size_gives_the_same_means():
    view = seen(split_map(LEFT, RIGHT))
    full, half = (lift_one([view], width=width).mean(0.01)[0] for width in (80, 40))
    torch.testing.assert_close(half[:2], full[:2], atol=0.02, rtol=0)
    assert lifting_camera(CAMERA, 40).height == 30
    assert lifting_camera(CAMERA, 500).width == 80


def test_any_projection_is_inverted():
    W = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    target = unit(torch.ones(3) @ W)
    queries, _ = lift_one([seen(split_map(target, target))], torch.linalg.pinv(W)).mean(0.01)
    torch.testing.assert_close(queries[0] @ W, target, atol=1e-3, rtol=0)
