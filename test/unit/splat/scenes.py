"""Small random scenes for the tests of rendering."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scene:
    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    features: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    def copies(self, dtype: torch.dtype) -> list[Tensor]:
        return [t.detach().to(dtype).clone().requires_grad_() for t in self.tensors()]


def cloud(count: int, channels: int, seed: int = 0) -> Scene:
    """Gaussians between 1.2 m and 4 m before the camera, a few beside the image, behind it, huge, thin and faint."""
    g = torch.Generator().manual_seed(seed)
    z = 1.2 + 2.8 * torch.rand(count, generator=g)
    xy = (torch.rand(count, 2, generator=g) - 0.5) * 1.6 * z[:, None]
    means = torch.cat([xy, z[:, None]], 1)
    scales = torch.exp(torch.randn(count, 3, generator=g) * 0.6 - 2.6)
    opacities = torch.rand(count, generator=g) * 0.7 + 0.02
    odd = min(count // 8, 8)
    means[:odd, 2] *= -1
    scales[odd : 2 * odd] *= 8
    scales[2 * odd : 3 * odd, 0] *= 0.02
    opacities[3 * odd : 4 * odd] *= 0.01
    means[4 * odd : 5 * odd, 0] += 3
    quats = torch.randn(count, 4, generator=g) * 1.7
    return Scene(means, quats, scales, opacities, torch.randn(count, channels, generator=g))


def cameras(width: int, height: int, count: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Cameras near the origin that look along +z, turned a little; float64 viewmats and Ks."""
    g = torch.Generator().manual_seed(seed + 100)
    skew = (torch.rand(count, 3, generator=g, dtype=torch.float64) - 0.5) * 0.3
    zero = torch.zeros(count, dtype=torch.float64)
    hat = torch.stack([zero, -skew[:, 2], skew[:, 1], skew[:, 2], zero, -skew[:, 0], -skew[:, 1], skew[:, 0], zero], -1)
    viewmats = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    viewmats[:, :3, :3] = torch.linalg.matrix_exp(hat.view(-1, 3, 3))
    viewmats[:, :3, 3] = (torch.rand(count, 3, generator=g, dtype=torch.float64) - 0.5) * 0.2
    K = torch.tensor([[0.8 * width, 0, 0.52 * width], [0, 0.83 * width, 0.47 * height], [0, 0, 1]], dtype=torch.float64)
    return viewmats, K.repeat(count, 1, 1)
