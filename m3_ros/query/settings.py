"""Settings of a question: how words are weighed, how matter becomes an object, and when an object counts as found."""

from dataclasses import dataclass, field, replace
from typing import Annotated

from m3_ros.features.encoder import Encoder


@dataclass(frozen=True)
class RelevancySettings:
    """How well a Gaussian fits the words."""

    temperature: Annotated[float, "0..1"] = 0.07
    """Temperature of the softmax over the query and its negatives [cosine]."""
    same_cosine: Annotated[float, "0..1"] = 0.7
    """Background phrases whose text is this close to the query mean the same [cosine]."""
    identical_cosine: Annotated[float, "0..1"] = 0.97
    """A background phrase whose text is this close is the query itself, and then no other means the same [cosine]."""
    rival_weight: Annotated[float, "0..1"] = 1.0
    """How much another known name that fits the same matter better takes from the probability; 0: nothing."""


@dataclass(frozen=True)
class GroundingSettings:
    """How relevant Gaussians become objects."""

    grow: Annotated[float, "0..1"] = 0.3
    """Matter at least this relevant can be part of an object."""
    seed: Annotated[float, "0..1"] = 0.5
    """An object needs matter at least this relevant."""
    grow_share: Annotated[float, "0..1"] = 0.35
    """Where nothing is very relevant, this share of the most relevant matter is enough instead of `grow`."""
    seed_share: Annotated[float, "0..1"] = 0.8
    """Where nothing is very relevant, this share of the most relevant matter is enough instead of `seed`."""
    least: Annotated[float, "0..1"] = 0.02
    """Below this nothing is relevant at all."""
    voxel_m: Annotated[float, "0.01..1"] = 0.1
    """Matter in touching voxels of this size is one object [m]."""
    min_opacity: Annotated[float, "0..1"] = 0.1
    """More transparent Gaussians are no matter."""
    fine_voxel_m: Annotated[float, "0.01..1"] = 0.04
    """Size of the voxels in which matter is counted, so that densely and sparsely covered surfaces weigh alike [m]."""
    min_voxels: Annotated[int, "1.."] = 3
    """Fewer fine voxels are a speck."""
    max_extent_m: Annotated[float, "0.1.."] = 4.0
    """Wider things are a part of the building, unless the query is about those."""
    max_candidates: Annotated[int, "1.."] = 16
    """Most objects looked at per question, the heaviest first."""


@dataclass(frozen=True)
class CalibrationSettings:
    """Probability = sigmoid(bias + sum of weight x feature), fitted on simulated rooms that no encoder was trained on.

    The best tenth's relevancy, the cosine and the agreement between the views were tried beside these two features and
    did not tell right from wrong any better. The bias leans towards "not found": a wrong answer is the worse mistake.
    """

    bias: float = -0.48
    """Log-odds where every feature is zero."""
    relevancy: float = 1.37
    """Weight of the log-odds of the mean relevancy."""
    log_area: float = 0.42
    """Weight of the natural logarithm of the surface [dm^2], between 0 and 4."""


@dataclass(frozen=True)
class QuerySettings:
    """Everything about questions."""

    min_probability: Annotated[float, "0..1"] = 0.5
    """Candidates below this are not answers."""
    relevancy: RelevancySettings = field(default_factory=RelevancySettings)
    """Words to Gaussians."""
    grounding: GroundingSettings = field(default_factory=GroundingSettings)
    """Gaussians to objects."""
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    """Objects to probabilities."""
    min_seen: Annotated[int, "0.."] = 100
    """A memory with fewer visible Gaussians has seen nothing: the answer is UNOBSERVED."""
    max_views: Annotated[int, "0.."] = 5
    """Most evidence views listed per candidate."""

    @classmethod
    def of(cls, encoder: Encoder) -> "QuerySettings":
        """Return the defaults for an encoder.

        How far apart cosines lie differs from space to space: an encoder may bring a `temperature` and a `same_cosine`
        of its own. The defaults fit sentence embeddings.
        """
        own = {name: float(getattr(encoder, name)) for name in ("temperature", "same_cosine") if hasattr(encoder, name)}
        return cls(relevancy=replace(RelevancySettings(), **own))
