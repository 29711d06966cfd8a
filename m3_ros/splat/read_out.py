"""Memory attention on a CPU by the kernel: an online softmax over the components, of which nothing is stored."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.splat import kernel

MOST_DIMS = 512
"""Longest query that the kernel takes (kMostDims in csrc/attention.h)."""


def read_out(
    queries: Float[Tensor, "N s"], keys: Float[Tensor, "s t"], values: Float[Tensor, "t T"]
) -> Float[Tensor, "N T"]:
    """Return softmax(queries keys) values for float32 tensors on the CPU. No gradients.

    Raises:
        BackendError: the kernel is not built or ran out of memory.
        ValueError: the shapes do not fit, or the queries are longer than `MOST_DIMS`.
    """
    count, dim = queries.shape
    components, texts = values.shape
    if keys.shape != (dim, components) or dim > MOST_DIMS or components == 0:
        raise ValueError(
            f"queries [N, s <= {MOST_DIMS}] need keys [s, t] and values [t, T], t > 0; got {tuple(queries.shape)}, "
            f"{tuple(keys.shape)} and {tuple(values.shape)}"
        )
    by_component = keys.detach().float().T.contiguous()
    planar = (queries.detach().float().T * math.log2(math.e)).contiguous()  # the kernel raises 2 to the logits, not e
    out = torch.empty(texts, count)
    code = kernel.load().library.m3_read_out(
        components,
        dim,
        texts,
        kernel.pointer(by_component),
        kernel.pointer(values.detach().float().contiguous()),
        count,
        kernel.pointer(planar),
        kernel.pointer(out),
        kernel.threads(),
    )
    kernel.check(code, "memory attention")
    return out.T
