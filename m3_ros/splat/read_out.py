"""Memory attention on a CPU by the kernel: an online softmax over the components, of which nothing is stored."""

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.splat import kernel

MOST_DIMS = 512
"""Longest query that the kernel takes (kMostDims in csrc/attention.h)."""


def read_out(
    queries: Float[Tensor, "N s"],
    keys: Float[Tensor, "s t"],
    values: Float[Tensor, "t T"],
    metric: Float[Tensor, "s s"],
    tau: float,
) -> Float[Tensor, "N T"]:
    """Return softmax(q K / (|q W| tau)) V for float32 tensors on the CPU. No gradients.

    Args:
        queries: q, one a row.
        keys: K.
        values: V, what is read out of the components.
        metric: W W^T, which gives |q W|; lengths below 1e-6 are taken for that.
        tau: temperature.

    Raises:
        BackendError: the kernel is not built or ran out of memory.
        ValueError: the shapes do not fit, or the queries are longer than `MOST_DIMS`.
    """
    count, dim = queries.shape
    components, texts = values.shape
    fits = keys.shape == (dim, components) and metric.shape == (dim, dim)
    if not fits or dim > MOST_DIMS or components == 0:
        raise ValueError(
            f"queries [N, s <= {MOST_DIMS}] need keys [s, t], values [t, T] and a metric [s, s], t > 0; got "
            f"{tuple(queries.shape)}, {tuple(keys.shape)}, {tuple(values.shape)} and {tuple(metric.shape)}"
        )
    by_component, given, read, lengths = (x.detach().float().contiguous() for x in (keys.T, queries, values, metric))
    out = torch.empty(texts, count)
    code = kernel.load().library.m3_read_out(
        components,
        dim,
        texts,
        kernel.pointer(by_component),
        kernel.pointer(lengths),
        tau,
        kernel.pointer(read),
        count,
        kernel.pointer(given),
        kernel.pointer(out),
        kernel.threads(),
    )
    kernel.check(code, "memory attention")
    return out.T
