"""Principal scene components: the few feature vectors that stand for everything one model saw in a place."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from m3_ros.errors import TrainingError
from m3_ros.features.encoder import unit

_BLOCK = 4096
_MOST_COSINES = 1 << 26
"""Cosines held at once; 0.3 GB."""


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

    @classmethod
    def of(cls, nearest: Float[Tensor, " n"], theta: float) -> "Coverage":
        """Sum up the cosine of each feature to its nearest component."""
        if len(nearest) == 0:
            return cls(0.0, 1.0, 0.0, 0)
        below = (nearest < theta - 1e-5).double().mean()
        return cls(float(nearest.double().mean()), float(nearest.min()), float(below), len(nearest))


@dataclass(frozen=True)
class MemoryBank:
    """The principal scene components (PSC) of one encoder."""

    components: Float[Tensor, "t D"]
    """Chosen feature vectors as the encoder gave them, or what they were fitted to stand for; float32."""
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
    sources: Int[Tensor, "t 3"] | None = None
    """Time stamp [ns] of the view and pixel (u, v) whose feature each component was; None: not known."""
    captions: tuple[str, ...] = ()
    """What each component shows, in words, where the encoder goes through words; else empty."""

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

    def standing_for(self, components: Float[Tensor, "t D"]) -> "MemoryBank":
        """Return the bank with the same components standing for other vectors: those fitted to all that was seen."""
        return replace(self, components=components)


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


def paper_components(features: Float[Tensor, "n D"], theta: float, chunk: int = 512) -> Selection:
    """Choose components by the paper's Algorithm 1, faithfully.

    In order: a feature is passed over if it is used; otherwise, with J = {i : cos(x_j, x_i) >= theta}, it is kept and
    all of J becomes used, but only if nothing in J is used yet. A feature with a used neighbour is neither kept nor
    covered: that is the paper's rule.

    Raises:
        TrainingError: theta is out of range or there is no non-zero feature.
    """
    check_selection(theta, 1)
    features = features[(features != 0).any(dim=1)]
    if len(features) == 0:
        raise TrainingError("no component can be chosen: there are no non-zero features")
    x = unit(features.float())
    used = torch.zeros(len(x), dtype=torch.bool)
    kept: list[int] = []
    chunk = max(1, min(chunk, _MOST_COSINES // len(x)))
    for start in range(0, len(x), chunk):
        rows = start + (~used[start : start + chunk]).nonzero()[:, 0]  # those used by now would be passed over
        near = x[rows] @ x.T >= theta - 1e-6
        for j, neighbours in zip(rows.tolist(), near, strict=True):
            if not used[j] and not bool((neighbours & used).any()):
                kept.append(j)
                used |= neighbours
    components = features[torch.tensor(kept, dtype=torch.long)].float().clone()
    return Selection(components, theta, False, coverage(features, components, theta))


def coverage(features: Float[Tensor, "n D"], components: Float[Tensor, "t D"], theta: float) -> Coverage:
    """Measure the cosine of every non-zero feature to its nearest component."""
    keys = unit(components.float()).T.contiguous()
    blocks = (features[start : start + _BLOCK] for start in range(0, len(features), _BLOCK))
    nearest = [(unit(block.float()) @ keys).amax(dim=1) for block in blocks]
    return Coverage.of(torch.cat(nearest)[(features != 0).any(dim=1)], theta)


def check_selection(theta: float, cap: int) -> None:
    """Refuse settings that no selection can work with.

    Raises:
        TrainingError: theta is outside (0, 1] or the cap is below 1.
    """
    if not 0 < theta <= 1 or cap < 1:
        raise TrainingError(f"components need theta in (0, 1] and a cap of at least 1; got theta={theta}, cap={cap}")
