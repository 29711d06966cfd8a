"""Muon: matrices step along the nearest orthogonal matrix of their momentum, so that every direction learns.

Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), and for the size of a step
Liu et al., "Muon is scalable for LLM training", arXiv 2502.16982, section 2.2.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_ADAMW_SCALE = 0.2


def orthogonalise(matrices: Float[Tensor, "b m n"]) -> Float[Tensor, "b m n"]:
    """Push the singular values of each matrix towards one: all but tiny ones end between about 0.7 and 1.2.

    Every iteration X <- p(X X^T) X multiplies from the left with a polynomial of the first X X^T. Those are multiplied
    with each other first, and with X once: matrices are often much wider than high.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    gram = x @ x.mT
    product = _polynomial(gram)
    for _ in range(_ITERATIONS - 1):
        product = _polynomial(product @ gram @ product) @ product
    x = product @ x
    flat: Tensor = x.mT if tall else x
    return flat


def _polynomial(gram: Float[Tensor, "b m m"]) -> Float[Tensor, "b m m"]:
    """Return p(G) = a I + b G + c G^2."""
    a, b, c = _NEWTON_SCHULZ
    found = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    found.diagonal(dim1=-2, dim2=-1).add_(a)
    return found


class Muon(torch.optim.Optimizer):
    """Steps for weights of hidden layers, convolutions among them; as large as AdamW's at the same learning rate.

    torch.optim.Muon takes no convolutions, and multiplies in bfloat16, which most CPUs only emulate.
    """

    def __init__(
        self, weights: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Take one step of all weights that have a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(state["momentum"], group["momentum"])
                direction = orthogonalise(ahead.reshape(_matrices(weight), -1, ahead[0].numel()))
                size = _ADAMW_SCALE * max(direction.shape[-2:]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(direction.reshape(weight.shape), alpha=-group["lr"] * size)


def _matrices(weight: Tensor) -> int:
    """Return how many matrices lie on each other: queries, keys and values share one parameter."""
    return 3 if weight.ndim == 2 and len(weight) == 3 * weight.shape[1] else 1


def optimisers(
    network: nn.Module, head: nn.Module, lr: float, weight_decay: float
) -> tuple[torch.optim.Optimizer, ...]:
    """Return Muon for the hidden layers, and AdamW for the head, depth-wise filters, norms and biases."""
    hidden: list[nn.Parameter] = [
        layer.weight  # type: ignore[misc]
        for layer in network.modules()
        if layer is not head and (isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1))
    ]
    taken = {id(weight) for weight in hidden}
    others = [p for p in network.parameters() if id(p) not in taken]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return Muon(hidden, lr, weight_decay), torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)
