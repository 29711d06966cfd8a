from dataclasses import replace

import numpy as np
import pytest
import torch

from m3_ros.errors import MemoryFormatError
from m3_ros.memory import Lifted, Recipe, Walk, compose, descended, find_objects, remove_walk
from m3_ros.query import Finder, Status


@pytest.fixture(scope="module")
def remembered(coloured_room):
    """The coloured room with two walks, a linear head and objects."""
    memory, n = coloured_room.memory, len(coloured_room.names)
    (entry,) = memory.principal_queries
    recipe = Recipe(torch.linalg.pinv(entry.attention.W), torch.zeros(n, 16).half(), 0.05, code_length=3)
    sums = Lifted(entry.queries.float(), torch.ones(n), torch.ones(n))
    walks = tuple(Walk(name, count, (sums,)) for name, count in (("first", 5), ("second", 7)))
    entries = (compose(entry.attention, recipe, sums + sums),)
    return replace(memory, principal_queries=entries, walks=walks, objects=find_objects(memory))


def test_clones_halves_and_survivors_remember_what_their_parent_did(coloured_room, remembered):
    n = len(coloured_room.names)
    parents = torch.cat([torch.arange(10, n), torch.arange(n - 300, n), torch.arange(n - 300, n)])
    grown = descended(remembered, remembered.gaussians[parents], parents)
    words = coloured_room.encoder.encode_text(["cone", "chair"])
    (before,), (after,) = remembered.principal_queries, grown.principal_queries
    for head in ("attention", "linear"):  # a block of rows may round as its length does
        scores = after.text_scores(words, head), before.text_scores(words, head)[parents]
        torch.testing.assert_close(*scores, atol=1e-4, rtol=0)
    assert [len(thing.gaussians) for thing in grown.objects] == [len(parents)] * len(grown.objects)
    answer = Finder(grown, coloured_room.encoder).find("cone")
    assert answer.status == Status.FOUND
    assert np.linalg.norm(answer.candidates[0].centre - coloured_room.centres["cone"]) < 0.05
    left = remove_walk(grown, "second").principal_queries[0]
    torch.testing.assert_close(left.queries, after.queries, atol=1e-3, rtol=0)


def test_what_is_pruned_is_forgotten(coloured_room, remembered):
    parents = torch.tensor([i for i, name in enumerate(coloured_room.names) if name != "chair"])
    left = descended(remembered, remembered.gaussians[parents], parents)
    assert Finder(left, coloured_room.encoder).find("chair").status == Status.NOT_FOUND


@pytest.mark.parametrize("parents", [[0, 1], [0, 1, -1], [0, 1, 10**6]])
def test_gaussians_without_a_parent_are_refused(remembered, parents):
    with pytest.raises(MemoryFormatError, match="as many parents"):
        descended(remembered, remembered.gaussians[torch.arange(3)], torch.tensor(parents))
