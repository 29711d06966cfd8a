import pytest
import torch

from m3_ros.splat.gaussians import Gaussians
from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.losses import depth_loss, photometric_loss, psnr_db, regularisation

SOLID = torch.ones(1, 1)


def pull(error_m, softness_m=0.05, alpha=SOLID):
    """Return the gradient of the depth loss by a rendered depth that is wrong by so much."""
    rendered = torch.tensor([[2.0 + error_m]], requires_grad=True)
    depth_loss(rendered, alpha, torch.tensor([[2.0]]), softness_m).backward()
    return float(rendered.grad)


def test_an_exact_picture_costs_nothing():
    image = torch.rand(16, 20, 3, generator=torch.Generator().manual_seed(0))
    assert float(photometric_loss(image, image, 0.2)) == pytest.approx(0, abs=1e-6)
    assert float(photometric_loss(image, image, 0.0)) == 0


def test_without_dssim_the_loss_is_the_mean_difference():
    image, truth = torch.full((4, 4, 3), 0.75), torch.full((4, 4, 3), 0.5)
    assert float(photometric_loss(image, truth, 0.0)) == pytest.approx(0.25)


def test_a_depth_edge_that_is_metres_off_pulls_less_than_an_error_of_centimetres():
    assert pull(0.05) > 4 * pull(1.0) > 0
    assert pull(-0.05) == pytest.approx(-pull(0.05), rel=1e-4)


def test_the_pull_of_depth_is_largest_at_its_softness():
    assert pull(0.05) > pull(0.02)
    assert pull(0.05) > pull(0.12)


def test_pixels_without_depth_or_with_nothing_drawn_do_not_count():
    assert pull(0.05, alpha=torch.full((1, 1), 0.3)) == 0
    rendered = torch.tensor([[1.0, 3.0]], requires_grad=True)
    depth_loss(rendered, torch.ones(1, 2), torch.tensor([[0.0, 3.05]]), 0.05).backward()
    assert rendered.grad[0, 0] == 0
    assert rendered.grad[0, 1] < 0


def test_no_depth_at_all_costs_nothing():
    assert float(depth_loss(torch.rand(3, 3), torch.ones(3, 3), torch.zeros(3, 3), 0.05)) == 0


def test_regularisation_weighs_opacity_and_size():
    n = 4
    gaussians = Gaussians(
        torch.zeros(n, 3), torch.ones(n, 4), torch.full((n, 3), 0.1), torch.full((n,), 0.5), torch.zeros(n, 1, 3),
        torch.zeros(n, 0, 3),
    )  # fmt: skip
    value = regularisation(gaussians, GeometrySettings(opacity_weight=0.2, scale_weight=3.0))
    assert float(value) == pytest.approx(0.2 * 0.5 + 3.0 * 0.1)


def test_psnr_of_a_known_error():
    truth = torch.zeros(5, 5, 3)
    assert psnr_db(truth + 0.1, truth) == pytest.approx(20, abs=1e-4)
    assert psnr_db(truth, truth) == 99
    assert psnr_db(truth - 1, truth) == 99  # a screen cannot show less than black
