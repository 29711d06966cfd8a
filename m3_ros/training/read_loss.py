"""The loss of features read out of a bank, with its gradients in closed form: no more passes over them than needed."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from m3_ros.features.vision_transformer import prefers_bf16

_WORTH_ROUNDING = 1 << 26
"""Multiplications below which rounding takes longer than it saves."""
_LEAST_LENGTH = 1e-6


def read_loss(
    weights: Float[Tensor, "n t"],
    values: Float[Tensor, "t D"],
    features: Float[Tensor, "n D"],
    mean_square: float,
) -> Float[Tensor, ""]:
    """Return the mean of 1 - cos(r, x) + |r - x|^2 / mean_square of what is read out, r = weights values.

    Large products are multiplied in bfloat16 where the processor does that faster, which errs by 2^-9 of their terms:
    noise to a stochastic optimiser. Gradients reach the weights and values.

    Args:
        weights: attention over the components.
        values: what the components stand for.
        features: x.
        mean_square: what squared distances are measured in.
    """
    loss: Tensor = _ReadLoss.apply(weights, values, features, mean_square)  # type: ignore[no-untyped-call]
    return loss


class _ReadLoss(Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, values: Tensor, x: Tensor, mean_square: float) -> Tensor:
        large = len(weights) * values.numel() >= _WORTH_ROUNDING
        kind = torch.bfloat16 if large and x.device.type == "cpu" and prefers_bf16() else x.dtype
        a, v = weights.to(kind), values.to(kind)
        r = (a @ v).to(x.dtype)
        along, square, own = (torch.linalg.vecdot(p, q) for p, q in ((r, x), (r, r), (x, x)))
        length, own_length = (s.sqrt().clamp(min=_LEAST_LENGTH) for s in (square, own))
        cosine = along / (length * own_length)
        ctx.save_for_backward(a, v, r, x, cosine, length, own_length)
        ctx.mean_square = mean_square
        loss: Tensor = (1 - cosine + (square - 2 * along + own) / mean_square).mean()
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        a, v, r, x, cosine, length, own_length = ctx.saved_tensors
        by_square = 2 / ctx.mean_square
        by_r = (cosine / length.square() + by_square) * (gradient / len(r))
        by_x = (-1 / (length * own_length) - by_square) * (gradient / len(r))
        g = (r * by_r[:, None]).addcmul_(x, by_x[:, None]).to(a.dtype)
        by_weights = (g @ v.T).to(x.dtype) if ctx.needs_input_grad[0] else None
        by_values = (a.T @ g).to(x.dtype) if ctx.needs_input_grad[1] else None
        return by_weights, by_values, None, None
