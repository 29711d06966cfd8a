import pytest
import torch

from m3_ros.features.encoder import FeatureMap, unit
from m3_ros.memory import MemoryAttention, cover_components, pca_projection
from m3_ros.memory.explanation import component_captions, explain

NAMES = ("a red chair", "a lamp", "a table", "")


@pytest.fixture(scope="module")
def vectors():
    return unit(torch.randn(4, 24, generator=torch.Generator().manual_seed(0)))


def regions(vectors, order, noise=0.0):
    features = vectors[list(order)] * 3 + noise * torch.randn(
        len(order), 24, generator=torch.Generator().manual_seed(1)
    )
    index = torch.arange(len(order)).reshape(1, -1)
    return FeatureMap(features, index >= 0, (10, 10), index, tuple(NAMES[i] for i in order))


@pytest.fixture(scope="module")
def attention(vectors):
    bank = cover_components([vectors], 0.95, 16).bank("language", "1", "cover")
    return MemoryAttention(bank, pca_projection(vectors.T @ vectors, 4), 0.05)


def test_each_component_has_the_caption_of_the_nearest_region(vectors):
    maps = [regions(vectors, (1, 2), noise=0.3), regions(vectors, (2, 0, 1, 3))]
    assert component_captions(maps, vectors)[:3] == NAMES[:3]
    assert component_captions(maps, vectors[[2, 0]]) == ("a table", "a red chair")


def test_maps_without_words_give_none(vectors):
    seen = regions(vectors, (0, 1))
    wordless = FeatureMap(seen.features, seen.valid, seen.image_size, seen.index)
    assert component_captions([wordless], vectors[:2]) == ("", "")


def test_a_thing_is_explained_by_the_captions_that_it_remembers(vectors, attention):
    chair, lamp = (vectors[i] @ torch.linalg.pinv(attention.W) for i in (0, 1))
    said = explain(attention, torch.stack([chair, chair, lamp, torch.zeros(4)]), NAMES)
    assert [e.caption for e in said[:2]] == ["a red chair", "a lamp"]
    assert said[0].share == pytest.approx(2 / 3, abs=0.05)
    assert sum(e.share for e in said) <= 1 + 1e-6


def test_the_same_words_count_together(vectors, attention):
    both = torch.stack([vectors[i] @ torch.linalg.pinv(attention.W) for i in (0, 1)])
    said = explain(attention, both, ("seat", "seat", "table", ""))
    assert said[0].caption == "seat"
    assert said[0].share > 0.9


def test_what_remembers_nothing_says_nothing(attention):
    assert explain(attention, torch.zeros(3, 4), NAMES) == []


def test_captions_of_another_bank_are_refused(attention):
    with pytest.raises(ValueError, match="as many captions"):
        explain(attention, torch.zeros(3, 4), NAMES[:2])
