import torch

from m3_ros.features.encoder import FeatureMap, unit
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import look_at
from m3_ros.memory.components import Coverage, MemoryBank
from m3_ros.memory.lift import View
from m3_ros.memory.linear_head import LinearHead, lift_codes, sparse_codes
from m3_ros.splat import render
from m3_ros.splat.gaussians import Gaussians


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def bank_of(components):
    return MemoryBank(components, "test", "1", 0.9, Coverage(1.0, 1.0, 0.0, 1), False, "cover")


def head(n=50, t=20, dim=32, most=3):
    components = random(t, dim)
    index, weights = sparse_codes(random(n, dim, seed=1), components, most)
    return LinearHead(bank_of(components), index, weights)


def test_a_sum_of_few_components_is_coded_exactly():
    components = unit(random(40, 64))
    truth = 2.0 * components[[3, 5]] + 0.7 * components[[9, 1]]
    index, weights = sparse_codes(truth, components, 2)
    assert [sorted(row) for row in index.tolist()] == [[3, 9], [1, 5]]
    torch.testing.assert_close(torch.einsum("nk,nkd->nd", weights, components[index]), truth, atol=1e-2, rtol=0)


def test_more_components_never_fit_worse():
    x, components = random(60, 32), random(30, 32, seed=1)
    errors = []
    for most in (1, 2, 4, 8):
        index, weights = sparse_codes(x, components, most)
        errors.append(float((torch.einsum("nk,nkd->nd", weights, components[index]) - x).square().mean()))
        assert all(len(set(row)) == most for row in index.tolist())
    assert errors == sorted(errors, reverse=True)


def test_zero_vectors_get_zero_weights():
    _, weights = sparse_codes(torch.zeros(2, 8), random(5, 8), 3)
    assert not weights.any()


def test_text_scores_are_the_cosines_of_the_features():
    linear, text = head(), random(4, 32, seed=3) * 5
    expected = unit(linear.features()) @ unit(text).T
    torch.testing.assert_close(linear.text_scores(text), expected, atol=1e-4, rtol=0)


def test_blending_codes_equals_blending_what_they_stand_for():
    linear = head(n=6, t=10)
    means = torch.tensor([[2.0, 0.2 * i - 0.5, 0.0] for i in range(6)])
    quats, scales = torch.tensor([1.0, 0, 0, 0]).repeat(6, 1), torch.full((6, 3), 0.2)
    viewmat = torch.from_numpy(look_at((0, 0, 0), (1, 0, 0))).inverse().float()[None]
    K = torch.from_numpy(Camera.from_fov(24, 16, 1.2).K).float()[None]
    codes = torch.zeros(6, 10).scatter_(1, linear.index.long(), linear.weights)
    drawn = [
        render(means, quats, scales, torch.full((6,), 0.7), x, viewmat, K, 24, 16).features[0]
        for x in (codes, linear.features())
    ]
    torch.testing.assert_close(drawn[0] @ linear.bank.components, drawn[1], atol=1e-3, rtol=0)


def test_lifted_codes_keep_the_length_of_features():
    vector = 3 * unit(random(1, 16))[0]
    seen = FeatureMap(vector.expand(6, 8, 16).clone(), torch.ones(6, 8, dtype=torch.bool), (80, 60))
    gaussians = Gaussians(
        torch.tensor([[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0]]), torch.tensor([[1.0, 0, 0, 0]]).repeat(2, 1),
        torch.full((2, 3), 0.1), torch.full((2,), 0.9), torch.zeros(2, 1, 3), torch.zeros(2, 0, 3),
    )  # fmt: skip
    view = View((seen,), Camera.from_fov(80, 60, 1.2), look_at((0, 0, 0), (1, 0, 0)))
    components = torch.cat([vector[None], random(4, 16, seed=2)])
    linear = lift_codes([view], gaussians, bank_of(components), torch.outer(vector, vector) + torch.eye(16), 40, most=1)
    torch.testing.assert_close(linear.features(), torch.stack([vector, torch.zeros(16)]), atol=1e-2, rtol=0)
