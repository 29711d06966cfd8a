from dataclasses import replace

import pytest
import torch

from m3_ros.evaluation.feature_baselines import DistilSettings, baseline_bytes, dims_within, train_baseline
from m3_ros.evaluation.fidelity import fidelity

SETTINGS = DistilSettings(iterations=60, cells=200)


@pytest.mark.parametrize(("kind", "most"), [("f3dgs", 0.02), ("fsplat", 0.15)])
def test_features_of_few_directions_are_learned_from_views_and_hold_in_others(coloured_place, linear_views, kind, most):
    views = linear_views[0]
    trained = train_baseline(kind, 4, views[1:], coloured_place.gaussians, replace(SETTINGS, rates=(0.02,)))
    assert fidelity(views[:1], coloured_place.gaussians, trained.latents, trained.decode).cosine_masked < most
    assert trained.latents.shape == (len(coloured_place.gaussians), 4)
    assert torch.equal(trained.latents.half().float(), trained.latents)


def test_the_beginning_that_fits_best_is_kept(coloured_place, linear_views):
    views, settings = linear_views[0][:4], replace(SETTINGS, iterations=10)
    best = train_baseline("f3dgs", 4, views, coloured_place.gaussians, settings)
    random = train_baseline("f3dgs", 4, views, coloured_place.gaussians, replace(settings, starts=("random",)))
    assert best.chosen.startswith("lift")
    assert best.loss < random.loss


def test_the_same_seed_gives_the_same_latents(coloured_place, linear_views):
    views, settings = linear_views[0][:3], replace(SETTINGS, iterations=3, rates=(0.01,))
    a, b = (train_baseline("fsplat", 3, views, coloured_place.gaussians, settings) for _ in range(2))
    assert torch.allclose(a.latents, b.latents, atol=1e-3)  # threads add up gradients in no fixed order


@pytest.mark.parametrize("kind", ["f3dgs", "fsplat"])
def test_equal_bytes_means_the_most_dimensions_that_fit(kind):
    dims = dims_within(kind, 1_000_000, 10_000, 384)
    assert baseline_bytes(kind, dims, 10_000, 384) <= 1_000_000 < baseline_bytes(kind, dims + 1, 10_000, 384)
    assert dims_within(kind, 10, 10_000, 384) == 1


def test_bytes_are_those_of_latents_and_decoder_in_half_precision():
    assert baseline_bytes("f3dgs", 16, 1000, 100) == 2 * (16 * 1000 + 16 * 100 + 100)
