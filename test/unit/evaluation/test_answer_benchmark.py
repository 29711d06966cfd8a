import json
import math

import numpy as np
import pytest

from m3_ros.cli import bench_answers as command
from m3_ros.errors import EncoderError, QueryError
from m3_ros.evaluation import answer_benchmark
from m3_ros.evaluation.answer_benchmark import Contender, Question, ask, benchmark_answers, judged, outcome
from m3_ros.evaluation.localisation import Truth
from m3_ros.query import Finder
from m3_ros.query.grounding import Evidence
from m3_ros.query.settings import CalibrationSettings


@pytest.fixture
def finder(coloured_room):
    return Finder(coloured_room.memory, coloured_room.encoder)


@pytest.fixture
def truths(coloured_room):
    return [Truth(name, np.array(centre)) for name, centre in coloured_room.centres.items()]


def contender(right, rng, left=1.0):
    """Right objects are more relevant and larger."""
    relevancy = float(rng.uniform(0.6, 0.95) if right else rng.uniform(0.02, 0.4))
    return Contender(Evidence(relevancy, relevancy, 0.8, 0.4 if right else 0.05, 0.9), left, right)


def questions(rooms=(1, 2)):
    rng = np.random.default_rng(0)
    table = []
    for room in rooms:
        for _ in range(12):
            both = (contender(False, rng), contender(True, rng))
            table.append(Question(room, "chair", "present", both))
            table.append(Question(room, "bed", "absent", (contender(False, rng),)))
            table.append(Question(room, "bicycle", "foreign", (contender(False, rng),)))
    return table


def test_every_kind_that_is_there_or_known_is_asked_for_and_foreign_words(finder, truths):
    asked = {q.text: q for q in ask(5, finder, [*truths, Truth("wall", np.zeros(3))], ("bicycle",))}
    assert {text: q.case for text, q in asked.items()} == {
        **dict.fromkeys(("ball", "chair", "cone", "plant"), "present"),
        "bicycle": "foreign",
    }
    best = max(asked["chair"].contenders, key=lambda c: c.evidence.relevancy)
    assert best.right
    assert outcome(asked["chair"], CalibrationSettings()) is True
    assert outcome(asked["bicycle"], CalibrationSettings()) is None


def test_what_rivals_leave_decides_too():
    rng = np.random.default_rng(0)
    sure = Question(1, "chair", "present", (contender(True, rng),))
    contested = Question(1, "chair", "present", (contender(True, rng, left=0.1),))
    assert outcome(sure, CalibrationSettings()) is True
    assert outcome(contested, CalibrationSettings()) is None


def test_constants_fitted_on_other_rooms_tell_right_from_wrong():
    found = judged(questions())
    assert found.fitted.present_right > 0.9
    assert found.fitted.absent_answered < 0.1
    assert found.fitted.questions == 72
    assert found.constants.relevancy > 0
    assert found.rooms == (1, 2)


def test_rates_without_cases_are_nan_and_one_room_cannot_be_left_out():
    present_only = [q for q in questions() if q.case == "present"]
    assert math.isnan(judged(present_only).shipped.foreign_answered)
    with pytest.raises(QueryError):
        judged(questions(rooms=(1,)))


def test_rooms_of_the_training_are_refused():
    with pytest.raises(EncoderError, match="trained on room"):
        benchmark_answers((100_000, 1))


def test_the_command_prints_rates_and_constants(monkeypatch, capsys, finder, truths):
    monkeypatch.setattr(answer_benchmark, "remembered", lambda *_: (finder, truths))
    monkeypatch.setattr(answer_benchmark, "ask", lambda room, *_: questions((room,)))
    assert command.run("1,2", json_document=True) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["rooms"] == [1, 2]
    assert document["shipped"]["present_right"] > 0.9
    assert set(document["constants"]) == {"bias", "relevancy", "log_area"}
    assert command.run("1,2") == 0
    assert "fitted on all" in capsys.readouterr().out
