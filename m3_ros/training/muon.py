"""Muon: matrices step along the nearest orthogonal matrix of their momentum, so that every direction learns.

Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), and for the size of a step
Liu et al., "Muon is scalable for LLM training", arXiv 2502.16982, section 2.2. The polynomials: Amsel et al.,
"The Polar Express", arXiv 2505.16932, algorithm 1.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

_POLYNOMIALS = ((8.0934, -23.6204, 17.4462), (3.6366, -2.7219, 0.5365), (2.6613, -1.9772, 0.4526))
"""Coefficients of x, x^3 and x^5: each the best of its degree on what those before it leave of [0.01, 1]."""
_ADAMW_SCALE = 0.2


def orthogonalise(matrices: Float[Tensor, "b m n"]) -> Float[Tensor, "b m n"]:
    """Push the singular values of each matrix towards one: from a hundredth of their bound on to between 0.73 and 1.27.

    Every polynomial X <- p(X X^T) X multiplies from the left with a polynomial of the first X X^T. Those are multiplied
    with each other first, and with X once: matrices are often much wider than high.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    gram = x @ x.mT
    largest = gram.norm(dim=(-2, -1), keepdim=True).sqrt().clamp(min=1e-7)  # no singular value is larger
    gram = gram / largest**2
    product = _polynomial(gram, *_POLYNOMIALS[0])
    for coefficients in _POLYNOMIALS[1:]:
        product = _polynomial(product @ gram @ product, *coefficients) @ product
    x = (product / largest) @ x
    flat: Tensor = x.mT if tall else x
    return flat


def _polynomial(gram: Float[Tensor, "b m m"], a: float, b: float, c: float) -> Float[Tensor, "b m m"]:
    """Return p(G) = a I + b G + c G^2."""
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
            shapes: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(state["momentum"], group["momentum"])
                matrices = ahead.reshape(_matrices(weight), -1, ahead[0].numel())
                shapes.setdefault((matrices.shape[1], matrices.shape[2]), []).append((weight, matrices))
            for (m, n), alike in shapes.items():  # matrices of one shape in one go
                directions = orthogonalise(torch.cat([matrices for _, matrices in alike]))
                size = _ADAMW_SCALE * max(m, n) ** 0.5
                parts = torch.split(directions, [len(x) for _, x in alike])
                for (weight, _), direction in zip(alike, parts, strict=True):
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
