import pytest
import torch

from m3_ros.features.encoder import unit
from m3_ros.features.known_words import KnownWords, without_colours
from m3_ros.features.sentence import embed_sentences
from m3_ros.features.vocabulary import VOCABULARY

KINDS = ("sofa", "chair", "traffic cone", "mug", "tv")


@pytest.fixture(scope="module")
def words():
    return KnownWords.of(KINDS)


@pytest.mark.parametrize(("synonym", "name"), [("couch", "sofa"), ("safety cone", "traffic cone")])
def test_a_synonym_moves_towards_the_name_that_was_trained(words, synonym, name):
    trained = unit(embed_sentences(list(VOCABULARY[name].names)).mean(dim=0))
    assert words.embed([synonym])[0] @ trained > embed_sentences([synonym])[0] @ trained + 0.03


@pytest.mark.parametrize("word", ["bicycle", "elephant", "violin"])
def test_a_foreign_word_stays_where_it_is(words, word):
    assert words.embed([word])[0] @ embed_sentences([word])[0] > 0.98


def test_a_colour_stays_a_colour(words):
    red, blue = words.embed(["red couch", "blue couch"])
    names = embed_sentences(["red sofa", "blue sofa"])
    assert red @ names[0] > red @ names[1] + 0.1
    assert blue @ names[1] > blue @ names[0] + 0.1


def test_vectors_have_length_one(words):
    assert torch.allclose(words.embed(["couch", "a thing", "grey"]).norm(dim=1), torch.ones(3), atol=1e-5)


def test_colours_are_dropped_unless_nothing_is_left():
    assert without_colours("red wooden chair") == "wooden chair"
    assert without_colours("orange") == "orange"
    assert without_colours("predator") == "predator"
