"""Dense float64 rendering in plain torch, every Gaussian on every pixel: the twin that kernels are compared with."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class OracleView:
    features: Tensor  # [H, W, ch]
    alpha: Tensor  # [H, W]
    depth: Tensor  # [H, W]
    median_depth: Tensor  # [H, W]
    weights: Tensor  # [N, H, W]


def rotations(quats: Tensor) -> Tensor:
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).reshape(-1, 3, 3)


def project(means, quats, scales, viewmat, K, width, height):
    R, t = viewmat[:3, :3], viewmat[:3, 3]
    x, y, z = (means @ R.T + t).unbind(-1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = 0.15 * width / fx, 0.15 * height / fy
    rx = torch.clamp(x / z, -cx / fx - margin_x, (width - cx) / fx + margin_x)
    ry = torch.clamp(y / z, -cy / fy - margin_y, (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    J = torch.stack([fx / z, zero, -fx * rx / z, zero, fy / z, -fy * ry / z], -1).view(-1, 2, 3)
    M = J @ R @ rotations(quats) * scales[:, None, :]
    cov = M @ M.mT + 0.3 * torch.eye(2, dtype=means.dtype)
    return fx * x / z + cx, fy * y / z + cy, z, torch.linalg.inv(cov)


def oracle_render(means, quats, scales, opacities, features, viewmat, K, width, height, near=0.05) -> OracleView:
    N = len(means)
    z_all = (means @ viewmat[:3, :3].T + viewmat[:3, 3])[:, 2]
    kept = torch.nonzero((z_all >= near) & (opacities >= 1 / 255))[:, 0]
    u, v, z, conic = project(means[kept], quats[kept], scales[kept], viewmat, K, width, height)
    order = torch.argsort(z.detach(), stable=True)
    kept, u, v, z, conic = kept[order], u[order], v[order], z[order], conic[order]
    dx = torch.arange(width, dtype=means.dtype)[None, None, :] + 0.5 - u[:, None, None]
    dy = torch.arange(height, dtype=means.dtype)[None, :, None] + 0.5 - v[:, None, None]
    a, b, c = (conic[:, i, j, None, None] for i, j in ((0, 0), (0, 1), (1, 1)))
    alpha = opacities[kept, None, None] * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
    alpha = torch.clamp(alpha, max=0.999)
    alpha = torch.where(alpha >= 1 / 255, alpha, torch.zeros_like(alpha))
    T = torch.cumprod(torch.cat([torch.ones(1, height, width, dtype=means.dtype), 1 - alpha]), 0)
    weights = alpha * T[:-1]
    image = torch.einsum("nhw,nc->hwc", weights, features[kept])
    total = 1 - T[-1]
    depth = torch.einsum("nhw,n->hw", weights, z) / total.clamp(min=1e-10)
    crossed = (T[:-1] >= 0.5) & (T[1:] < 0.5)
    median = (crossed * z[:, None, None]).sum(0)
    every = torch.zeros(N, height, width, dtype=means.dtype).index_copy(0, kept, weights)
    return OracleView(image, total, depth, median, every)
