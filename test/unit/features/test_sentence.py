from dataclasses import replace

import pytest
import torch

from m3_ros.errors import EncoderError
from m3_ros.features import sentence
from m3_ros.features.sentence import embed_sentences, sentence_version, strip_lead_in


@pytest.mark.parametrize(
    ("request_text", "wanted"),
    [
        ("chair", "chair"),
        ("find the chair", "chair"),
        ("Find me the red chair.", "red chair"),
        ("Where is the red chair, please?", "red chair"),
        ("where's the tv stand?", "tv stand"),
        ("go to the a", "a"),
        ("Could you please take me to my couch?", "couch"),
        ("robot, show me the mug!", "mug"),
        ("I want to find the soccer ball", "soccer ball"),
        ("is there any clock?", "clock"),
        ("toy robot", "toy robot"),
        ("spotlight", "spotlight"),
        ("theatre seat", "theatre seat"),
        ("findings", "findings"),
        ("the", "the"),
        ("find", "find"),
    ],
)
def test_lead_ins_are_stripped_and_names_are_kept(request_text, wanted):
    assert strip_lead_in(request_text) == wanted


def test_sentences_have_unit_length_and_near_words_lie_near():
    sofa, couch, banana = embed_sentences(["sofa", "couch", "banana"])
    assert torch.allclose(torch.stack([sofa, couch, banana]).norm(dim=1), torch.ones(3), atol=1e-5)
    assert sofa @ couch > 0.7 > 0.4 > sofa @ banana


def test_padding_does_not_change_an_embedding():
    alone = embed_sentences(["mug"])[0]
    together = embed_sentences(["a very long sentence about a sofa in a living room", "mug"])[1]
    assert torch.allclose(alone, together, atol=1e-5)


def test_the_sentence_model_never_asks_the_network(monkeypatch):
    import socket

    def refuse(*_):
        raise AssertionError("network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    sentence._model.cache_clear()
    assert embed_sentences(["chair"]).shape == (1, 384)


def test_an_empty_text_is_refused():
    with pytest.raises(EncoderError, match="empty"):
        embed_sentences(["chair", "  "])


def test_other_weights_of_the_sentence_model_are_another_version(monkeypatch):
    first = sentence_version()
    assert first == sentence_version()
    model = sentence._model()
    name = next(iter(model.weights))
    changed = replace(model, weights={**model.weights, name: model.weights[name] + 1})
    monkeypatch.setattr(sentence, "_model", lambda: changed)
    assert sentence_version() != first
