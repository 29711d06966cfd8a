"""What a question gets back: places with a probability, or an honest no."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from m3_ros.geometry.box import OrientedBox
from m3_ros.memory import Explanation, Head


class Status(IntEnum):
    """The verdict on a question; the numbers are those of m3_ros/msg/Grounding and m3_ros/srv/Query."""

    FOUND = 0
    """One or more places fit."""
    NOT_FOUND = 1
    """The place was seen and nothing in it fits."""
    UNOBSERVED = 2
    """Nothing fits, and the part asked about was never seen."""
    AMBIGUOUS = 3
    """Several places fit equally well."""


@dataclass(frozen=True)
class Candidate:
    """One place that may be what was asked for."""

    object_id: int
    """Number within this answer, best first, from 0."""
    probability: float
    """Calibrated chance in [0, 1] that this is what was asked for."""
    centre: Float[NDArray[np.float64], "3"]
    """Centre in the map [m]."""
    covariance: Float[NDArray[np.float64], "3 3"]
    """Spread of the object's matter about its centre [m^2]."""
    box: OrientedBox
    """Tight box, upright (rotated about z only)."""
    gaussians: Bool[torch.Tensor, " N"]
    """Which Gaussians of the memory belong to it."""
    views: tuple[int, ...]
    """Evidence: indices of the keyframes that saw it best."""
    explanation: tuple[Explanation, ...] = ()
    """In whose words it is remembered, heaviest first; empty where the encoder does not go through words."""


@dataclass(frozen=True)
class Answer:
    """The reply of `Finder.find`."""

    text: str
    """The question as asked."""
    status: Status
    """The verdict."""
    candidates: tuple[Candidate, ...]
    """Best first; with NOT_FOUND the best near miss may be listed, with its low probability."""
    message: str
    """One sentence for a person."""
    seconds: float
    """Time taken [s]."""
    head: Head = "attention"
    """What every Gaussian was read out by, each by itself (a direct 3D query; no pixel is blended for an answer)."""
