import pytest
import torch
from scenes import cameras

from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.spherical_harmonics import C0, basis, colours, degree_of


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_harmonics_are_orthonormal_on_the_sphere(degree):
    # Fibonacci points: an even cover of the sphere, exact enough for products of degree 6
    i = torch.arange(20000, dtype=torch.float64) + 0.5
    z, angle = 1 - 2 * i / 20000, torch.pi * (1 + 5**0.5) * i
    r = torch.sqrt(1 - z * z)
    d = torch.stack([r * torch.cos(angle), r * torch.sin(angle), z], -1)
    y = torch.cat([torch.full((20000, 1), C0, dtype=torch.float64), basis(d, degree)], 1)
    gram = 4 * torch.pi * y.T @ y / 20000
    assert torch.allclose(gram, torch.eye((degree + 1) ** 2, dtype=torch.float64), atol=1e-3)
    assert degree_of(y.shape[1] - 1) == degree


def make(k):
    g = torch.Generator().manual_seed(0)
    n = 6
    rest = 0.2 * torch.randn(n, k, 3, generator=g)
    return Gaussians(
        torch.randn(n, 3, generator=g),
        torch.randn(n, 4),
        torch.ones(n, 3),
        torch.ones(n),
        torch.rand(n, 1, 3, generator=g),
        rest,
    )


def test_degree_zero_has_one_colour_for_all_cameras():
    g = make(0)
    viewmats, _ = cameras(8, 8, 3)
    rgb = colours(g, viewmats.float())
    assert rgb.shape == (3, 6, 3)
    assert torch.allclose(rgb[0], 0.5 + C0 * g.sh0[:, 0])
    assert torch.equal(rgb[0], rgb[2])


def test_degree_one_is_seen_from_the_camera_centre():
    g = make(3)
    viewmats, _ = cameras(8, 8, 2)
    rgb = colours(g, viewmats.float())
    centre = torch.linalg.inv(viewmats[1])[:3, 3].float()
    d = torch.nn.functional.normalize(g.means - centre, dim=-1)
    wanted = 0.5 + C0 * g.sh0[:, 0] + (basis(d, 1)[..., None] * g.shN).sum(1)
    assert torch.allclose(rgb[1], wanted.clamp(min=0), atol=1e-6)


def test_unknown_degrees_are_refused():
    with pytest.raises(ValueError, match="degree 0 to 3"):
        basis(torch.ones(1, 3), 4)
    with pytest.raises(ValueError, match="coefficients"):
        degree_of(4)
