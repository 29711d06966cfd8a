"""The offline job as `m3 train` runs it: a recording in, a memory on disk out."""

import json
from dataclasses import replace

import pytest

from m3_ros.cli.main import main
from m3_ros.features import registry
from m3_ros.memory import load_memory
from m3_ros.memory.archive import stored_precision
from m3_ros.training.memory_stage import MemorySettings
from m3_ros.training.pipeline import TrainingSettings, train
from m3_ros.training.polish import PolishSettings

SETTINGS = TrainingSettings(
    preset="seconds", encoders=("colours",), max_seconds=2.0, max_gaussians=600, held_out_every=4, refine_poses="off",
    query_precision="int8",
    memory=MemorySettings(query_dim=6, code_length=2, keep_sums=False, polish=PolishSettings(steps=2)),
)  # fmt: skip


@pytest.fixture
def trained(coloured_room, room_frames, write_sequence, tmp_path, monkeypatch):
    monkeypatch.setitem(registry.ENCODERS, "colours", lambda source, compute: coloured_room.encoder)
    # a walk is a curve of many pictures; here twelve stand around the room, and all of them are wanted
    settings = replace(SETTINGS, keyframes=replace(SETTINGS.keyframes, min_relative_sharpness=0.0))
    recording = write_sequence(tmp_path / "walk", room_frames)
    return train(recording, tmp_path / "memory", settings)


def test_a_memory_keeps_what_was_asked_for_and_says_how_it_was_made(trained, capsys):
    memory = load_memory(trained.memory_path)
    (entry,) = memory.principal_queries
    assert stored_precision(trained.memory_path) == "int8"
    assert entry.linear.index.shape == (trained.gaussians, 2)
    assert memory.objects is not None
    settings = json.loads(memory.provenance.settings)
    assert (settings["preset"], settings["memory"]["query_dim"], settings["encoders"]) == ("seconds", 6, ["colours"])
    assert not {"cache_dir", "resume", "ray_address"} & set(settings)
    assert main(["info", str(trained.memory_path)]) == 0
    said = capsys.readouterr().out
    assert "preset seconds" in said
    assert "linear head of 2 components" in said
