"""Objects to probabilities: a small logistic model over what speaks for an object."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.errors import QueryError
from m3_ros.query.grounding import Evidence
from m3_ros.query.settings import CalibrationSettings


def probability(evidence: Evidence, settings: CalibrationSettings) -> float:
    """Return the calibrated chance that the object is what was asked for."""
    logit = settings.bias + float(_features(evidence) @ _weights(settings))
    return float(1 / (1 + np.exp(-np.clip(logit, -60, 60))))


def calibrate(
    evidence: Sequence[Evidence], right: Sequence[bool], l2: float = 0.1, steps: int = 50
) -> CalibrationSettings:
    """Fit the constants to objects whose truth is known: logistic regression by Newton's method.

    Args:
        evidence: what spoke for each object.
        right: whether it was what had been asked for.
        l2: weight of the ridge that keeps the constants small.
        steps: most Newton steps.

    Raises:
        QueryError: not both right and wrong objects are given.
    """
    y = np.asarray(right, np.float64)
    if len(y) != len(evidence) or not 0 < y.sum() < len(y):
        raise QueryError(
            f"a calibration needs objects that were right and objects that were wrong; got {int(y.sum())} right of "
            f"{len(y)}"
        )
    x = np.stack([np.append(_features(e), 1.0) for e in evidence])
    ridge = np.diag([*np.full(x.shape[1] - 1, l2), 1e-6])
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -60, 60)))
        gradient = x.T @ (p - y) + ridge @ w
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + ridge, gradient)
        w -= step
        if np.abs(step).max() < 1e-8:
            break
    names = ("relevancy", "peak", "cosine", "log_area", "consistency", "bias")
    return replace(CalibrationSettings(), **{name: float(value) for name, value in zip(names, w, strict=True)})


def _features(evidence: Evidence) -> Float[NDArray[np.float64], "5"]:
    log_area = np.clip(np.log(max(evidence.area_m2 * 100, 1e-6)), 0, 4)
    return np.array([evidence.relevancy, evidence.peak, evidence.cosine, log_area, evidence.consistency])


def _weights(settings: CalibrationSettings) -> Float[NDArray[np.float64], "5"]:
    return np.array([settings.relevancy, settings.peak, settings.cosine, settings.log_area, settings.consistency])
