import torch
from toy_room import toy_frame

from m3_ros.training.views import make_view, split_frames

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
