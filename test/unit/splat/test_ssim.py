import pytest
import torch

from m3_ros.splat.ssim import _ssim_by_convolution, ssim, ssim_loss


def pair(height, width, channels=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    truth = torch.rand(height, width, channels, generator=g)
    return (truth + 0.2 * torch.randn(truth.shape, generator=g)).clamp(0, 1), truth


@pytest.mark.parametrize(("height", "width"), [(64, 80), (7, 5), (131, 33), (1, 1)])
def test_value_and_gradient_equal_the_convolution(height, width):
    image, truth = pair(height, width)
    ours, theirs = image.clone().requires_grad_(), image.double().requires_grad_()
    a = ssim(ours, truth)
    b = _ssim_by_convolution(theirs.permute(2, 0, 1), truth.double().permute(2, 0, 1))
    assert float(a.detach()) == pytest.approx(float(b.detach()), abs=1e-5)
    a.backward()
    b.backward()
    assert float((ours.grad - theirs.grad).norm() / theirs.grad.norm()) < 1e-4


def test_equal_images_have_no_loss():
    _, truth = pair(40, 50)
    assert float(ssim_loss(truth, truth)) == pytest.approx(0, abs=1e-6)


def test_a_batch_is_the_mean_of_its_images():
    pairs = [pair(30, 40, seed=s) for s in range(3)]
    together = ssim(torch.stack([a for a, _ in pairs]), torch.stack([b for _, b in pairs]))
    assert float(together) == pytest.approx(sum(float(ssim(a, b)) for a, b in pairs) / 3, abs=1e-6)


def test_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        ssim(torch.zeros(4, 4, 3), torch.zeros(4, 5, 3))
