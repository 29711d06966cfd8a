import pytest
import torch

from m3_ros.errors import TrainingError
from m3_ros.features.encoder import unit
from m3_ros.memory import cover
from m3_ros.memory.components import coverage, paper_components
from m3_ros.memory.cover import cover_components


def at_degrees(*angles):
    a = torch.deg2rad(torch.tensor(angles, dtype=torch.float32))
    return torch.stack([a.cos(), a.sin()], dim=1)


THETA = float(torch.deg2rad(torch.tensor(11.0)).cos())  # neighbours lie within 11 degrees


def clustered(n, dim=32, kinds=40, noise=0.5, seed=0):
    g = torch.Generator().manual_seed(seed)
    centres = unit(torch.randn(kinds, dim, generator=g))
    which = torch.randint(0, kinds, (n,), generator=g)
    return 2 * unit(centres[which] + noise * torch.randn(n, dim, generator=g) / dim**0.5)


def test_paper_skips_a_feature_whose_neighbour_is_used():
    # 0 is kept and uses 10; 20 is not used, but its neighbour 10 is: neither kept nor covered.
    features = at_degrees(0, 10, 20)
    selection = paper_components(features, THETA)
    assert selection.components.tolist() == features[:1].tolist()
    assert selection.coverage.share_below == pytest.approx(1 / 3)


def test_paper_passes_over_used_features_and_keeps_far_ones():
    features = at_degrees(0, 5, 40, 45, 90)
    assert paper_components(features, THETA).components.tolist() == features[[0, 2, 4]].tolist()


def test_paper_keeps_the_vectors_unnormalised_and_ignores_their_length():
    features = at_degrees(0, 5, 40) * torch.tensor([[3.0], [9.0], [0.2]])
    assert paper_components(features, THETA).components.tolist() == features[[0, 2]].tolist()


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_paper_does_not_depend_on_the_chunk(chunk):
    features = clustered(100)
    expected = paper_components(features, 0.8)
    assert torch.equal(paper_components(features, 0.8, chunk).components, expected.components)


def test_cover_keeps_what_the_paper_skips():
    features = at_degrees(0, 10, 20)
    assert cover_components([features], THETA, 10).components.tolist() == features[[0, 2]].tolist()


@pytest.mark.parametrize("block", [900, 100, 7])
def test_cover_is_the_sequential_greedy_cover_whatever_the_blocks(monkeypatch, block):
    monkeypatch.setattr(cover, "_BLOCK", block)
    features = clustered(900)
    order = torch.cat([features[::10], features])  # the tenth that is looked at first, then all
    bank = order[:1]
    for x in order[1:]:
        if float((unit(bank) @ unit(x)).max()) < 0.85:
            bank = torch.cat([bank, x[None]])
    assert torch.equal(cover_components([features], 0.85, 900).components, bank)


@pytest.mark.parametrize("in_bf16", [False, True])
def test_rounding_to_bfloat16_does_not_change_the_choice(monkeypatch, in_bf16):
    monkeypatch.setattr(cover, "prefers_bf16", lambda: in_bf16)
    chunks = [clustered(500, noise=0.6, seed=s) for s in range(4)]
    selection = cover_components(chunks, 0.87, 2000)
    everything = torch.cat(chunks)
    measured = coverage(everything, selection.components, 0.87)
    assert selection.coverage.share_below == measured.share_below == 0
    assert selection.coverage.mean == pytest.approx(measured.mean, abs=1e-3)
    monkeypatch.setattr(cover, "prefers_bf16", lambda: not in_bf16)
    assert torch.equal(cover_components(chunks, 0.87, 2000).components, selection.components)


@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_bounds_change_neither_the_cover_nor_its_coverage(monkeypatch, noise):
    features = clustered(3000, noise=noise)
    monkeypatch.setattr(cover, "prefers_bf16", lambda: False)
    monkeypatch.setattr(cover, "_BLOCK", 256)
    in_full = cover_components([features], 0.9, 500)
    monkeypatch.setattr(cover, "_WORTH_BOUNDING", 1)
    monkeypatch.setattr(cover, "_BOUNDED_BLOCK", 100)
    bounded = cover_components([features], 0.9, 500)
    assert torch.equal(bounded.components, in_full.components)
    assert bounded.theta == in_full.theta
    assert bounded.coverage.mean == pytest.approx(in_full.coverage.mean, abs=1e-6)
    assert bounded.coverage.minimum == pytest.approx(in_full.coverage.minimum, abs=1e-6)


def test_bounds_lie_above_every_product():
    torch.manual_seed(0)
    components, x = unit(torch.randn(43, 24)), 3 * torch.randn(100, 24)
    bounds = cover._Bounds(components[:30])
    bounds.extend(components[30:])
    bound = bounds.of(x, x.norm(dim=1)).flatten(1)
    assert (bound[:, :43] >= x @ components.T).all()
    assert (bound[:, 43:] == -torch.inf).all()
    inside = 2 * components[:30] @ bounds._basis @ bounds._basis.T  # nothing is left of it: the bound is tight
    bound = bounds.of(inside, inside.norm(dim=1)).flatten(1)
    assert torch.allclose(bound[:, :30], inside @ components[:30].T, atol=0.02)


def test_the_two_highest_are_those_of_a_sort():
    torch.manual_seed(0)
    x = torch.randn(200, 8, 5)
    ordered = x.flatten(1).sort(dim=1, descending=True)
    place, second = cover._two_highest(x)
    assert torch.equal(place, ordered.indices[:, 0])
    assert torch.equal(second, ordered.values[:, 1])


def test_cover_leaves_nothing_uncovered():
    chunks = [clustered(500, seed=s) for s in range(4)]
    selection = cover_components(chunks, 0.85, 2000)
    assert not selection.capped
    assert selection.coverage.share_below == 0
    assert selection.coverage.minimum >= 0.85 - 1e-5
    assert selection.coverage.count == 2000


def test_cap_lowers_theta_and_the_cover_stays_true():
    chunks = [clustered(500, seed=s) for s in range(4)]
    selection = cover_components(chunks, 0.95, 64)
    assert selection.capped
    assert len(selection.components) <= 64
    assert selection.theta < 0.95
    assert selection.coverage.share_below == 0
    assert selection.coverage.minimum >= selection.theta - 1e-5


def test_zero_features_are_ignored():
    features = torch.cat([torch.zeros(3, 2), at_degrees(0, 50)])
    assert len(cover_components([features], 0.9, 10).components) == 2
    assert len(paper_components(features, 0.9).components) == 2
    assert coverage(features, features[3:], 0.9).count == 2


def test_no_features_or_bad_settings_are_refused():
    with pytest.raises(TrainingError, match="no non-zero feature"):
        cover_components([torch.zeros(4, 3)], 0.9, 10)
    with pytest.raises(TrainingError, match="theta"):
        cover_components([torch.ones(4, 3)], 1.5, 10)
