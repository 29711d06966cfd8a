import pytest
import torch

from m3_ros.splat.read_out import MOST_DIMS, read_out


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n", "s", "t", "texts"), [(100, 16, 200, 1), (3, 5, 37, 70), (33, 1, 1, 2), (17, 32, 8, 0)])
@pytest.mark.parametrize("tau", [3.0, 0.3, 0.02, 0.004])
def test_it_equals_the_plain_softmax(n, s, t, texts, tau):
    queries, keys, values, W = random(n, s), random(s, t, seed=1), random(t, texts, seed=2), random(s, 2 * s, seed=3)
    sharpened = queries.double() / ((queries @ W).double().norm(dim=1, keepdim=True) * tau)
    expected = torch.softmax(sharpened @ keys.double(), dim=1) @ values.double()
    torch.testing.assert_close(read_out(queries, keys, values, W @ W.T, tau), expected.float(), atol=1e-4, rtol=0)


def test_queries_of_any_sharpness_stand_side_by_side():
    """The rows of W differ in length: one query in four has logits far beyond a float's range of exponentials."""
    queries, keys, values = torch.eye(4).repeat(16, 1), random(4, 300, seed=1), random(300, 3, seed=2)
    W = torch.diag(torch.tensor([1.0, 0.5, 0.1, 1e-3]))
    attention = torch.softmax(queries.double() @ torch.linalg.inv(W).double() @ keys.double() / 0.1, dim=1)
    read = read_out(queries, keys, values, W @ W, 0.1)
    torch.testing.assert_close(read, (attention @ values.double()).float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("texts", [2, 3, 4, 6, 71])
def test_the_same_text_gives_the_same_bits_wherever_it_stands(texts):
    read = read_out(
        random(50, 16), random(16, 333, seed=1), random(333, 1, seed=2).repeat(1, texts), torch.eye(16), 0.1
    )
    assert torch.equal(read, read[:, :1].expand(-1, texts))


def test_a_zero_query_attends_to_all_alike():
    values = random(9, 2)
    read = read_out(torch.zeros(3, 4), random(4, 9), values, torch.eye(4), 0.05)
    torch.testing.assert_close(read, values.mean(dim=0).expand(3, 2))


def test_no_queries_give_no_answers():
    assert read_out(torch.zeros(0, 4), random(4, 9), random(9, 2), torch.eye(4), 1.0).shape == (0, 2)


def test_queries_that_are_too_long_or_keys_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="need keys"):
        read_out(random(2, 4), random(5, 9), random(9, 2), torch.eye(4), 1.0)
    with pytest.raises(ValueError, match="metric"):
        read_out(random(2, 4), random(4, 9), random(9, 2), torch.eye(5), 1.0)
    with pytest.raises(ValueError, match=str(MOST_DIMS)):
        read_out(random(2, MOST_DIMS + 1), random(MOST_DIMS + 1, 9), random(9, 2), torch.eye(MOST_DIMS + 1), 1.0)
