"""The field of 3D Gaussians, in activated units: what is rendered, saved and queried."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians of a place, in the map frame [m]."""

    means: Float[Tensor, "N 3"]
    """Centres [m]."""
    quats: Float[Tensor, "N 4"]
    """Orientations wxyz, unit length."""
    scales: Float[Tensor, "N 3"]
    """Standard deviations along the axes [m], positive."""
    opacities: Float[Tensor, " N"]
    """Opacity in (0, 1)."""
    sh0: Float[Tensor, "N 1 3"]
    """Spherical harmonics of degree 0 (RGB); colour = 0.5 + 0.2820948 * sh0."""
    shN: Float[Tensor, "N K 3"]
    """Higher degrees, K = 0, 3, 8 or 15."""

    def __len__(self) -> int:
        return self.means.shape[0]

    def __getitem__(self, index: Tensor) -> "Gaussians":
        return Gaussians(
            self.means[index],
            self.quats[index],
            self.scales[index],
            self.opacities[index],
            self.sh0[index],
            self.shN[index],
        )

    @property
    def covariances(self) -> Float[Tensor, "N 3 3"]:
        """World covariance R S S^T R^T [m^2] of each Gaussian."""
        w, x, y, z = torch.nn.functional.normalize(self.quats, dim=-1).unbind(-1)
        R = torch.stack(
            [
                1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
                2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
                2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
            ],
            dim=-1,
        ).reshape(-1, 3, 3)  # fmt: skip
        M = R * self.scales[:, None, :]
        return M @ M.mT
