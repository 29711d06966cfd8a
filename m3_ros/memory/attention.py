"""Memory attention: a short query of a Gaussian or pixel, read out of the bank in the encoder's own space."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.features.encoder import unit
from m3_ros.memory.components import MemoryBank
from m3_ros.splat.read_out import MOST_DIMS, read_out

PAPER_TAU = 0.05
"""Temperature of the paper's code."""
_CHUNK = 8192
_EPS = 1e-6
_MOST_EXACT = 1024
_SPARE = 16
_ROUNDS = 10
_MOST_SAMPLES = 1024


@dataclass(frozen=True, eq=False)
class MemoryAttention:
    """R(q) = softmax(cos(q W, B) / tau) B (the paper's eq. 2 with the cosine and temperature of its code).

    Everything that does not depend on the query is folded once: the keys K = W B^T / |B|, the metric W W^T that gives
    |q W|. Nothing of length D is formed for a query until `reconstruct` is asked for. A learned memory gives its own
    keys: those of the components as they were chosen, before what they stand for was fitted to all that was seen.
    """

    bank: MemoryBank
    """Principal scene components B [t, D]."""
    W: Float[Tensor, "s D"]
    """Projection of queries into the encoder's space."""
    tau: float
    """Temperature."""
    own_keys: Float[Tensor, "s t"] | None = None
    """Keys where they are not W B^T / |B|; None: they are."""

    def __post_init__(self) -> None:
        if self.W.ndim != 2 or self.W.shape[1] != self.bank.dim or not self.tau > 0:
            raise ValueError(
                f"memory attention needs W [s, {self.bank.dim}] and tau > 0; got W {tuple(self.W.shape)}, "
                f"tau={self.tau}"
            )
        if self.own_keys is not None and self.own_keys.shape != (self.query_dim, len(self.bank)):
            raise ValueError(
                f"memory attention needs keys [{self.query_dim}, {len(self.bank)}]; got {tuple(self.own_keys.shape)}"
            )

    @property
    def query_dim(self) -> int:
        """Length s of the queries."""
        return self.W.shape[0]

    @cached_property
    def keys(self) -> Float[Tensor, "s t"]:
        """What queries are compared with: W B^T with unit components, unless the memory has keys of its own."""
        if self.own_keys is not None:
            return self.own_keys.contiguous()
        return (self.W @ unit(self.bank.components).T).contiguous()

    @cached_property
    def metric(self) -> Float[Tensor, "s s"]:
        """Return W W^T: |q W|^2 = q W W^T q^T."""
        return self.W @ self.W.T

    @property
    def size_bytes(self) -> int:
        """Bytes of all that reads queries out, as a saved memory holds it: half precision, keys and W in full."""
        own = 0 if self.own_keys is None else self.own_keys.numel()
        return 2 * self.bank.components.numel() + 4 * (self.W.numel() + own)

    def weights(self, queries: Float[Tensor, "N s"]) -> Float[Tensor, "N t"]:
        """Return the attention over the components; each row sums to one. A zero query attends to all alike."""
        return torch.softmax(self._sharpened(queries) @ self.keys, dim=1)

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
        along = self.bank.components @ unit(text.float()).T
        length = self.norms(queries) if norms is None else norms
        wants_gradients = torch.is_grad_enabled() and (queries.requires_grad or along.requires_grad)
        fused = queries.device.type == "cpu" and self.query_dim <= MOST_DIMS and not wants_gradients
        read = self.read_fused if fused else self.read_plain
        return read(queries, along) / length.clamp(min=_EPS)[:, None]

    def read_fused(self, queries: Float[Tensor, "N s"], along: Float[Tensor, "t T"]) -> Float[Tensor, "N T"]:
        """Return the attention times some columns by the CPU kernel, where nothing of length t is stored."""
        return read_out(queries, self.keys, along, self.metric, self.tau)

    def read_plain(self, queries: Float[Tensor, "N s"], along: Float[Tensor, "t T"]) -> Float[Tensor, "N T"]:
        """Return the same in plain torch, on any device and with gradients."""
        return torch.cat([self.weights(q) @ along for q in _chunks(queries)])

    def _sharpened(self, queries: Float[Tensor, "N s"]) -> Float[Tensor, "N s"]:
        """Return q / (|q W| tau), whose product with a key is the logit."""
        q = queries.float()
        norm = ((q @ self.metric) * q).sum(dim=1, keepdim=True).clamp(min=0).sqrt().clamp(min=_EPS)
        return q / (norm * self.tau)

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
    W = _leading(second_moment, min(query_dim, second_moment.shape[0])).T
    largest = W.gather(1, W.abs().argmax(dim=1, keepdim=True))
    signed: Tensor = (W * torch.sign(largest)).float().contiguous()
    return signed


def _leading(matrix: Float[Tensor, "D D"], count: int) -> Float[Tensor, "D s"]:
    """Return the leading eigenvectors of a symmetric matrix, largest first, as columns."""
    if matrix.shape[0] > _MOST_EXACT:  # by subspace iteration: a full decomposition would take minutes for D = 4096
        generator = torch.Generator().manual_seed(0)
        basis = torch.randn(matrix.shape[0], count + _SPARE, dtype=matrix.dtype, generator=generator)
        for _ in range(_ROUNDS):
            basis, _ = torch.linalg.qr(matrix @ basis)
        _, rotation = torch.linalg.eigh(basis.T @ matrix @ basis)
        vectors: Tensor = basis @ rotation
    else:
        _, vectors = torch.linalg.eigh(matrix.double())
    return vectors[:, -count:].flip(dims=[1])


def fit_tau(
    bank: MemoryBank,
    W: Float[Tensor, "s D"],
    sample: Float[Tensor, "n D"],
    queries: Float[Tensor, "n s"] | None = None,
    taus: tuple[float, ...] = (0.1, 0.07, 0.05, 0.035, 0.025, 0.01, 0.005),
) -> float:
    """Return the temperature whose read-out of queries is closest by cosine to the features that they stand for.

    Args:
        bank: components to attend to.
        W: projection of queries.
        sample: features.
        queries: of the same places, such as blended ones, which ask for a softer attention; None: projected features.
        taus: temperatures to choose from.
    """
    step = max(1, len(sample) // _MOST_SAMPLES)
    x = unit(sample[::step].float())
    asked = x @ torch.linalg.pinv(W) if queries is None else queries[::step]

    def fidelity(tau: float) -> float:
        return float((unit(MemoryAttention(bank, W, tau).reconstruct(asked)) * x).sum(dim=1).mean())

    return max(taus, key=fidelity)
