"""Structural similarity (Wang et al. 2004) and its gradient: 11x11 Gaussian window of sigma 1.5, zero padding."""

import ctypes
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from m3_ros.splat import kernel

_C1, _C2 = 0.01**2, 0.03**2


class _Ssim(Function):
    """Mean SSIM of planes [n, H, W]; the gradient by the first comes with the value."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, truth: Tensor) -> Tensor:
        gradient = torch.empty_like(image) if ctx.needs_input_grad[0] else None
        value = ctypes.c_double()
        code = kernel.load().library.m3_ssim(
            *image.shape,
            image.data_ptr(),
            truth.data_ptr(),
            kernel.pointer(gradient),
            kernel.threads(),
            ctypes.byref(value),
        )
        kernel.check(code, "SSIM")
        ctx.save_for_backward(gradient)
        return image.new_tensor(value.value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_value: Tensor) -> tuple[Tensor | None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * d_value, None


def ssim(image: Float[Tensor, "*C H W ch"], truth: Float[Tensor, "*C H W ch"]) -> Float[Tensor, ""]:
    """Return the mean SSIM over images and channels; gradients reach `image` only.

    Raises:
        BackendError: the kernel is not built.
        ValueError: the shapes differ.
    """
    if image.shape != truth.shape or image.ndim < 3:
        raise ValueError(
            f"SSIM compares two images [H, W, ch] of one shape; got {tuple(image.shape)} and {tuple(truth.shape)}"
        )
    a, b = _planes(image), _planes(truth.detach())
    if image.device.type != "cpu":
        return _ssim_by_convolution(a, b)
    result: Tensor = _Ssim.apply(a, b)  # type: ignore[no-untyped-call]
    return result


def ssim_loss(image: Float[Tensor, "*C H W ch"], truth: Float[Tensor, "*C H W ch"]) -> Float[Tensor, ""]:
    """Return 1 - ssim(image, truth): 0 for equal images.

    Raises:
        BackendError: the kernel is not built.
        ValueError: the shapes differ.
    """
    return 1 - ssim(image, truth)


def _planes(x: Tensor) -> Tensor:
    return x.movedim(-1, -3).reshape(-1, *x.shape[-3:-1]).float().contiguous()


def _ssim_by_convolution(a: Tensor, b: Tensor) -> Tensor:
    """Do the same with torch's convolution: fast on a GPU, 40x slower than the kernel on a CPU."""
    tap = torch.exp(-((torch.arange(11, device=a.device, dtype=a.dtype) - 5) ** 2) / (2 * 1.5**2))
    tap = tap / tap.sum()
    stack = torch.stack([a, b, a * a, b * b, a * b]).flatten(0, 1)[:, None]
    rows = torch.nn.functional.conv2d(stack, tap[None, None, None, :], padding=(0, 5))
    blurred = torch.nn.functional.conv2d(rows, tap[None, None, :, None], padding=(5, 0))
    ma, mb, aa, bb, ab = blurred.view(5, *a.shape)
    structure = (2 * (ab - ma * mb) + _C2) / (aa - ma * ma + bb - mb * mb + _C2)
    result: Tensor = ((2 * ma * mb + _C1) / (ma * ma + mb * mb + _C1) * structure).mean()
    return result
