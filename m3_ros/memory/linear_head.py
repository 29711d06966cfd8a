"""The linear head: each Gaussian as a sparse sum of principal scene components, exact in 3D.

Blending is linear, so what is read out of a Gaussian and then blended equals what is blended and then read out. The
memory attention has no such exact counterpart; it remembers more in fewer numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from m3_ros.features.encoder import unit
from m3_ros.memory.attention import pca_projection
from m3_ros.memory.components import MemoryBank
from m3_ros.memory.lift import View, lift
from m3_ros.splat.gaussians import Gaussians

_BLOCK = 8192
_RIDGE = 1e-4


@dataclass(frozen=True, eq=False)
class LinearHead:
    """A sparse code over the bank for each Gaussian."""

    bank: MemoryBank
    """Principal scene components."""
    index: Int[Tensor, "N K"]
    """Components of each Gaussian."""
    weights: Float[Tensor, "N K"]
    """How much of each; zero where the Gaussian was never seen."""

    @property
    def size_bytes(self) -> int:
        """Bytes of codes and bank as they are saved: weights of eight bits with a scale each row, the rest of 16."""
        return 2 * (self.index.numel() + self.bank.components.numel()) + self.weights.numel() + 4 * len(self.weights)

    def features(self) -> Float[Tensor, "N D"]:
        """Return what each Gaussian stands for, in the encoder's space, not normalised."""
        parts = zip(self.index.long().split(_BLOCK), self.weights.split(_BLOCK), strict=True)  # type: ignore[no-untyped-call]
        return torch.cat([torch.einsum("nk,nkd->nd", w, self.bank.components[i]) for i, w in parts])

    def text_scores(self, text: Float[Tensor, "T D"]) -> Float[Tensor, "N T"]:
        """Return the cosine of each Gaussian to each text: one product with the bank, then K look-ups a Gaussian."""
        along = self.bank.components @ unit(text.float()).T
        gram = self.bank.components @ self.bank.components.T
        parts = []
        for i, w in zip(self.index.long().split(_BLOCK), self.weights.split(_BLOCK), strict=True):  # type: ignore[no-untyped-call]
            square = torch.einsum("nk,nl,nkl->n", w, w, gram[i[:, :, None], i[:, None]])
            scores = torch.einsum("nk,nkt->nt", w, along[i])
            parts.append(scores / square.clamp(min=1e-12).sqrt()[:, None])
        return torch.cat(parts)


def lift_codes(
    views: Iterable[View],
    gaussians: Gaussians,
    bank: MemoryBank,
    moment: Float[Tensor, "D D"],
    width: int,
    most: int = 8,
    channels: int = 64,
    min_weight: float = 0.05,
) -> LinearHead:
    """Lift features as they are along their main directions, and code what each Gaussian got over the bank.

    Args:
        views: what one encoder saw.
        gaussians: the geometry.
        bank: its components.
        moment: second moment of its features: what the main directions are taken from.
        width: width [px] at which the Gaussians are splatted.
        most: components of a code.
        channels: directions that are lifted.
        min_weight: a Gaussian whose alpha-weights sum to less than this [px] gets no code.
    """
    directions = pca_projection(moment, channels)
    (lifted,) = lift(views, gaussians, [directions.T.contiguous()], width, normalised=False)
    return coded(lifted.mean(min_weight)[0], bank, directions.T, most)


def coded(mean: Float[Tensor, "N s"], bank: MemoryBank, to_query: Float[Tensor, "D s"], most: int) -> LinearHead:
    """Code over the bank what was lifted through a projection: no further pass over the views.

    Args:
        mean: projected feature of each Gaussian, zero where it was never seen.
        bank: its components are projected likewise.
        to_query: the projection.
        most: components of a code.
    """
    index, weights = sparse_codes(mean, bank.components @ to_query, most)
    return LinearHead(bank, index.int(), weights)


def sparse_codes(
    x: Float[Tensor, "n d"], components: Float[Tensor, "t d"], most: int
) -> tuple[Int[Tensor, "n K"], Float[Tensor, "n K"]]:
    """Code vectors as sums of few components by orthogonal matching pursuit.

    The component that fits best what is left joins the code, and all its weights are fitted anew, until there are
    `most` (at most as many as there are components). Zero vectors get zero weights.
    """
    most = min(most, len(components))
    pairs = [_pursue(part, components, most) for part in torch.split(x, _BLOCK)]
    return torch.cat([index for index, _ in pairs]), torch.cat([weights for _, weights in pairs])


def _pursue(x: Tensor, components: Tensor, most: int) -> tuple[Tensor, Tensor]:
    keys = unit(components)
    index = torch.zeros(len(x), 0, dtype=torch.long)
    weights, rest = torch.zeros(len(x), 0), x
    for _ in range(most):
        fit = (rest @ keys.T).scatter_(1, index, -torch.inf)
        index = torch.cat([index, fit.argmax(dim=1, keepdim=True)], dim=1)
        chosen = components[index]
        gram = chosen @ chosen.mT
        damping = _RIDGE * gram.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-12
        gram = gram + damping[:, None, None] * torch.eye(index.shape[1])
        weights = torch.linalg.solve(gram, (chosen @ x[:, :, None])[..., 0])
        rest = x - torch.einsum("nk,nkd->nd", weights, chosen)
    return index, weights
