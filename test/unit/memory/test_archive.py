import json
import os
import random as random_module
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from m3_ros.errors import MemoryFormatError
from m3_ros.memory import SpatialMemory, load_memory, save_memory
from m3_ros.memory.archive import MANIFEST, VERSION, migrate


def data_files(path):
    return sorted(path.glob("*.safetensors"))


@pytest.fixture
def saved(coloured_room, tmp_path):
    coloured_room.memory.save(tmp_path / "memory")
    return tmp_path / "memory"


def edit_manifest(path, **changes):
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(manifest | changes))


def test_round_trip_gives_the_same_memory(coloured_room, saved):
    memory, loaded = coloured_room.memory, SpatialMemory.load(saved)
    for name in ("means", "quats", "scales", "opacities", "sh0", "shN"):
        assert torch.equal(getattr(memory.gaussians, name), getattr(loaded.gaussians, name)), name
    (a,), (b,) = memory.principal_queries, loaded.principal_queries
    assert torch.equal(a.queries, b.queries)
    assert torch.equal(a.attention.bank.components, b.attention.bank.components)
    assert (a.attention.tau, a.encoder_version, a.attention.bank.coverage) == (
        b.attention.tau,
        b.encoder_version,
        b.attention.bank.coverage,
    )
    assert np.array_equal(memory.keyframes.T_map_camera, loaded.keyframes.T_map_camera)
    assert memory.keyframes.cameras == loaded.keyframes.cameras
    assert memory.provenance.recording == loaded.provenance.recording
    assert memory.map_frame == loaded.map_frame
    text = coloured_room.encoder.encode_text(["chair"])
    assert torch.equal(a.text_scores(text), b.text_scores(text))


def test_saving_again_replaces_the_memory_and_leaves_nothing_behind(coloured_room, saved):
    (saved / "notes.txt").write_text("mine")
    save_memory(replace(coloured_room.memory, map_frame="elsewhere"), saved)
    assert load_memory(saved).map_frame == "elsewhere"
    names = {entry["name"] for entry in json.loads((saved / MANIFEST).read_text())["files"].values()}
    assert {p.name for p in saved.iterdir()} == names | {MANIFEST, "notes.txt"}


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(MemoryFormatError, match="there is no memory at"):
        load_memory(tmp_path / "nowhere")


def test_folder_without_manifest_is_partial(saved):
    (saved / MANIFEST).unlink()
    with pytest.raises(MemoryFormatError, match="partial"):
        load_memory(saved)


def test_missing_data_file_is_partial(saved):
    data_files(saved)[0].unlink()
    with pytest.raises(MemoryFormatError, match="partial"):
        load_memory(saved)


@pytest.mark.parametrize("where", [0.0, 0.5, 0.999])
def test_one_flipped_byte_in_any_file_is_corrupt(saved, where):
    for file in data_files(saved):
        whole = file.read_bytes()
        broken = bytearray(whole)
        broken[int(where * len(broken))] ^= 1
        file.write_bytes(broken)
        with pytest.raises(MemoryFormatError, match="corrupt"):
            load_memory(saved)
        file.write_bytes(whole)


def test_truncated_data_file_is_corrupt(saved):
    file = data_files(saved)[0]
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(MemoryFormatError, match="corrupt"):
        load_memory(saved)


def test_truncated_manifest_is_corrupt(saved):
    text = (saved / MANIFEST).read_text()
    for length in (0, 1, len(text) // 2, len(text) - 1):
        (saved / MANIFEST).write_text(text[:length])
        with pytest.raises(MemoryFormatError, match="corrupt"):
            load_memory(saved)


def test_newer_version_is_refused_by_name(saved):
    edit_manifest(saved, version=VERSION + 1)
    with pytest.raises(MemoryFormatError, match="update m3_ros"):
        load_memory(saved)


def test_manifest_cannot_point_outside_the_folder(saved):
    manifest = json.loads((saved / MANIFEST).read_text())
    manifest["files"]["gaussians"]["name"] = "../../etc/passwd"
    (saved / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(MemoryFormatError, match="corrupt"):
        load_memory(saved)


@pytest.mark.parametrize("key", ["files", "encoders", "provenance", "map_frame", "walks"])
def test_manifest_without_a_field_is_corrupt(saved, key):
    manifest = json.loads((saved / MANIFEST).read_text())
    del manifest[key]
    (saved / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(MemoryFormatError, match="corrupt"):
        load_memory(saved)


def test_another_json_file_is_not_a_memory(saved):
    (saved / MANIFEST).write_text('{"format": "something else"}')
    with pytest.raises(MemoryFormatError, match="not the manifest"):
        load_memory(saved)


def test_other_encoder_or_version_is_refused_by_name(saved):
    memory = load_memory(saved)
    with pytest.raises(MemoryFormatError, match="nothing of encoder 'clip'"):
        memory.queries_of("clip")
    with pytest.raises(MemoryFormatError, match="version"):
        memory.queries_of("colours", "2")


def test_a_memory_of_version_1_is_read_as_one_whose_walks_are_unknown(coloured_room, saved):
    manifest = json.loads((saved / MANIFEST).read_text())
    del manifest["walks"]
    (saved / MANIFEST).write_text(json.dumps(manifest | {"version": 1}))
    loaded = load_memory(saved)
    assert loaded.walks == ()
    assert torch.equal(loaded.principal_queries[0].queries, coloured_room.memory.principal_queries[0].queries)


def test_old_manifest_is_migrated_step_by_step():
    steps = {v: lambda m, v=v: m | {"version": v + 1, f"step_{v}": True} for v in range(VERSION - 2, VERSION)}
    assert migrate({"version": VERSION - 2}, steps) == {
        "version": VERSION,
        **{f"step_{v}": True for v in range(VERSION - 2, VERSION)},
    }
    with pytest.raises(MemoryFormatError, match="cannot be brought"):
        migrate({"version": VERSION - 1}, {})


def test_unwritable_folder_is_an_error_and_not_a_trace(coloured_room, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MemoryFormatError, match="cannot be written"):
        save_memory(coloured_room.memory, tmp_path / "file")


SAVER = """
import sys
from dataclasses import replace
from pathlib import Path
import m3_ros.memory.archive as archive
path = Path(sys.argv[1])
memory = archive.load_memory(path)
print("ready", flush=True)
for i in range(100000):
    archive.save_memory(replace(memory, map_frame=f"save_{i}", visibility=memory.visibility + i), path)
"""


def test_kill_at_any_moment_of_a_save_leaves_a_whole_memory(saved):
    rng = random_module.Random(0)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    for _ in range(3):
        saver = subprocess.Popen([sys.executable, "-c", SAVER, str(saved)], stdout=subprocess.PIPE, env=environment)
        assert saver.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.02, 0.3))
        saver.send_signal(signal.SIGKILL)
        saver.wait()
        saver.stdout.close()
        memory = load_memory(saved)
        if memory.map_frame.startswith("save_"):
            assert float(memory.visibility.min()) >= 1.0


@pytest.mark.parametrize("stop_at", range(12))
def test_failure_at_every_step_of_a_save_leaves_the_old_memory(coloured_room, saved, monkeypatch, stop_at):
    done = 0
    real = Path.replace

    def failing(self, target):
        nonlocal done
        if done == stop_at:
            raise OSError(28, "No space left on device")
        done += 1
        return real(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    changed = replace(coloured_room.memory, map_frame="new", visibility=coloured_room.memory.visibility + 1)
    steps = len(data_files(saved)) + 1
    if stop_at < steps:
        with pytest.raises(MemoryFormatError, match="No space left"):
            save_memory(changed, saved)
        assert load_memory(saved).map_frame == "map"
    else:
        save_memory(changed, saved)
        assert load_memory(saved).map_frame == "new"
