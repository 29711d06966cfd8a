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
    evidence: Sequence[Evidence], right: Sequence[bool], prior: float | None = None, l2: float = 0.1, steps: int = 50
) -> CalibrationSettings:
    """Fit the constants to objects whose truth is known: logistic regression by Newton's method.

    Args:
        evidence: what spoke for each object.
        right: whether it was what had been asked for.
        prior: share of right objects to expect in use, where it differs from the one here; None: the same.
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
    share = float(y.mean()) if prior is None else prior
    weight = np.where(y > 0, share / y.mean(), (1 - share) / (1 - y.mean()))
    ridge = np.diag([*np.full(x.shape[1] - 1, l2), 1e-6])
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -60, 60)))
        gradient = x.T @ (weight * (p - y)) + ridge @ w
        step = np.linalg.solve((x * (weight * p * (1 - p))[:, None]).T @ x + ridge, gradient)
        w -= step
        if np.abs(step).max() < 1e-8:
            break
    names = ("relevancy", "log_area", "bias")
    return replace(CalibrationSettings(), **{name: float(value) for name, value in zip(names, w, strict=True)})


def _features(evidence: Evidence) -> Float[NDArray[np.float64], "2"]:
    log_area = np.clip(np.log(max(evidence.area_m2 * 100, 1e-6)), 0, 4)
    return np.array([_log_odds(evidence.relevancy), log_area])


def _log_odds(p: float) -> float:
    """Return the log-odds, flat beyond what noise can tell apart: a speck is not surer than a whole object."""
    clipped = min(max(p, 1e-3), 0.95)
    return float(np.log(clipped / (1 - clipped)))


def _weights(settings: CalibrationSettings) -> Float[NDArray[np.float64], "2"]:
    return np.array([settings.relevancy, settings.log_area])
