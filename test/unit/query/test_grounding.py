import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3_ros.errors import QueryError
from m3_ros.query.calibration import calibrate, probability
from m3_ros.query.grounding import Evidence, connected


def test_groups_are_joined_by_touching_voxels_only():
    line = np.array([[x, 0.0, 0.0] for x in np.arange(0.05, 1.0, 0.1)])
    far = line + np.array([0.0, 0.35, 0.0])
    groups = connected(np.concatenate([line, far]), 0.1)
    assert len(set(groups[: len(line)])) == 1
    assert len(set(groups)) == 2


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 60))
def test_groups_do_not_depend_on_the_order_of_the_points(seed, count):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (count, 3))
    order = rng.permutation(count)
    a, b = connected(points, 0.2)[order], connected(points[order], 0.2)
    assert np.array_equal(a[:, None] == a, b[:, None] == b)


def evidence(good, rng):
    r = np.clip(rng.normal(0.75 if good else 0.45, 0.1), 0, 1)
    return Evidence(r, min(1.0, r + 0.1), r - 0.1, 0.1, 0.8)


def test_calibration_on_known_objects_gives_true_probabilities():
    rng = np.random.default_rng(0)
    truth = rng.random(2000) < 0.4
    objects = [evidence(t, rng) for t in truth]
    fitted = calibrate(objects, list(truth))
    p = np.array([probability(e, fitted) for e in objects])
    assert ((p > 0.5) == truth).mean() > 0.9
    for low, high in ((0.0, 0.2), (0.2, 0.8), (0.8, 1.0)):
        inside = (p >= low) & (p <= high)
        assert abs(p[inside].mean() - truth[inside].mean()) < 0.08


def test_calibration_needs_right_and_wrong_objects():
    with pytest.raises(QueryError, match="right"):
        calibrate([evidence(True, np.random.default_rng(0))] * 3, [True] * 3)
