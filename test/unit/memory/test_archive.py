import ast
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

import m3_ros.memory
from m3_ros.errors import MemoryFormatError
from m3_ros.memory import Lifted, SpatialMemory, Walk, find_objects, load_memory, save_memory
from m3_ros.memory.archive import MANIFEST, VERSION, migrate, stored_tensors
from m3_ros.memory.linear_head import coded


def data_files(path):
    return sorted(path.glob("*.safetensors"))


@pytest.fixture
def saved(coloured_room, tmp_path):
    coloured_room.memory.save(tmp_path / "memory")
    return tmp_path / "memory"


def edit_manifest(path, edit):
    """Change the manifest of a memory as a later or faulty writer might: with a checksum that fits."""
    manifest = json.loads((path / MANIFEST).read_text())
    del manifest["sha256"]
    edit(manifest)
    text = json.dumps(manifest, indent=1, sort_keys=True)
    manifest["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (path / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))


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
    edit_manifest(saved, lambda manifest: manifest.update(version=VERSION + 1))
    with pytest.raises(MemoryFormatError, match="update m3_ros"):
        load_memory(saved)


def test_manifest_cannot_point_outside_the_folder(saved):
    edit_manifest(saved, lambda manifest: manifest["files"]["gaussians"].update(name="../../etc/passwd"))
    with pytest.raises(MemoryFormatError, match="not the name of a data file"):
        load_memory(saved)


@pytest.mark.parametrize("key", ["files", "encoders", "provenance", "map_frame", "walks", "objects"])
def test_manifest_without_a_field_is_corrupt(saved, key):
    edit_manifest(saved, lambda manifest: manifest.pop(key))
    with pytest.raises(MemoryFormatError, match=f"corrupt: KeyError '{key}'"):
        load_memory(saved)


def test_one_flipped_bit_anywhere_in_the_manifest_is_refused(saved):
    whole = (saved / MANIFEST).read_bytes()
    for place in range(0, len(whole), 11):
        broken = bytearray(whole)
        broken[place] ^= 1
        (saved / MANIFEST).write_bytes(broken)
        with pytest.raises(MemoryFormatError):
            load_memory(saved)
    (saved / MANIFEST).write_bytes(whole.replace(b'"map_frame": "map"', b'"map_frame": "odom"'))
    with pytest.raises(MemoryFormatError, match="corrupt: its checksum"):
        load_memory(saved)


def test_a_memory_of_version_3_is_read(coloured_room, saved):
    edit_manifest(saved, lambda manifest: manifest.update(version=3))
    kept, entry = coloured_room.memory.principal_queries[0], load_memory(saved).principal_queries[0]
    assert torch.equal(kept.queries, entry.queries)


def test_a_memory_of_version_2_is_read(coloured_room, saved):
    manifest = json.loads((saved / MANIFEST).read_text())
    del manifest["sha256"]
    for encoder in manifest["encoders"]:
        del encoder["recipe"]
    (saved / MANIFEST).write_text(json.dumps(manifest | {"version": 2}))
    kept, entry = coloured_room.memory.principal_queries[0], load_memory(saved).principal_queries[0]
    assert torch.equal(kept.queries, entry.queries)
    assert entry.linear is None


def test_nothing_in_the_room_can_unpickle():
    forbidden = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for path in Path(m3_ros.memory.__file__).parent.glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        modules |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
        assert not {m.partition(".")[0] for m in modules} & forbidden, path
        assert not calls & {"torch.load", "np.load", "numpy.load", "eval", "exec"}, path


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


def write_version_1(memory, path):
    """Write a memory as version 1 did. Frozen: it stands for the files that people have."""

    def write(role, tensors):
        data = save({name: t.contiguous() for name, t in tensors.items()})
        digest = hashlib.sha256(data).hexdigest()
        name = f"{role}-{digest[:16]}.safetensors"
        (path / name).write_bytes(data)
        return {"name": name, "sha256": digest, "bytes": len(data)}

    g, frames, (entry,) = memory.gaussians, memory.keyframes, memory.principal_queries
    attention, bank = entry.attention, entry.attention.bank
    path.mkdir()
    files = {
        "gaussians": write("gaussians", vars(g) | {"visibility": memory.visibility}),
        "keyframes": write("keyframes", {
            "stamps_ns": torch.from_numpy(frames.stamps_ns),
            "T_map_camera": torch.from_numpy(frames.T_map_camera),
            "intrinsics": torch.tensor(
                [[c.width, c.height, c.fx, c.fy, c.cx, c.cy] for c in frames.cameras], dtype=torch.float64
            ),
        }),
        "encoder_0": write("encoder_0", {
            "queries": entry.queries.half(),
            "norms": entry.norms.float(),
            "consistency": entry.consistency.half(),
            "W": attention.W.float(),
            "components": bank.components.float(),
        }),
    }  # fmt: skip
    encoder = {
        "file": "encoder_0",
        "name": bank.encoder_name,
        "encoder_version": bank.encoder_version,
        "tau": attention.tau,
        "theta": bank.theta,
        "capped": bank.capped,
        "method": bank.method,
        "coverage": asdict(bank.coverage),
    }
    manifest = {
        "format": "m3_ros memory",
        "version": 1,
        "map_frame": memory.map_frame,
        "provenance": asdict(memory.provenance) | {"psnr_db": None},
        "encoders": [encoder],
        "files": files,
    }
    (path / "memory.json").write_text(json.dumps(manifest))


def test_a_memory_of_version_1_answers_as_it_did(coloured_room, tmp_path):
    write_version_1(coloured_room.memory, tmp_path / "old")
    loaded = load_memory(tmp_path / "old")
    (old,), (entry,) = coloured_room.memory.principal_queries, loaded.principal_queries
    assert (loaded.walks, loaded.objects, entry.attention.bank.captions) == ((), None, ())
    text = coloured_room.encoder.encode_text(["chair", "plant"])
    assert torch.equal(old.text_scores(text), entry.text_scores(text))
    loaded.save(tmp_path / "old")
    assert json.loads((tmp_path / "old" / MANIFEST).read_text())["version"] == VERSION
    assert torch.equal(load_memory(tmp_path / "old").principal_queries[0].queries, old.queries)


def test_objects_are_kept(coloured_room, tmp_path):
    knows = replace(coloured_room.encoder, known_names=tuple(coloured_room.centres))
    objects = find_objects(coloured_room.memory, [knows])
    replace(coloured_room.memory, objects=objects).save(tmp_path / "memory")
    loaded = load_memory(tmp_path / "memory").objects
    assert len(loaded) == len(objects)
    for a, b in zip(objects, loaded, strict=True):
        assert (a.id, a.name, a.views, a.last_seen_ns) == (b.id, b.name, b.views, b.last_seen_ns)
        assert a.name_probability == pytest.approx(b.name_probability)
        assert torch.equal(a.gaussians, b.gaussians)
        assert torch.equal(a.codes[0], b.codes[0])
        for x, y in ((a.centre, b.centre), (a.covariance, b.covariance), (a.box.corners, b.box.corners)):
            assert np.allclose(x, y)
    replace(coloured_room.memory, objects=()).save(tmp_path / "empty")
    assert load_memory(tmp_path / "empty").objects == ()


def with_captions(memory, captions):
    (entry,) = memory.principal_queries
    bank = replace(entry.attention.bank, captions=captions)
    return replace(memory, principal_queries=(replace(entry, attention=replace(entry.attention, bank=bank)),))


def test_captions_are_kept_and_must_be_one_a_component(coloured_room, tmp_path):
    bank = coloured_room.memory.principal_queries[0].attention.bank
    captions = tuple(f"ein Stück {i}" for i in range(len(bank)))
    with_captions(coloured_room.memory, captions).save(tmp_path / "memory")
    assert load_memory(tmp_path / "memory").principal_queries[0].attention.bank.captions == captions
    with_captions(coloured_room.memory, ("one",)).save(tmp_path / "memory")
    with pytest.raises(MemoryFormatError, match="corrupt"):
        load_memory(tmp_path / "memory")


def test_codes_of_eight_bits_are_smaller_and_mean_the_same(coloured_room, tmp_path):
    memory = coloured_room.memory
    (entry,) = memory.principal_queries
    unseen = replace(entry, queries=entry.queries * (torch.arange(len(entry.queries)) > 9)[:, None])
    memory = replace(memory, principal_queries=(unseen,))
    for codes in ("float16", "int8"):
        save_memory(memory, tmp_path / codes, codes)
    size = {codes: sum(f.stat().st_size for f in data_files(tmp_path / codes)) for codes in ("float16", "int8")}
    n, s = entry.queries.shape
    assert size["float16"] - size["int8"] >= n * (s - 4) - 1000
    (a,), (b,) = (load_memory(tmp_path / codes).principal_queries for codes in ("float16", "int8"))
    assert not bool(b.queries[:10].any())
    words = coloured_room.encoder.encode_text(list(coloured_room.centres))
    before, after = (x.text_scores(words)[10:] for x in (a, b))
    assert float((before - after).abs().mean()) < 1e-3
    assert float((before.argmax(dim=1) == after.argmax(dim=1)).float().mean()) > 0.99
    assert torch.nn.functional.cosine_similarity(a.queries.float(), b.queries.float())[10:].min() > 0.999


def test_a_linear_head_is_kept_in_eight_bits_and_means_the_same(coloured_room, tmp_path):
    memory = coloured_room.memory
    (entry,) = memory.principal_queries
    to_query = torch.linalg.pinv(entry.attention.W)
    linear = coded(entry.queries.float(), entry.attention.bank, to_query, 4)
    replace(memory, principal_queries=(replace(entry, linear=linear),)).save(tmp_path / "memory")
    kept = load_memory(tmp_path / "memory").principal_queries[0].linear
    assert torch.equal(kept.index, linear.index)
    words = coloured_room.encoder.encode_text(list(coloured_room.centres))
    before, after = linear.text_scores(words), kept.text_scores(words)
    assert float((before - after).abs().mean()) < 2e-3
    assert float((before.argmax(dim=1) == after.argmax(dim=1)).float().mean()) > 0.99
    stored = stored_tensors(tmp_path / "memory")["encoder_0"]
    assert (stored["code_weights"].dtype, stored["code_index"].dtype) == ("I8", "I16")
    codes = sum(stored[name].bytes for name in ("code_weights", "code_index", "code_scales"))
    assert codes == linear.size_bytes - 2 * linear.bank.components.numel()


def test_stored_tensors_account_for_every_byte(saved):
    heads = 8 * 600  # the files also hold names and shapes
    found = sum(tensor.bytes for group in stored_tensors(saved).values() for tensor in group.values())
    size = sum(file.stat().st_size for file in data_files(saved))
    assert size - heads < found < size
    assert stored_tensors(saved)["gaussians"]["means"].dtype == "F32"
    data_files(saved)[0].unlink()
    with pytest.raises(MemoryFormatError, match="cannot be read"):
        stored_tensors(saved)


def test_weights_of_a_walk_are_kept_only_where_pixels_had_no_feature(coloured_room, tmp_path):
    memory, n = coloured_room.memory, len(coloured_room.names)
    sums, seen = coloured_room.memory.principal_queries[0].queries.float(), torch.rand(n)
    for weights, kept in ((seen, False), (0.5 * seen, True)):
        walk = Walk("first", 5, (Lifted(sums, weights.clone(), seen),))
        save_memory(replace(memory, walks=(walk,)), tmp_path / "walked")
        assert any("weights_0" in group for group in stored_tensors(tmp_path / "walked").values()) == kept
        (lifted,) = load_memory(tmp_path / "walked").walks[0].lifted
        assert torch.equal(lifted.weights, weights)
        assert torch.equal(lifted.seen, seen)


def test_an_encoder_is_known_by_its_version_wherever_its_weights_lie(coloured_room):
    memory = coloured_room.memory
    (entry,) = memory.principal_queries

    def called(name, version):
        bank = replace(entry.attention.bank, encoder_name=name, encoder_version=version)
        return replace(entry, attention=replace(entry.attention, bank=bank))

    small, large = called("dinov2:/models/small", "s"), called("dinov2:/models/large", "l")
    both = replace(memory, principal_queries=(small, large))
    assert both.queries_of("dinov2:/elsewhere/large", "l") is large
    assert both.queries_of("dinov2:/models/small") is small
    with pytest.raises(MemoryFormatError, match="nothing of encoder 'dinov2'"):
        both.queries_of("dinov2")
    assert replace(memory, principal_queries=(large,)).queries_of("dinov2") is large
    with pytest.raises(MemoryFormatError, match="version"):
        both.queries_of("dinov2:/models/small", "x")
    twice = replace(memory, principal_queries=(called("a", "s"), called("b", "s")))
    assert twice.queries_of("b", "s").encoder_name == "b"


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


KILLED_SAVES = """
import os, random, signal, sys, time
from dataclasses import replace
from pathlib import Path
from m3_ros.memory.archive import load_memory, save_memory
path, steps = Path(sys.argv[1]), {"open", "os.chmod", "os.mkdir", "os.rename", "os.remove", "os.listdir", "os.scandir"}
first = load_memory(path)

def save(number):
    save_memory(replace(first, map_frame=str(number), visibility=first.visibility + number), path)

def killed(work, delay=None):
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])

def whole():
    memory = load_memory(path)
    assert float(memory.visibility.max()) == 1.0 + int(memory.map_frame.replace("map", "0")), memory.map_frame

def save_until(step):
    left = step
    def stop(event, arguments):
        nonlocal left
        if event in steps:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
    sys.addaudithook(stop)
    save(1 + step)

step = 0
while killed(lambda: save_until(step)):
    whole()
    step += 1

def save_on():
    number = 1000
    while True:
        number += 1
        save(number)

rng = random.Random(0)
for _ in range(30):
    assert killed(save_on, rng.uniform(0.0, 0.1))
    whole()
save(5000)
print(step, flush=True)
"""


def test_kill_at_any_moment_of_a_save_leaves_a_whole_memory(saved):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED_SAVES, str(saved)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 4 * len(data_files(saved)), "killed before each operation on a file"
    assert load_memory(saved).map_frame == "5000"
    assert {p.name for p in saved.iterdir()} == {p.name for p in data_files(saved)} | {MANIFEST}


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
