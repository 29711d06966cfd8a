import pytest
import torch
from torch.nn import functional

from m3_ros.training import read_loss as module
from m3_ros.training.read_loss import read_loss

MEAN_SQUARE = 1.7


def inputs(dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    weights = torch.softmax(torch.randn(12, 7, generator=g, dtype=dtype), dim=1).requires_grad_()
    values, features = (torch.randn(n, 5, generator=g, dtype=dtype) for n in (7, 12))
    return weights, values.requires_grad_(), features


def plain(weights, values, features):
    read = weights @ values
    cosine = functional.cosine_similarity(read, features, dim=1, eps=1e-6)
    return (1 - cosine).mean() + ((read - features).square().sum(dim=1) / MEAN_SQUARE).mean()


def test_loss_and_gradients_equal_the_plain_ones():
    *wanted, features = inputs()
    loss, expected = read_loss(*wanted, features, MEAN_SQUARE), plain(*wanted, features)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(3 * loss, wanted), torch.autograd.grad(3 * expected, wanted))


def test_gradients_go_only_where_they_are_wanted():
    weights, values, features = inputs()
    read_loss(weights, values.detach(), features, MEAN_SQUARE).backward()
    assert weights.grad is not None


@pytest.mark.parametrize("in_bf16", [False, True])
def test_rounding_changes_gradients_little(monkeypatch, in_bf16):
    monkeypatch.setattr(module, "_WORTH_ROUNDING", 0)
    monkeypatch.setattr(module, "prefers_bf16", lambda: in_bf16)
    *wanted, features = inputs(torch.float32)
    found = torch.autograd.grad(read_loss(*wanted, features, MEAN_SQUARE), wanted)
    expected = torch.autograd.grad(plain(*wanted, features), wanted)
    for x, y in zip(found, expected, strict=True):
        assert float((x - y).norm() / y.norm()) < (0.01 if in_bf16 else 1e-5)


def test_a_feature_of_zeros_costs_its_distance_only():
    weights, values, _ = inputs()
    loss = read_loss(weights, values, torch.zeros(12, 5, dtype=torch.float64), MEAN_SQUARE)
    torch.testing.assert_close(loss, plain(weights, values, torch.zeros(12, 5, dtype=torch.float64)))
    assert all(torch.isfinite(x).all() for x in torch.autograd.grad(loss, (weights, values)))
