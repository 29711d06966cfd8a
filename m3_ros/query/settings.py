"""Settings of a question: how words are weighed, how matter becomes an object, and when an object counts as found."""

from dataclasses import dataclass, field
from typing import Annotated


@dataclass(frozen=True)
class RelevancySettings:
    """How well a Gaussian fits the words."""

    temperature: Annotated[float, "0..1"] = 0.07
    """Temperature of the softmax over the query and its negatives [cosine]."""
    same_cosine: Annotated[float, "0..1"] = 0.75
    """A background phrase whose text is closer to the query than this is no negative of it [cosine]."""


@dataclass(frozen=True)
class GroundingSettings:
    """How relevant Gaussians become objects."""

    grow: Annotated[float, "0..1"] = 0.3
    """Gaussians below this relevancy belong to no object."""
    seed: Annotated[float, "0..1"] = 0.5
    """An object needs matter at least this relevant."""
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
    """Probability = sigmoid(bias + sum of weight x feature); the constants were fitted on simulated rooms."""

    bias: float = -6.0
    """Log-odds where every feature is zero."""
    relevancy: float = 6.0
    """Weight of the mean relevancy."""
    peak: float = 3.0
    """Weight of the relevancy of the object's best tenth."""
    cosine: float = 3.0
    """Weight of the best tenth's cosine to the words."""
    log_area: float = 0.3
    """Weight of the natural logarithm of the surface [dm^2], between 0 and 4."""
    consistency: float = 1.0
    """Weight of the agreement between the views."""


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
