"""Principal scene components: the few feature vectors that stand for everything one model saw in a place."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.errors import TrainingError
from m3_ros.features.encoder import unit

log = logging.getLogger(__name__)

_BLOCK = 4096
_PREVIEW_STEP = 10


@dataclass(frozen=True)
class Coverage:
    """How well a bank stands for the features that it was chosen from: the cosine of each to its nearest component."""

    mean: float
    """Mean cosine."""
    minimum: float
    """Worst cosine."""
    share_below: float
    """Share of features whose cosine is below theta."""
    count: int
    """Number of features measured."""


@dataclass(frozen=True)
class MemoryBank:
    """The principal scene components (PSC) of one encoder."""

    components: Float[Tensor, "t D"]
    """Chosen feature vectors as the encoder gave them, float32."""
    encoder_name: str
    """Encoder in the registry."""
    encoder_version: str
    """Fingerprint of the encoder's weights and preprocessing."""
    theta: float
    """Cosine that the selection ended with; lower than asked where the cap forced it."""
    coverage: Coverage
    """Measured over all features that were offered."""
    capped: bool
    """The cap was reached and theta lowered."""
    method: Literal["cover", "paper"]
    """How the components were chosen."""

    def __len__(self) -> int:
        return self.components.shape[0]

    @property
    def dim(self) -> int:
        """Length D of the components."""
        return self.components.shape[1]

    @property
    def size_bytes(self) -> int:
        """Bytes that the components take in memory."""
        return self.components.numel() * self.components.element_size()


@dataclass(frozen=True)
class Selection:
    """Chosen components, before they get the name of an encoder."""

    components: Float[Tensor, "t D"]
    """Chosen features, not normalised."""
    theta: float
    """Cosine in force at the end."""
    capped: bool
    """The cap was reached."""
    coverage: Coverage
    """Measured over all features."""

    def bank(self, encoder_name: str, encoder_version: str, method: Literal["cover", "paper"]) -> MemoryBank:
        """Name the encoder that the features came from."""
        return MemoryBank(
            self.components, encoder_name, encoder_version, self.theta, self.coverage, self.capped, method
        )


def cover_components(chunks: Iterable[Float[Tensor, "n D"]], theta: float, cap: int) -> Selection:
    """Choose components so that every feature has one within cosine `theta`: a greedy cover of the stream.

    A tenth of the features is covered first, then what that left uncovered. Takes at most `cap` components: when more
    are needed, theta is lowered, the components chosen so far are thinned by the new theta, and the features are gone
    through again, so that the cover is a true one at the theta returned.

    Args:
        chunks: the features in blocks; gone through three or more times, so a list or an object with `__iter__`, not a
            generator.
        theta: cosine in (0, 1].
        cap: most components wanted, at least 1.

    Raises:
        TrainingError: there is no non-zero feature, or a setting is out of range.
    """
    _check(theta, cap)
    chosen, reached = _cover(_Thinned(chunks, _PREVIEW_STEP), torch.empty(0, 0), theta, cap)
    chosen, reached = _cover(chunks, chosen, reached, cap)
    if len(chosen) == 0:
        raise TrainingError(
            "no component can be chosen: the encoder gave no non-zero feature; check its validity mask and input"
        )
    return Selection(chosen, reached, reached < theta, coverage(chunks, chosen, reached))


def _cover(
    chunks: Iterable[Float[Tensor, "n D"]], chosen: Float[Tensor, "t D"], theta: float, cap: int
) -> tuple[Float[Tensor, "t2 D"], float]:
    """Extend a cover greedily, over and over until a pass needs no lower theta; return it and the theta reached."""
    lowered = True
    while lowered:
        lowered = False
        for chunk in chunks:
            for block in _blocks(chunk):
                chosen = _extend(chosen, block, theta)
                while len(chosen) > cap:
                    theta = _lower(chosen, theta, cap)
                    chosen = _extend(torch.empty(0, 0), chosen, theta)
                    lowered = True
        if lowered:
            log.info("theta lowered to %.3f to keep %d components", theta, len(chosen))
    return chosen, theta


@dataclass(frozen=True, eq=False)
class _Thinned:
    """Every tenth or so of the features: a quick look finds most components, and the theta that the cap asks for."""

    chunks: Iterable[Float[Tensor, "n D"]]
    step: int

    def __iter__(self) -> Iterator[Float[Tensor, "m D"]]:
        for i, chunk in enumerate(self.chunks):
            yield chunk[i % self.step :: self.step]


def paper_components(features: Float[Tensor, "n D"], theta: float, chunk: int = 5000) -> Selection:
    """Choose components by the paper's Algorithm 1, faithfully.

    In order: a feature is passed over if it is used; otherwise, with J = {i : cos(x_j, x_i) >= theta}, it is kept and
    all of J becomes used, but only if nothing in J is used yet. A feature with a used neighbour is neither kept nor
    covered: that is the paper's rule.

    Raises:
        TrainingError: theta is out of range or there is no non-zero feature.
    """
    _check(theta, 1)
    features = features[(features != 0).any(dim=1)]
    if len(features) == 0:
        raise TrainingError("no component can be chosen: there are no non-zero features")
    x = unit(features.float())
    used = torch.zeros(len(x), dtype=torch.bool)
    kept: list[int] = []
    for start in range(0, len(x), chunk):
        near = x[start : start + chunk] @ x.T >= theta - 1e-6
        for row in range(len(near)):
            if not used[start + row] and not bool((near[row] & used).any()):
                kept.append(start + row)
                used |= near[row]
    components = features[torch.tensor(kept, dtype=torch.long)].float().clone()
    return Selection(components, theta, False, coverage([features], components, theta))


def coverage(chunks: Iterable[Float[Tensor, "n D"]], components: Float[Tensor, "t D"], theta: float) -> Coverage:
    """Measure the cosine of every non-zero feature to its nearest component."""
    keys = unit(components).T.contiguous()
    total, below, count, lowest = 0.0, 0, 0, 1.0
    for chunk in chunks:
        for block in _blocks(chunk):
            if len(block) == 0:
                continue
            nearest = (unit(block) @ keys).amax(dim=1)
            total += float(nearest.double().sum())
            below += int((nearest < theta - 1e-5).sum())
            lowest = min(lowest, float(nearest.min()))
            count += len(block)
    return Coverage(total / max(count, 1), lowest, below / max(count, 1), count)


def _check(theta: float, cap: int) -> None:
    if not 0 < theta <= 1 or cap < 1:
        raise TrainingError(f"components need theta in (0, 1] and a cap of at least 1; got theta={theta}, cap={cap}")


def _blocks(chunk: Float[Tensor, "n D"]) -> Iterator[Float[Tensor, "m D"]]:
    """Yield the non-zero rows in blocks that keep the Gram matrices small."""
    for start in range(0, len(chunk), _BLOCK):
        block = chunk[start : start + _BLOCK].float()
        yield block[(block != 0).any(dim=1)]


def _extend(chosen: Float[Tensor, "t D"], block: Float[Tensor, "n D"], theta: float) -> Float[Tensor, "t2 D"]:
    """Add the features of a block that are not covered, exactly as if they came one by one."""
    if len(block) == 0:
        return chosen
    x = unit(block)
    if len(chosen):
        survivors = ((x @ unit(chosen).T).amax(dim=1) < theta - 1e-6).nonzero()[:, 0]
        block, x = block[survivors], x[survivors]
    near = (x @ x.T >= theta - 1e-6).numpy()
    alive = torch.ones(len(x), dtype=torch.bool).numpy()
    kept = []
    for i in range(len(x)):
        if alive[i]:
            kept.append(i)
            alive &= ~near[i]
    new = block[kept]
    return torch.cat([chosen, new]) if len(chosen) else new.clone()


def _lower(chosen: Float[Tensor, "t D"], theta: float, cap: int) -> float:
    """Find by bisection the highest theta at which the chosen components thin out to half the cap."""
    low, high = -1.0, theta
    wanted = max(1, cap // 2)
    for _ in range(10):
        middle = (low + high) / 2
        if len(_extend(torch.empty(0, 0), chosen, middle)) > wanted:
            high = middle
        else:
            low = middle
    return low
