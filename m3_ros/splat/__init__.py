"""Gaussians and rendering: the field itself, render() with two backends, accumulate(), SSIM, spherical harmonics.

OpenMP's threads spin while they wait, which ruins every other process on a small machine. OMP_WAIT_POLICY=passive lets
them sleep, if it is set before torch is loaded; importing this room (or any of its modules) first does so.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from m3_ros.splat.accumulate import accumulate
from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.render import Rendering, render
from m3_ros.splat.spherical_harmonics import colours
from m3_ros.splat.ssim import ssim, ssim_loss

__all__ = ["Gaussians", "Rendering", "accumulate", "colours", "render", "ssim", "ssim_loss"]
