from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from toy_room import toy_frame

from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.views import make_split, make_view, sharpness_weights, split_frames

CPU = torch.device("cpu")


def test_half_the_resolution_shows_the_same():
    view = make_view(toy_frame(1, 8, 64, 47), 1, CPU)
    half = view.halved()
    assert (half.width, half.height) == (32, 23)
    assert half.depth.shape == (23, 32)
    full = view.truth()[:46].reshape(23, 2, 32, 2, 3).mean((1, 3))
    assert (half.truth() - full).abs().max() < 0.003
    point = torch.tensor([0.2, -0.1, 1.5])
    u, v = (K @ point for K in (view.K[0], half.K[0]))
    assert torch.allclose(u[:2] / 2, v[:2])


def test_every_so_manieth_frame_is_held_out():
    assert split_frames(10, 4) == ([1, 2, 3, 5, 6, 7, 9], [0, 4, 8])
    assert split_frames(10, 0) == (list(range(10)), [])


def test_few_frames_are_all_trained_on():
    assert split_frames(3, 8) == ([0, 1, 2], [])


def test_blurred_pictures_have_less_say_but_some():
    rng = np.random.default_rng(0)
    frames = [replace(toy_frame(i, 9), rgb=rng.integers(0, 255, (48, 64, 3), np.uint8)) for i in range(9)]
    blurred = cv2.GaussianBlur(frames[4].rgb, (0, 0), 1.0)
    weights = sharpness_weights([*frames[:4], replace(frames[4], rgb=blurred), *frames[5:]])
    assert weights[4] == pytest.approx(0.3)
    assert min(weights[:4] + weights[5:]) > 0.9


def test_plain_pictures_have_full_say():
    plain = [replace(toy_frame(i, 5), rgb=np.full((48, 64, 3), 90, np.uint8)) for i in range(5)]
    assert sharpness_weights(plain) == [1.0] * 5


def test_a_view_from_elsewhere_shows_the_same_picture():
    view = make_view(toy_frame(1, 8), 1, CPU)
    pose = toy_frame(3, 8).T_map_camera
    moved = view.at(pose)
    assert moved.planes is view.planes
    assert torch.allclose(moved.viewmat[0].double(), torch.linalg.inv(torch.from_numpy(pose)), atol=1e-6)


def test_a_split_holds_every_frame_once():
    frames = [toy_frame(i, 10) for i in range(10)]
    split = make_split(frames, GeometrySettings(held_out_every=4, coarse_share=0.5), CPU)
    assert sorted(split.training + split.held_out) == list(range(10))
    assert (len(split.views), len(split.held_out_views)) == (7, 3)
    assert split.halved[0].width == 32
    assert split.T_map_camera.shape == (10, 4, 4)


def test_estimated_depth_is_taken_on_at_both_resolutions_by_the_views_it_belongs_to():
    frames = [replace(toy_frame(i, 9), depth=None) for i in range(9)]
    split = make_split(frames, GeometrySettings(held_out_every=4, coarse_share=0.2), CPU)
    depth = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    lent = split.with_depths({1: depth})
    assert [view.depth is not None for view in lent.views] == [i == 1 for i in range(len(split.views))]
    large = lent.views[1].depth
    assert large.shape == (lent.views[1].height, lent.views[1].width)
    assert (large[0, 0], large[0, -1], large[-1, 0], large[-1, -1]) == (1.0, 2.0, 3.0, 0.0)
    assert lent.halved[1].depth.shape == (lent.halved[1].height, lent.halved[1].width)
    assert lent.halved[0] is split.halved[0]
