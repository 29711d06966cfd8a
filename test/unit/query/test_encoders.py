"""Which encoder answers, with what constants, and in whose words."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from m3_ros.errors import EncoderError, MemoryFormatError, QueryError
from m3_ros.features import registry
from m3_ros.query import Finder, QuerySettings, Status, find
from m3_ros.query.settings import RelevancySettings
from m3_ros.query.words import Words


def called(entry, name):
    bank = replace(entry.attention.bank, encoder_name=name, encoder_version=name)
    return replace(entry, attention=replace(entry.attention, bank=bank))


@pytest.fixture
def wordless(coloured_room):
    """An encoder of the same vectors that knows no words."""
    base = type(coloured_room.encoder)

    @dataclass(frozen=True)
    class Wordless(base):
        name: str = "wordless"
        version: str = "wordless"
        background_phrases: tuple[str, ...] = ()

        def encode_text(self, texts):
            raise EncoderError("wordless has no words")

    return Wordless()


@pytest.fixture
def saved(coloured_room, wordless, tmp_path, monkeypatch):
    """A memory of an encoder that is not on this machine, one without words, and one with words, in this order."""
    entry = coloured_room.memory.principal_queries[0]
    entries = (called(entry, "gone"), called(entry, "wordless"), entry)
    replace(coloured_room.memory, principal_queries=entries).save(tmp_path)
    monkeypatch.setitem(registry.ENCODERS, "colours", lambda source, compute: coloured_room.encoder)
    monkeypatch.setitem(registry.ENCODERS, "wordless", lambda source, compute: wordless)
    return tmp_path


def test_the_first_encoder_that_has_words_answers(coloured_room, saved):
    finder = Finder.open(saved)
    assert finder.encoder is coloured_room.encoder
    assert finder.find("chair").status == Status.FOUND
    assert find(finder.memory, "chair").status == Status.FOUND


def test_without_any_words_a_finder_opens_and_says_how_to_ask(coloured_room, saved):
    memory = Finder.open(saved).memory
    silent = replace(memory, principal_queries=memory.principal_queries[:2])
    silent.save(saved)
    finder = Finder.open(saved)
    assert finder.encoder.name == "wordless"
    for question in (finder.find, finder.relevancy, finder.contest):
        with pytest.raises(QueryError, match="find_like"):
            question("chair")
    answer = finder.find_like(coloured_room.encoder.encode_text(["chair"])[0])
    assert answer.status == Status.FOUND
    assert np.linalg.norm(answer.candidates[0].centre - coloured_room.centres["chair"]) < 0.15


def test_encoders_that_are_not_here_are_named(coloured_room, saved):
    memory = Finder.open(saved).memory
    replace(memory, principal_queries=memory.principal_queries[:1]).save(saved)
    with pytest.raises(EncoderError, match="gone"):
        Finder.open(saved)
    replace(memory, principal_queries=()).save(saved)
    with pytest.raises(MemoryFormatError, match="nothing of any encoder"):
        Finder.open(saved)


def test_a_fault_of_an_encoder_with_words_stays_its_own(coloured_room, monkeypatch):
    def fail(self, texts):
        raise EncoderError("the sentence model is not installed")

    monkeypatch.setattr(type(coloured_room.encoder), "encode_text", fail)
    with pytest.raises(EncoderError, match="not installed"):
        Finder(coloured_room.memory, coloured_room.encoder).find("chair")


def test_an_encoder_brings_its_own_constants(coloured_room):
    base = type(coloured_room.encoder)

    @dataclass(frozen=True)
    class Sharp(base):
        temperature: float = 0.01

    assert Finder(coloured_room.memory, coloured_room.encoder).settings == QuerySettings()
    relevancy = Finder(coloured_room.memory, Sharp()).settings.relevancy
    assert relevancy == replace(RelevancySettings(), temperature=0.01)
    chosen = QuerySettings(relevancy=RelevancySettings(temperature=0.5))
    assert Finder(coloured_room.memory, Sharp(), chosen).settings is chosen


def test_a_phrase_is_encoded_once_a_finder(coloured_room, monkeypatch):
    encoded = []
    real = type(coloured_room.encoder).encode_text
    monkeypatch.setattr(type(coloured_room.encoder), "encode_text", lambda s, t: encoded.extend(t) or real(s, t))
    finder = Finder(coloured_room.memory, coloured_room.encoder)
    first = finder.find("chair")
    again = finder.find("the chair", negatives=("sofa",))
    assert encoded.count("chair") <= 2  # once as a question, once as a background phrase
    assert encoded.count("sofa") <= 2
    assert np.allclose(first.candidates[0].centre, again.candidates[0].centre)


def test_a_candidate_is_explained_in_the_words_it_was_remembered_by(coloured_room):
    (entry,) = coloured_room.memory.principal_queries
    bank = entry.attention.bank
    names = list(dict.fromkeys(coloured_room.names))
    nearest = (bank.components @ coloured_room.encoder.encode_text(names).T).argmax(dim=1)
    captions = tuple(f"a {names[i]}" for i in nearest)
    told = replace(entry, attention=replace(entry.attention, bank=replace(bank, captions=captions)))
    answer = Finder(replace(coloured_room.memory, principal_queries=(told,)), coloured_room.encoder).find("plant")
    assert answer.candidates[0].explanation[0].caption == "a plant"
    assert 0.3 < answer.candidates[0].explanation[0].share <= 1
    assert Finder(coloured_room.memory, coloured_room.encoder).find("plant").candidates[0].explanation == ()


def test_many_words_do_not_pile_up(coloured_room):
    words = Words(coloured_room.encoder, RelevancySettings())
    first = words.of(["chair"])
    for i in range(300):
        words.of([f"word {i}"])
    assert len(words._known) < 300
    assert torch.equal(words.of(["chair"]), first)
