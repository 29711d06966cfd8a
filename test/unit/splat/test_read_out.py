import pytest
import torch

from m3_ros.splat.read_out import MOST_DIMS, read_out


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n", "s", "t", "texts"), [(100, 16, 200, 1), (3, 5, 37, 70), (33, 1, 1, 2), (17, 32, 8, 0)])
@pytest.mark.parametrize("sharpness", [0.1, 3.0, 40.0])
def test_it_equals_the_plain_softmax(n, s, t, texts, sharpness):
    queries, keys, values = random(n, s) * sharpness, random(s, t, seed=1), random(t, texts, seed=2)
    expected = torch.softmax(queries.double() @ keys.double(), dim=1) @ values.double()
    torch.testing.assert_close(read_out(queries, keys, values), expected.float(), atol=1e-4, rtol=0)


def test_no_queries_give_no_answers():
    assert read_out(torch.zeros(0, 4), random(4, 9), random(9, 2)).shape == (0, 2)


def test_queries_that_are_too_long_or_keys_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="need keys"):
        read_out(random(2, 4), random(5, 9), random(9, 2))
    with pytest.raises(ValueError, match=str(MOST_DIMS)):
        read_out(random(2, MOST_DIMS + 1), random(MOST_DIMS + 1, 9), random(9, 2))
