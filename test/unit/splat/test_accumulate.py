import pytest
import torch
from oracle import oracle_render
from scenes import cameras, cloud

from m3_ros.splat.accumulate import accumulate
from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.render import render


def gaussians(scene):
    n = len(scene.means)
    return Gaussians(*scene.tensors()[:4], torch.zeros(n, 1, 3), torch.zeros(n, 0, 3))


@pytest.mark.parametrize("channels", [1, 15, 64])
def test_sums_are_the_gradient_by_the_features(channels):
    scene, (viewmats, Ks) = cloud(200, channels), cameras(50, 37, 2)
    values = torch.randn(2, 37, 50, channels)
    sums, _ = accumulate(gaussians(scene), viewmats, Ks, 50, 37, values)
    features = scene.features.clone().requires_grad_()
    (render(*scene.tensors()[:4], features, viewmats, Ks, 50, 37).features * values).sum().backward()
    assert torch.allclose(sums, features.grad, rtol=1e-5, atol=1e-5)


def test_sums_and_weights_equal_the_oracle():
    scene, (viewmats, Ks) = cloud(150, 4), cameras(40, 30)
    values = torch.rand(1, 30, 40, 4)
    sums, weights = accumulate(gaussians(scene), viewmats, Ks, 40, 30, values)
    w = oracle_render(*scene.copies(torch.float64), viewmats[0], Ks[0], 40, 30).weights.detach()
    assert torch.allclose(weights.double(), w.sum((1, 2)), rtol=1e-4, atol=1e-4)
    assert torch.allclose(sums.double(), torch.einsum("nhw,hwc->nc", w, values[0].double()), rtol=1e-4, atol=1e-4)


def test_a_constant_comes_back_as_itself():
    scene, (viewmats, Ks) = cloud(100, 1), cameras(40, 30)
    sums, weights = accumulate(gaussians(scene), viewmats, Ks, 40, 30, torch.full((1, 30, 40, 2), 0.7))
    seen = weights > 1e-3
    assert seen.any()
    assert torch.allclose(sums[seen] / weights[seen, None], torch.tensor(0.7), rtol=1e-5)


def test_values_of_another_size_are_refused():
    with pytest.raises(ValueError, match="values"):
        accumulate(gaussians(cloud(5, 1)), *cameras(40, 30), 40, 30, torch.zeros(1, 40, 30, 2))


def test_nothing_gives_nothing():
    sums, weights = accumulate(gaussians(cloud(0, 1)), *cameras(16, 16), 16, 16, torch.ones(1, 16, 16, 3))
    assert sums.shape == (0, 3)
    assert weights.shape == (0,)
