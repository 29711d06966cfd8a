"""Memory attention: a short query of a Gaussian or pixel, read out of the bank in the encoder's own space."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.features.encoder import unit
from m3_ros.memory.components import MemoryBank

PAPER_TAU = 0.05
"""Temperature of the paper's code."""
_CHUNK = 8192
_EPS = 1e-6


@dataclass(frozen=True, eq=False)
class MemoryAttention:
    """R(q) = softmax(cos(q W, B) / tau) B (the paper's eq. 2 with the cosine and temperature of its code).

    Everything that does not depend on the query is folded once: the keys K = W B^T / |B|, the metric W W^T that gives
    |q W|. Nothing of length D is formed for a query until `reconstruct` is asked for.
    """

    bank: MemoryBank
    """Principal scene components B [t, D]."""
    W: Float[Tensor, "s D"]
    """Projection of queries into the encoder's space."""
    tau: float
    """Temperature."""

    def __post_init__(self) -> None:
        if self.W.ndim != 2 or self.W.shape[1] != self.bank.dim or not self.tau > 0:
            raise ValueError(
                f"memory attention needs W [s, {self.bank.dim}] and tau > 0; got W {tuple(self.W.shape)}, "
                f"tau={self.tau}"
            )

    @property
    def query_dim(self) -> int:
        """Length s of the queries."""
        return self.W.shape[0]

    @cached_property
    def keys(self) -> Float[Tensor, "s t"]:
        """Folded keys W B^T with unit components."""
        return (self.W @ unit(self.bank.components).T).contiguous()

    @cached_property
    def metric(self) -> Float[Tensor, "s s"]:
        """Return W W^T: |q W|^2 = q W W^T q^T."""
        return self.W @ self.W.T

    def weights(self, queries: Float[Tensor, "N s"]) -> Float[Tensor, "N t"]:
        """Return the attention over the components; each row sums to one. A zero query attends to all alike."""
        q = queries.float()
        norm = ((q @ self.metric) * q).sum(dim=1, keepdim=True).clamp(min=0).sqrt().clamp(min=_EPS)
        return torch.softmax((q / (norm * self.tau)) @ self.keys, dim=1)

    def reconstruct(self, queries: Float[Tensor, "N s"]) -> Float[Tensor, "N D"]:
        """Return the features that the queries stand for, in the encoder's space, not normalised."""
        return torch.cat([self.weights(q) @ self.bank.components for q in _chunks(queries)])

    def norms(self, queries: Float[Tensor, "N s"]) -> Float[Tensor, " N"]:
        """Return |R(q)| exactly, = sqrt(a B B^T a^T).

        It depends on no text: compute it once and hand it to `text_scores`.
        """
        parts = []
        for q in _chunks(queries):
            a = self.weights(q)
            if len(self.bank) <= self.bank.dim:
                parts.append(((a @ self._gram) * a).sum(dim=1).clamp(min=0).sqrt())
            else:
                parts.append(torch.linalg.vector_norm(a @ self.bank.components, dim=1))
        return torch.cat(parts)

    def text_scores(
        self,
        queries: Float[Tensor, "N s"],
        text: Float[Tensor, "T D"],
        norms: Float[Tensor, " N"] | None = None,
    ) -> Float[Tensor, "N T"]:
        """Return cos(R(q), text) = a (B t) / (|R| |t|), without maps of length D.

        Args:
            queries: one row a Gaussian (the direct 3D query) or a pixel after blending (the paper's order).
            text: text vectors of any length.
            norms: `norms(queries)` if already known.
        """
        values = self.bank.components @ unit(text.float()).T
        length = self.norms(queries) if norms is None else norms
        scores = torch.cat([self.weights(q) @ values for q in _chunks(queries)])
        return scores / length.clamp(min=_EPS)[:, None]

    @cached_property
    def _gram(self) -> Float[Tensor, "t t"]:
        return self.bank.components @ self.bank.components.T


def _chunks(queries: Float[Tensor, "N s"]) -> Iterator[Float[Tensor, "n s"]]:
    for start in range(0, max(len(queries), 1), _CHUNK):
        yield queries[start : start + _CHUNK]


def frozen_projection(query_dim: int, dim: int, seed: int = 0) -> Float[Tensor, "s D"]:
    """Return the paper's W: standard normal, never trained."""
    return torch.randn(query_dim, dim, generator=torch.Generator().manual_seed(seed))


def pca_projection(second_moment: Float[Tensor, "D D"], query_dim: int) -> Float[Tensor, "s D"]:
    """Return orthonormal rows that keep most of unit features with the given (uncentred) second moment E[x x^T].

    With q = W x the product q W is the best rank-s image of x, so that queries can be had by projection alone.
    """
    _, vectors = torch.linalg.eigh(second_moment.double())
    W = vectors[:, -min(query_dim, second_moment.shape[0]) :].flip(dims=[1]).T
    largest = W.gather(1, W.abs().argmax(dim=1, keepdim=True))
    signed: Tensor = (W * torch.sign(largest)).float().contiguous()
    return signed


def fit_tau(
    bank: MemoryBank,
    W: Float[Tensor, "s D"],
    sample: Float[Tensor, "n D"],
    taus: tuple[float, ...] = (0.1, 0.05, 0.03, 0.02, 0.01, 0.005),
) -> float:
    """Return the temperature whose read-out of projected sample features is closest to them by cosine."""
    x = unit(sample.float())
    queries = x @ torch.linalg.pinv(W)

    def fidelity(tau: float) -> float:
        return float((unit(MemoryAttention(bank, W, tau).reconstruct(queries)) * x).sum(dim=1).mean())

    return max(taus, key=fidelity)
