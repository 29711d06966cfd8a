"""Real spherical harmonics to degree 3, in the basis and signs of 3D Gaussian Splatting: view-dependent colours."""

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.splat.gaussians import Gaussians

C0 = 0.28209479177387814
"""Value of the constant harmonic."""
_C1 = 0.4886025119029199
_C2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396)
_C3 = (
    -0.5900435899266435,
    2.890611442640554,
    -0.4570457994644658,
    0.3731763325901154,
    -0.4570457994644658,
    1.445305721320277,
    -0.5900435899266435,
)


def basis(directions: Float[Tensor, "*n 3"], degree: int) -> Float[Tensor, "*n K"]:
    """Return the K = (degree + 1)^2 - 1 harmonics above the constant one at unit directions.

    Raises:
        ValueError: the degree is not in 0..3.
    """
    if degree not in (0, 1, 2, 3):
        raise ValueError(f"spherical harmonics go from degree 0 to 3; got {degree}")
    x, y, z = directions.unbind(-1)
    terms: list[Tensor] = []
    if degree > 0:
        terms += [-_C1 * y, _C1 * z, -_C1 * x]
    if degree > 1:
        xx, yy, zz = x * x, y * y, z * z
        terms += [_C2[0] * x * y, _C2[1] * y * z, _C2[2] * (2 * zz - xx - yy), _C2[3] * x * z, _C2[4] * (xx - yy)]
        if degree > 2:
            terms += [
                _C3[0] * y * (3 * xx - yy), _C3[1] * x * y * z, _C3[2] * y * (4 * zz - xx - yy),
                _C3[3] * z * (2 * zz - 3 * xx - 3 * yy),
                _C3[4] * x * (4 * zz - xx - yy), _C3[5] * z * (xx - yy), _C3[6] * x * (xx - 3 * yy),
            ]  # fmt: skip
    return torch.stack(terms, -1) if terms else directions.new_zeros((*directions.shape[:-1], 0))


def evaluate(
    sh0: Float[Tensor, "N 1 3"], shN: Float[Tensor, "N K 3"], directions: Float[Tensor, "*C N 3"]
) -> Float[Tensor, "*C N 3"]:
    """Return RGB (0.5 + sum of harmonics, not below 0) of each Gaussian seen along unit directions."""
    rgb = 0.5 + C0 * sh0[:, 0]
    if shN.shape[1]:
        rgb = rgb + torch.einsum("...nk,nkc->...nc", basis(directions, degree_of(shN.shape[1])), shN)
    else:
        rgb = rgb.expand(*directions.shape)
    return rgb.clamp(min=0)


def degree_of(coefficients: int) -> int:
    """Return the degree that has K coefficients above the constant one.

    Raises:
        ValueError: no degree has that many.
    """
    degrees = {0: 0, 3: 1, 8: 2, 15: 3}
    if coefficients not in degrees:
        raise ValueError(f"shN needs 0, 3, 8 or 15 coefficients; got {coefficients}")
    return degrees[coefficients]


def colours(gaussians: Gaussians, viewmats: Float[Tensor, "C 4 4"]) -> Float[Tensor, "C N 3"]:
    """Return the RGB of each Gaussian as each camera sees it."""
    if gaussians.shN.shape[1] == 0:
        return (0.5 + C0 * gaussians.sh0[:, 0]).clamp(min=0).expand(len(viewmats), -1, -1)
    centres = -torch.einsum("cji,cj->ci", viewmats[:, :3, :3], viewmats[:, :3, 3]).to(gaussians.means.dtype)
    directions = torch.nn.functional.normalize(gaussians.means[None] - centres[:, None], dim=-1)
    return evaluate(gaussians.sh0, gaussians.shN, directions)
