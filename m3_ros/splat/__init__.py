"""Gaussians and rendering: the field itself, render() with two backends, accumulate(), SSIM, spherical harmonics."""

from m3_ros.splat.accumulate import accumulate
from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.kernel import set_threads
from m3_ros.splat.render import Rendering, render
from m3_ros.splat.spherical_harmonics import colours
from m3_ros.splat.ssim import ssim, ssim_loss

__all__ = ["Gaussians", "Rendering", "accumulate", "colours", "render", "set_threads", "ssim", "ssim_loss"]
