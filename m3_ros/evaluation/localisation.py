"""Was the right thing found, and how far off? The rule stands here once, for the demo, the tests and the benchmarks."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.query import Status

TOLERANCE_M = 0.5
"""An answer is right when its centre lies this close to the centre of a true instance [m]."""


@dataclass(frozen=True)
class Truth:
    """One real object of the place."""

    kind: str
    """What it is: "chair"."""
    centre: Float[NDArray[np.float64], "3"]
    """Centre of its bounding box in the map [m]."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on one answer."""

    expected: str
    """present or absent."""
    correct: bool
    """Present: FOUND within the tolerance of a true instance. Absent: NOT_FOUND."""
    error_m: float
    """Distance of the best candidate to the nearest true instance [m]; nan when absent or not found."""


def judge_position(
    status: Status,
    centre: Float[NDArray[np.float64], "3"] | None,
    kind: str,
    truths: Sequence[Truth],
    tolerance_m: float = TOLERANCE_M,
) -> Judgement:
    """Judge a status and the best candidate's centre [m]; the form that an answer has after a journey over DDS."""
    centres = [t.centre for t in truths if t.kind == kind]
    if not centres:
        return Judgement("absent", status == Status.NOT_FOUND, nan)
    if status not in (Status.FOUND, Status.AMBIGUOUS) or centre is None:
        return Judgement("present", False, nan)
    error = min(float(np.linalg.norm(centre - c)) for c in centres)
    return Judgement("present", status == Status.FOUND and error <= tolerance_m, error)
