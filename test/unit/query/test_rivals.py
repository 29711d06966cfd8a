"""An object that another known name fits better is not what was asked for."""

import pytest
import torch

from m3_ros.query.rivals import rival_factor

NAMES = ("chair", "table", "sofa")
TABLE = torch.tensor([[0.5, 0.7, 0.1]] * 4 + [[0.9, 0.1, 0.1]] * 2)
HERE = torch.tensor([True] * 4 + [False] * 2)


def same(*names):
    return torch.tensor([name in names for name in NAMES])


def test_a_table_is_hardly_a_chair():
    assert rival_factor(TABLE, same("chair"), HERE, 0.07) < 0.1


def test_a_table_is_a_table():
    assert rival_factor(TABLE, same("table"), HERE, 0.07) == 1


def test_names_of_one_meaning_share_their_votes():
    alone = rival_factor(TABLE, same("chair"), HERE, 0.3)
    assert rival_factor(TABLE, same("chair", "sofa"), HERE, 0.3) > alone


def test_only_the_object_votes():
    assert rival_factor(TABLE, same("chair"), ~HERE, 0.07) == 1


@pytest.mark.parametrize("names", [(), NAMES])
def test_a_word_of_its_own_has_no_rivals(names):
    assert rival_factor(TABLE, same(*names), HERE, 0.07) == 1


def test_no_matter_has_no_rivals():
    assert rival_factor(TABLE, same("chair"), torch.zeros(6, dtype=torch.bool), 0.07) == 1
