from dataclasses import replace

import pytest
import torch

from m3_ros.errors import Cancelled
from m3_ros.features.encoder import FeatureMap, unit
from m3_ros.memory import MemoryAttention, cover_components, frozen_projection, lift, pca_projection
from m3_ros.training.feature_stream import FeatureStream, statistics, vectors
from m3_ros.training.feature_views import Drawn, FeatureViews, sample
from m3_ros.training.memory_stage import MemorySettings, build_memory
from m3_ros.training.polish import Learner, PolishSettings, fit_components, fit_taus, polish, trust
from m3_ros.training.progress import never_cancelled

SETTINGS = PolishSettings(steps=30, pixels=128)


@pytest.fixture(scope="module")
def views(coloured_room, room_frames, tmp_path_factory):
    stream = FeatureStream(room_frames, coloured_room.encoder, tmp_path_factory.mktemp("cache"), never_cancelled)
    return FeatureViews(room_frames, [stream], coloured_room.memory.gaussians, 80)


@pytest.fixture(scope="module")
def known(views):
    return statistics(views.streams[0], 0)


def learner_of(views, known, learned=True, W=None, tau=0.05, doubt=0.0, directions=None):
    bank = cover_components(views.streams[0], 0.99, 64).bank("colours", "1", "cover")
    W = pca_projection(known.moment, 4) if W is None else W
    (lifted,) = lift(views, views.gaussians, [torch.linalg.pinv(W)], 80)
    share = trust(lifted.weights, PolishSettings(doubt=doubt))
    start = MemoryAttention(bank, W, tau)
    return Learner(lifted.mean(0.05)[0], start, known.mean_square, learned, share, directions)


def error(views, learner):
    """Return the mean squared distance to the teacher over some pixels of every view."""
    generator, total = torch.Generator().manual_seed(9), 0.0
    attention, queries = learner.attention(), learner.result()
    with torch.no_grad():
        for number, frame in enumerate(views.frames):
            seen = views.streams[0].map(number)
            q, x = sample(seen, views.draw(number, queries), frame.camera, 200, generator)
            total += float((attention.reconstruct(q) - x).square().sum(dim=1).mean())
    return total / len(views)


def test_the_polish_comes_nearer_to_the_teacher_than_the_lift(views, known):
    learner = learner_of(views, known)
    before = error(views, learner)
    polish(views, [learner], SETTINGS)
    assert error(views, learner) < 0.7 * before


def test_fitted_components_solve_the_ridge_regression(views, known):
    learner = learner_of(views, known)
    before = error(views, learner)
    fit_components(views, [learner], SETTINGS, torch.Generator().manual_seed(0))
    assert error(views, learner) < before
    heavy = learner_of(views, known)
    fit_components(views, [heavy], replace(SETTINGS, ridge=1e7), torch.Generator().manual_seed(0))
    torch.testing.assert_close(heavy.values.detach(), heavy.bank.components, atol=1e-2, rtol=0)


def test_steps_look_along_the_given_directions_only_and_come_as_near(views, known):
    directions = pca_projection(known.moment, 16)
    learner, full = learner_of(views, known, directions=directions), learner_of(views, known)
    fit_components(views, [learner], SETTINGS, torch.Generator().manual_seed(SETTINGS.seed))
    fitted = learner.standing_for().clone()
    polish(views, [learner], SETTINGS)
    polish(views, [full], SETTINGS)
    learned = learner.attention().bank.components
    beside = torch.eye(48) - directions.T @ directions
    assert learner.values.shape == (len(fitted), 16)
    assert not torch.allclose(learned, fitted, atol=1e-3)
    torch.testing.assert_close(learned @ beside, fitted @ beside, atol=2e-3, rtol=0)
    assert error(views, learner) < 1.1 * error(views, full)


def test_along_all_directions_the_loss_is_the_same(views, known):
    turned = torch.linalg.qr(torch.randn(48, 48, generator=torch.Generator().manual_seed(3)))[0]
    learner, plain = learner_of(views, known, directions=turned), learner_of(views, known)
    queries = torch.randn(5, 4, generator=torch.Generator().manual_seed(4))
    features = torch.randn(5, 48, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(learner.loss(queries, features @ turned.T), plain.loss(queries, features))
    torch.testing.assert_close(learner.standing_for(), plain.standing_for())


def test_only_queries_are_trained_unless_all_is_learned(views, known):
    W = frozen_projection(4, 48)
    learner = learner_of(views, known, learned=False, W=W)
    start = learner.result().clone()
    polish(views, [learner], SETTINGS)
    attention = learner.attention()
    assert torch.equal(attention.W, W)
    assert attention.tau == pytest.approx(0.05)
    assert attention.own_keys is None
    assert torch.equal(attention.bank.components, learner.bank.components)
    assert not torch.equal(learner.result(), start)


def test_what_is_learned_reads_out_as_it_was_trained(views, known):
    learner = learner_of(views, known)
    polish(views, [learner], SETTINGS)
    queries = learner.result()[::50]
    with torch.no_grad():
        trained = learner.weights(queries) @ learner.values
    some = (queries != 0).any(dim=1)
    torch.testing.assert_close(learner.attention().reconstruct(queries)[some], trained[some], atol=5e-3, rtol=0)


def test_a_gaussian_that_few_pixels_saw_follows_a_step_less(views, known):
    learner = learner_of(views, known, doubt=20.0)
    (lifted,) = lift(views, views.gaussians, [torch.linalg.pinv(learner.W.detach())], 80)
    (moved,) = learner.parameters(SETTINGS)[0]["params"]
    learner.queries.sum().backward()
    torch.testing.assert_close(moved.grad[:, 0], lifted.weights / (lifted.weights + 20.0))


def test_the_temperature_is_fitted_to_blended_queries(views, known):
    fitted, error_at = learner_of(views, known, learned=False, tau=0.5), {}
    fit_taus(views, [fitted], SETTINGS)
    for tau in (0.5, fitted.attention().tau, 0.005):
        error_at[tau] = error(views, learner_of(views, known, learned=False, tau=tau))
    assert min(error_at, key=error_at.get) == fitted.attention().tau


def test_no_steps_leave_the_lift_as_it_is(views, known):
    learner = learner_of(views, known)
    start = learner.result().clone()
    polish(views, [learner], replace(SETTINGS, steps=0))
    assert torch.equal(learner.result(), start)


def test_the_same_seed_gives_the_same_memory(coloured_room, room_frames):
    settings = MemorySettings(query_dim=8, lift_width=40, polish=replace(SETTINGS, steps=3))
    a, b = (
        build_memory(
            room_frames[:4], coloured_room.memory.gaussians, [coloured_room.encoder], settings
        ).principal_queries[0]
        for _ in range(2)
    )
    torch.testing.assert_close(a.queries.float(), b.queries.float(), atol=1e-3, rtol=0)


def test_cancel_is_heard_between_steps(views, known):
    with pytest.raises(Cancelled):
        polish(views, [learner_of(views, known)], SETTINGS, cancelled=lambda: True)


def test_a_cell_of_a_grid_is_compared_with_the_mean_of_its_pixels(room_frames):
    queries = torch.arange(16.0).reshape(1, 4, 4)
    seen = FeatureMap(torch.arange(4.0).reshape(2, 2, 1), torch.tensor([[True, True], [False, True]]), (160, 120))
    alpha = torch.ones(4, 4)
    alpha[:2, 2:] = 0
    q, x = sample(seen, Drawn(queries, alpha), room_frames[0].camera, 9, torch.Generator())
    pairs = sorted(zip(q[:, 0].tolist(), x[:, 0].tolist(), strict=True))
    assert pairs == [(2.5, 0.0), (12.5, 3.0)]


def test_a_cell_of_a_region_is_compared_with_the_mean_of_its_pixels(room_frames):
    index = torch.tensor([[0, 1], [-1, 1]])
    seen = FeatureMap(torch.tensor([[5.0], [7.0]]), torch.ones(2, 2, dtype=torch.bool), (160, 120), index)
    queries = torch.arange(16.0).reshape(1, 4, 4)
    q, x = sample(seen, Drawn(queries, torch.ones(4, 4)), room_frames[0].camera, 99, torch.Generator())
    pairs = sorted(zip(q[:, 0].tolist(), x[:, 0].tolist(), strict=True))
    assert pairs == [(2.5, 5.0), (4.5, 7.0), (12.5, 7.0)]


def test_where_regions_are_finer_than_the_view_pixels_get_the_vector_of_their_region(room_frames):
    index = torch.tensor([[0, 1], [-1, 1]]).repeat_interleave(4, 0).repeat_interleave(4, 1)
    seen = FeatureMap(torch.tensor([[5.0], [7.0]]), torch.ones(8, 8, dtype=torch.bool), (160, 120), index)
    queries = torch.arange(16.0).reshape(1, 4, 4)
    q, x = sample(seen, Drawn(queries, torch.ones(4, 4)), room_frames[0].camera, 99, torch.Generator())
    found = dict(zip(q[:, 0].tolist(), x[:, 0].tolist(), strict=True))
    assert {k for k, v in found.items() if v == 5} == {0.0, 1.0, 4.0, 5.0}
    assert {k for k, v in found.items() if v == 7} == {2.0, 3.0, 6.0, 7.0, 10.0, 11.0, 14.0, 15.0}


def test_statistics_see_every_valid_vector(views, known):
    everything = torch.cat([vectors(seen) for seen in views.streams[0].maps()]).float()
    x = unit(everything)
    torch.testing.assert_close(known.moment, x.T @ x / len(x), atol=1e-4, rtol=0)
    assert len(known.sample) == 48 * len(views)
    assert known.mean_square == pytest.approx(float(everything.square().sum(dim=1).mean()), rel=1e-4)
