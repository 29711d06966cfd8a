"""What a rendering is judged by."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.ssim import ssim_loss
from m3_ros.training.geometry_settings import GeometrySettings


def photometric_loss(
    image: Float[Tensor, "H W 3"], truth: Float[Tensor, "H W 3"], dssim_weight: float
) -> Float[Tensor, ""]:
    """Return (1 - w) L1 + w (1 - SSIM), the loss of 3D Gaussian Splatting."""
    l1 = (image - truth).abs().mean()
    return l1 if dssim_weight == 0 else (1 - dssim_weight) * l1 + dssim_weight * ssim_loss(image, truth)


def depth_loss(
    rendered: Float[Tensor, "H W"], alpha: Float[Tensor, "H W"], measured: Float[Tensor, "H W"], softness_m: float
) -> Float[Tensor, ""]:
    """Return the mean Cauchy loss log(1 + (e / softness)^2) / 2 over pixels with a measured depth and something drawn.

    Its pull falls off as 1 / e beyond `softness_m`: a real depth image is wrong by metres along edges.
    """
    valid = ((measured > 0) & (alpha.detach() > 0.5)).to(rendered.dtype)
    error = (rendered - measured) * valid / softness_m
    return 0.5 * torch.log1p(error * error).sum() / valid.sum().clamp(min=1)


def regularisation(gaussians: Gaussians, settings: GeometrySettings) -> Float[Tensor, ""]:
    """Return the weighted mean opacity and mean scale."""
    return settings.opacity_weight * gaussians.opacities.mean() + settings.scale_weight * gaussians.scales.mean()


def psnr_db(image: Float[Tensor, "H W 3"], truth: Float[Tensor, "H W 3"]) -> float:
    """Return the peak signal-to-noise ratio of two images in [0, 1] [dB]; 99 where they are equal."""
    mse = float((image.detach().clamp(0, 1) - truth).square().mean())
    return 99.0 if mse < 1e-10 else -10 * math.log10(mse)
