"""`m3 add` and `m3 forget`: another walk into a memory, and out of it again."""

from dataclasses import replace

import numpy as np
import pytest

from m3_ros.cli.main import main
from m3_ros.features import registry
from m3_ros.memory import load_memory, save_memory
from m3_ros.memory.archive import stored_tensors
from m3_ros.query import Finder, Status
from m3_ros.training.memory_stage import MemorySettings, build_memory
from m3_ros.training.polish import PolishSettings

SETTINGS = MemorySettings(query_dim=8, lift_width=80, polish=PolishSettings(steps=4))


@pytest.fixture(scope="module")
def memory(coloured_room, room_frames):
    return build_memory(room_frames[:6], coloured_room.memory.gaussians, [coloured_room.encoder], SETTINGS)


@pytest.fixture
def saved(coloured_room, memory, tmp_path, monkeypatch):
    knows = replace(coloured_room.encoder, known_names=tuple(coloured_room.centres))
    monkeypatch.setitem(registry.ENCODERS, "colours", lambda source, compute: knows)
    save_memory(memory, tmp_path / "memory", "int8")
    return tmp_path / "memory"


def test_a_walk_goes_in_and_out_again(coloured_room, room_frames, memory, saved, tmp_path, write_sequence, capsys):
    recording = write_sequence(tmp_path / "second", room_frames[6:])
    before = load_memory(saved)
    assert main(["add", str(saved), str(recording)]) == 0
    said = capsys.readouterr().out
    assert "walk 'second' of" in said
    assert "warning" not in said
    grown = load_memory(saved)
    assert [walk.name for walk in grown.walks] == ["first", "second"]
    assert {thing.name for thing in grown.objects} >= set(coloured_room.centres)
    assert Finder(grown, coloured_room.encoder).find("chair").status == Status.FOUND
    assert "queries" not in stored_tensors(saved)["encoder_0"]  # they follow from the sums
    assert main(["info", str(saved)]) == 0
    assert "walk 'second' of" in capsys.readouterr().out

    assert main(["forget", str(saved), "second"]) == 0
    left = load_memory(saved)
    assert [walk.name for walk in left.walks] == ["first"]
    assert left.keyframes.stamps_ns.tolist() == before.keyframes.stamps_ns.tolist()
    (a,), (b,) = before.principal_queries, left.principal_queries
    assert np.allclose(a.queries.float(), b.queries.float(), atol=1e-5)
    assert np.allclose(before.visibility, left.visibility, atol=1e-5)


def test_a_walk_of_another_map_is_warned_of(room_frames, saved, tmp_path, write_sequence, capsys):
    recording = write_sequence(tmp_path / "elsewhere", room_frames[6:], lift_m=-0.6)
    assert main(["add", str(saved), str(recording), "--out", str(tmp_path / "grown")]) == 0
    assert "is it posed in the memory's map" in capsys.readouterr().out
    assert [walk.name for walk in load_memory(saved).walks] == ["first"]


@pytest.mark.parametrize(("command", "message"), [
    (["forget", "MEMORY", "nobody"], "cannot be removed"),
    (["forget", "MEMORY", "first"], "one has to stay"),
    (["add", "MEMORY", "nowhere"], "nowhere"),
])  # fmt: skip
def test_mistakes_are_one_line(saved, capsys, command, message):
    assert main([str(saved) if word == "MEMORY" else word for word in command]) == 1
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_memory_without_sums_is_refused_before_anything_is_read(coloured_room, tmp_path, capsys):
    coloured_room.memory.save(tmp_path / "memory")
    assert main(["add", str(tmp_path / "memory"), "nowhere"]) == 1
    assert "keeps no sums" in capsys.readouterr().err
