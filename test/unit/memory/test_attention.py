import pytest
import torch

from m3_ros.features.encoder import unit
from m3_ros.memory import attention as attention_module
from m3_ros.memory.attention import MemoryAttention, fit_tau, frozen_projection, pca_projection
from m3_ros.memory.components import Coverage, MemoryBank
from m3_ros.memory.cover import cover_components


def bank_of(components):
    return MemoryBank(components, "test", "1", 0.9, Coverage(1.0, 1.0, 0.0, 1), False, "cover")


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unfolded(attention, queries):
    """Return the attention as the paper writes it: q W first, then the cosine to every component."""
    e, B = queries @ attention.W, attention.bank.components
    return torch.softmax(unit(e) @ unit(B).T / attention.tau, dim=1) @ B


@pytest.mark.parametrize(("t", "s", "D"), [(50, 16, 64), (100, 8, 32), (5, 4, 4)])
@pytest.mark.parametrize("tau", [0.05, 0.01])
def test_folded_attention_equals_the_unfolded_one(t, s, D, tau):
    attention = MemoryAttention(bank_of(random(t, D) * 3), frozen_projection(s, D, seed=1), tau)
    queries = random(300, s, seed=2)
    torch.testing.assert_close(attention.reconstruct(queries), unfolded(attention, queries), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("t", [20, 200])  # fewer and more components than dimensions: two ways to the norm
def test_text_scores_equal_the_cosine_of_the_full_reconstruction(t):
    attention = MemoryAttention(bank_of(random(t, 64)), frozen_projection(16, 64), 0.05)
    queries, text = random(100, 16, seed=3), random(5, 64, seed=4) * 7
    expected = unit(attention.reconstruct(queries)) @ unit(text).T
    torch.testing.assert_close(attention.text_scores(queries, text), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        attention.text_scores(queries, text, attention.norms(queries)), expected, atol=1e-5, rtol=1e-4
    )


def test_weights_sum_to_one_and_do_not_depend_on_the_length_of_the_query():
    attention = MemoryAttention(bank_of(random(30, 20)), frozen_projection(8, 20), 0.05)
    queries = random(10, 8)
    torch.testing.assert_close(attention.weights(queries).sum(dim=1), torch.ones(10))
    torch.testing.assert_close(attention.weights(queries), attention.weights(5 * queries), atol=1e-6, rtol=1e-4)


def test_zero_query_attends_to_all_components_alike():
    attention = MemoryAttention(bank_of(random(30, 20)), frozen_projection(8, 20), 0.05)
    torch.testing.assert_close(attention.weights(torch.zeros(1, 8)), torch.full((1, 30), 1 / 30))


def test_pca_projection_is_orthonormal_and_exact_on_its_subspace():
    x = unit(random(500, 6) @ random(6, 40, seed=1))
    W = pca_projection(x.T @ x / 500, 6)
    torch.testing.assert_close(W @ W.T, torch.eye(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(x @ W.T @ W, x, atol=1e-4, rtol=0)


def test_long_features_get_the_same_directions_without_a_full_decomposition(monkeypatch):
    x = random(400, 60) * torch.logspace(0, -2, 60)
    exact = pca_projection(x.T @ x, 6)
    monkeypatch.setattr(attention_module, "_MOST_EXACT", 10)
    torch.testing.assert_close(pca_projection(x.T @ x, 6), exact, atol=1e-3, rtol=0)


def test_pca_projection_reads_out_better_than_the_frozen_one_of_the_paper():
    centres = unit(random(30, 128))
    x = unit(centres.repeat(20, 1) + 0.4 * random(600, 128, seed=1) / 128**0.5)
    bank = cover_components([x], 0.85, 200).bank("test", "1", "cover")

    def distance(W, tau):
        attention = MemoryAttention(bank, W, tau)
        return 1 - float((unit(attention.reconstruct(x @ torch.linalg.pinv(W))) * x).sum(dim=1).mean())

    W = pca_projection(x.T @ x, 16)
    assert distance(W, fit_tau(bank, W, x)) < 0.5 * distance(frozen_projection(16, 128), 0.05)


def test_no_map_of_length_d_is_formed_for_text_scores():
    # A bank this wide would need 40 GB for the reconstruction of these queries.
    bank = bank_of(random(16, 100_000))
    attention = MemoryAttention(bank, frozen_projection(4, 100_000), 0.05)
    assert attention.text_scores(random(100_000, 4), random(2, 100_000)).shape == (100_000, 2)


def test_projection_of_another_width_is_refused():
    with pytest.raises(ValueError, match="W"):
        MemoryAttention(bank_of(random(5, 8)), random(4, 9), 0.05)


@pytest.mark.parametrize(("t", "s", "texts"), [(300, 16, 1), (40, 32, 70), (9, 5, 3)])
@pytest.mark.parametrize("tau", [0.05, 0.005])
def test_the_fused_read_out_equals_its_plain_twin(t, s, texts, tau):
    attention = MemoryAttention(bank_of(random(t, 64) * 2), frozen_projection(s, 64), tau)
    queries, along = random(1000, s, seed=5), unit(random(t, texts, seed=6))
    queries[3] = 0
    fused, plain = attention.read_fused(queries, along), attention.read_plain(queries, along)
    torch.testing.assert_close(fused, plain, atol=1e-4, rtol=0)


def test_text_scores_carry_gradients_where_they_are_wanted():
    attention = MemoryAttention(bank_of(random(20, 64)), frozen_projection(8, 64), 0.05)
    queries, text = random(7, 8).requires_grad_(), random(2, 64, seed=1)
    attention.text_scores(queries, text).sum().backward()
    assert float(queries.grad.abs().sum()) > 0


def test_own_keys_are_compared_with_and_the_components_read_out():
    chosen, fitted = random(12, 20), random(12, 20, seed=1)
    W = frozen_projection(4, 20)
    plain = MemoryAttention(bank_of(chosen), W, 0.05)
    own = MemoryAttention(bank_of(fitted), W, 0.05, plain.keys)
    queries = random(5, 4, seed=2)
    torch.testing.assert_close(own.weights(queries), plain.weights(queries))
    torch.testing.assert_close(own.reconstruct(queries), plain.weights(queries) @ fitted)
    with pytest.raises(ValueError, match="keys"):
        MemoryAttention(bank_of(fitted), W, 0.05, plain.keys[:, :3])
