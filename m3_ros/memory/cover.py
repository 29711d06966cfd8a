"""A true cover of a stream of features: no feature is farther from its nearest component than was asked."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from m3_ros.errors import TrainingError
from m3_ros.features.encoder import unit
from m3_ros.features.vision_transformer import prefers_bf16
from m3_ros.memory.attention import pca_projection
from m3_ros.memory.components import Coverage, Selection, check_selection

log = logging.getLogger(__name__)

_BLOCK = 4096
_BOUNDED_BLOCK = 2048
"""Bounds of so many features at once stay in the cache."""
_PREVIEW_STEP = 10
_ROUNDING = 2.0**-7
"""More than bfloat16 can err by in a cosine: 2^-9 for each factor and for the product, of at most 1 in all."""
_EXACT = 1e-6
_DIRECTIONS = 5
"""Cosines are bounded along one of so many directions, in float32; that many times fewer products."""
_GROUPS = 8
_WORTH_BOUNDING = 1024
"""Fewer components are multiplied with in full."""


def cover_components(chunks: Iterable[Float[Tensor, "n D"]], theta: float, cap: int) -> Selection:
    """Choose components so that every feature has one within cosine `theta`: a greedy cover of the stream.

    A tenth of the features is covered first, then what that left uncovered. Takes at most `cap` components: when more
    are needed, theta is lowered, the components chosen so far are thinned by the new theta, and the features are gone
    through again, so that the cover is a true one at the theta returned. Cosines are multiplied in bfloat16 where the
    processor does, and again in float32 where that leaves a doubt: the choice is the same.

    Args:
        chunks: the features in blocks; gone through three or more times, so a list or an object with `__iter__`, not a
            generator.
        theta: cosine in (0, 1].
        cap: most components wanted, at least 1.

    Raises:
        TrainingError: there is no non-zero feature, or a setting is out of range.
    """
    check_selection(theta, cap)
    cover = _Cover(theta, cap)
    cover.take(_Thinned(chunks, _PREVIEW_STEP))
    cover.take(chunks)
    if len(cover.chosen) == 0:
        raise TrainingError(
            "no component can be chosen: the encoder gave no non-zero feature; check its validity mask and input"
        )
    return Selection(cover.chosen, cover.theta, cover.theta < theta, cover.coverage(chunks))


@dataclass(frozen=True, eq=False)
class _Thinned:
    """Every tenth or so of the features: a quick look finds most components, and the theta that the cap asks for."""

    chunks: Iterable[Float[Tensor, "n D"]]
    step: int

    def __iter__(self) -> Iterator[Float[Tensor, "m D"]]:
        for i, chunk in enumerate(self.chunks):
            yield chunk[i % self.step :: self.step]


class _Keys:
    """Unit components to compare features with; they grow with the cover."""

    def __init__(self, components: Float[Tensor, "t D"]) -> None:
        self._exact = unit(components)
        self._rounded = self._exact.bfloat16() if prefers_bf16() else None
        self._bounds = self._bounded()

    def extend(self, components: Float[Tensor, "m D"]) -> None:
        """Take more components."""
        more = unit(components)
        self._exact = torch.cat([self._exact, more])
        if self._rounded is not None:
            self._rounded = torch.cat([self._rounded, more.bfloat16()])
        if self._bounds is None:
            self._bounds = self._bounded()
        else:
            self._bounds.extend(more)

    def _bounded(self) -> "_Bounds | None":
        return None if self._rounded is not None or len(self._exact) < _WORTH_BOUNDING else _Bounds(self._exact)

    def nearest(self, x: Float[Tensor, "n D"], length: Float[Tensor, " n"], theta: float) -> Float[Tensor, " n"]:
        """Return the cosine of each feature to its nearest component, exact to float32 around theta."""
        if self._bounds is not None:
            parts = zip(torch.split(x, _BOUNDED_BLOCK), torch.split(length, _BOUNDED_BLOCK), strict=True)
            return torch.cat([self._by_bounds(*part, self._bounds) for part in parts]) / length
        if self._rounded is None:
            return (x @ self._exact.T).amax(dim=1) / length
        cosine = (x.bfloat16() @ self._rounded.T).amax(dim=1).float() / length
        doubtful = (cosine < theta + _ROUNDING) & (cosine > theta - _ROUNDING)
        if bool(doubtful.any()):
            cosine[doubtful] = (x[doubtful] @ self._exact.T).amax(dim=1) / length[doubtful]
        return cosine

    def _by_bounds(
        self, x: Float[Tensor, "n D"], length: Float[Tensor, " n"], bounds: "_Bounds"
    ) -> Float[Tensor, " n"]:
        """Multiply with the component of the highest bound; with all where the next bound lies above that product."""
        best, next_bound = _two_highest(bounds.of(x, length))
        product: Tensor = (x * self._exact.index_select(0, best)).sum(dim=1)
        open_ = next_bound > product
        if bool(open_.any()):
            product[open_] = (x[open_] @ self._exact.T).amax(dim=1)
        return product


class _Bounds:
    """Upper bounds of products with unit components: along the strongest directions, and the lengths of what is left.

    x . c = x_p . c_p + x_r . c_r <= x_p . c_p + |x_r| |c_r| (Cauchy and Schwarz): one product of few numbers.
    """

    def __init__(self, components: Float[Tensor, "t D"]) -> None:
        self._basis = pca_projection(components.T @ components, max(1, components.shape[1] // _DIRECTIONS)).T
        self._components = self._split(components, components.norm(dim=1))

    def extend(self, components: Float[Tensor, "m D"]) -> None:
        """Take more components."""
        self._components = torch.cat([self._components, self._split(components, components.norm(dim=1))])

    def of(self, x: Float[Tensor, "n D"], length: Float[Tensor, " n"]) -> Float[Tensor, "n groups t/groups"]:
        """Return bounds of the product with each component, in groups; those beyond the last are -inf."""
        count = len(self._components)
        bound = self._split(x, length) @ pad(self._components, (0, 0, 0, -count % _GROUPS)).T
        bound[:, count:] = -torch.inf
        return bound.view(len(x), _GROUPS, -1)

    def _split(self, x: Float[Tensor, "n D"], length: Float[Tensor, " n"]) -> Float[Tensor, "n p"]:
        """Return what lies along the directions, and the length of the rest, rounded up."""
        along, square = x @ self._basis, length.square()
        rest = (square - along.square().sum(dim=1)).clamp(min=0) + 1e-5 * square
        return torch.cat([along, rest.sqrt()[:, None]], dim=1)


def _two_highest(x: Float[Tensor, "n groups m"]) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Return where the highest number of each row stands, and the second highest.

    The highest of each group first: that is fast, while where they stand is slow to tell.
    """
    count, groups, size = x.shape
    highest = x.amax(dim=2)
    group = highest.argmax(dim=1)
    members = x.view(-1, size).index_select(0, torch.arange(count) * groups + group)
    place = members.argmax(dim=1)
    members.scatter_(1, place[:, None], -torch.inf)
    highest.scatter_(1, group[:, None], members.amax(dim=1, keepdim=True))
    return group * size + place, highest.amax(dim=1)


class _Cover:
    """A cover while it grows."""

    def __init__(self, theta: float, cap: int) -> None:
        self.theta, self.cap = theta, cap
        self.chosen = torch.empty(0, 0)
        self._nearest: list[tuple[Tensor, int]] = []  # of each block, and how many components there were then

    def take(self, chunks: Iterable[Float[Tensor, "n D"]]) -> None:
        """Extend the cover greedily, over and over until a pass needs no lower theta."""
        lowered = True
        while lowered:
            lowered, self._nearest, keys = False, [], None
            for x, length in _blocks(chunks):
                keys = keys if keys is not None else _Keys(self.chosen) if len(self.chosen) else None
                cosine = torch.full_like(length, -1) if keys is None else keys.nearest(x, length, self.theta)
                self._nearest.append((cosine, len(self.chosen)))
                new = x[cosine < self.theta - _EXACT]
                if len(new):
                    new = new[_thinned(_similarities(new), self.theta)]
                    self.chosen = torch.cat([self.chosen, new]) if len(self.chosen) else new
                    if keys is not None:
                        keys.extend(new)
                if len(self.chosen) > self.cap:
                    self._lower()
                    lowered, keys = True, None
            if lowered:
                log.info("theta lowered to %.3f to keep %d components", self.theta, len(self.chosen))

    def coverage(self, chunks: Iterable[Float[Tensor, "n D"]]) -> Coverage:
        """Bring the cosines of the last pass up to date with the components that came after, and sum them up."""
        parts, known_before, later = [], -1, None
        for (x, length), (cosine, known) in zip(_blocks(chunks), self._nearest, strict=True):
            if known != known_before:  # most blocks add none
                known_before, later = known, _Keys(self.chosen[known:]) if known < len(self.chosen) else None
            parts.append(cosine if later is None else torch.maximum(cosine, later.nearest(x, length, self.theta)))
        return Coverage.of(torch.cat(parts), self.theta)

    def _lower(self) -> None:
        """Find by bisection the highest theta at which the components thin out to half the cap; keep those."""
        low, high, wanted = -1.0, self.theta, max(1, self.cap // 2)
        similarities = _similarities(self.chosen)
        for _ in range(10):
            middle = (low + high) / 2
            low, high = (low, middle) if len(_thinned(similarities, middle)) > wanted else (middle, high)
        self.theta = low
        self.chosen = self.chosen[_thinned(similarities, low)]


def _blocks(chunks: Iterable[Float[Tensor, "n D"]]) -> Iterator[tuple[Float[Tensor, "m D"], Float[Tensor, " m"]]]:
    """Yield the non-zero rows and their lengths, in blocks that keep the products small."""
    for chunk in chunks:
        for start in range(0, len(chunk), _BLOCK):
            x = chunk[start : start + _BLOCK].float()
            length: Tensor = torch.linalg.vector_norm(x, dim=1)
            some = length > 0
            if not bool(some.all()):
                x, length = x[some], length[some]
            if len(x):
                yield x, length


def _similarities(x: Float[Tensor, "n D"]) -> Float[Tensor, "n n"]:
    u = unit(x)
    return u @ u.T


def _thinned(similarities: Float[Tensor, "n n"], theta: float) -> list[int]:
    """Cover some features by themselves, exactly as if they came one by one; return the numbers of those chosen."""
    near = (similarities >= theta - _EXACT).numpy()
    alive = np.ones(len(near), dtype=bool)
    kept = []
    for i in range(len(near)):
        if alive[i]:
            kept.append(i)
            alive &= ~near[i]
    return kept
