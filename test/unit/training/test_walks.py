from dataclasses import replace

import numpy as np
import pytest
import torch

from m3_ros.cli.main import main
from m3_ros.errors import MemoryFormatError, TrainingError
from m3_ros.memory import SpatialMemory, remove_walk
from m3_ros.memory.archive import stored_precision, stored_tensors
from m3_ros.training.memory_stage import MemorySettings, build_memory
from m3_ros.training.polish import PolishSettings
from m3_ros.training.walks import add_walk

SETTINGS = MemorySettings(query_dim=8, lift_width=80, polish=PolishSettings(steps=4))


@pytest.fixture(scope="module")
def memory(coloured_room, room_frames):
    return build_memory(room_frames[:6], coloured_room.memory.gaussians, [coloured_room.encoder], SETTINGS)


@pytest.fixture(scope="module")
def grown(coloured_room, room_frames, memory):
    return add_walk(memory, room_frames[6:], [coloured_room.encoder], "second")


def same(a, b):
    (x,), (y,) = a.principal_queries, b.principal_queries
    for name in ("queries", "norms", "consistency"):
        torch.testing.assert_close(getattr(x, name), getattr(y, name), atol=1e-5, rtol=0)
    torch.testing.assert_close(a.visibility, b.visibility, atol=1e-5, rtol=0)
    assert np.array_equal(a.keyframes.stamps_ns, b.keyframes.stamps_ns)
    assert np.array_equal(a.keyframes.T_map_camera, b.keyframes.T_map_camera)
    assert a.keyframes.cameras == b.keyframes.cameras
    return True


def test_a_walk_adds_what_it_saw(memory, grown):
    assert int(grown.seen.sum()) > int(memory.seen.sum())
    assert len(grown.keyframes) == 12
    assert not torch.equal(grown.principal_queries[0].queries, memory.principal_queries[0].queries)


def test_a_walk_added_and_removed_leaves_no_trace(memory, grown):
    assert same(remove_walk(grown, "second"), memory)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_queries_that_follow_from_sums_take_no_bytes_and_come_back_bit_by_bit(memory, grown, tmp_path, precision):
    grown.save(tmp_path, precision)
    assert "queries" not in stored_tensors(tmp_path)["encoder_0"]
    assert stored_precision(tmp_path) == "float16"
    loaded = SpatialMemory.load(tmp_path)
    assert torch.equal(loaded.principal_queries[0].queries, grown.principal_queries[0].queries)
    assert same(remove_walk(loaded, "second"), memory)
    assert main(["info", str(tmp_path)]) == 0


def test_queries_that_sums_do_not_give_are_stored(memory, tmp_path):
    (entry,) = memory.principal_queries
    changed = replace(memory, principal_queries=(replace(entry, queries=entry.queries * 2),))
    changed.save(tmp_path)
    assert torch.equal(SpatialMemory.load(tmp_path).principal_queries[0].queries, entry.queries * 2)


def test_the_first_walk_can_be_removed_too(coloured_room, room_frames, memory, grown):
    left = remove_walk(grown, "first")
    assert left.keyframes.stamps_ns.tolist() == [f.stamp_ns for f in room_frames[6:]]
    assert same(remove_walk(add_walk(left, room_frames[:6], [coloured_room.encoder], "again"), "again"), left)


def test_the_linear_head_follows_the_walks(coloured_room, room_frames):
    settings = replace(SETTINGS, code_length=3)
    encoder, gaussians = coloured_room.encoder, coloured_room.memory.gaussians
    memory = build_memory(room_frames[:6], gaussians, [encoder], settings)
    grown = add_walk(memory, room_frames[6:], [encoder], "second")
    before, more, after = (m.principal_queries[0].linear for m in (memory, grown, remove_walk(grown, "second")))
    assert before.index.shape == (len(gaussians), 3)
    assert not torch.allclose(more.features(), before.features(), atol=1e-3)
    torch.testing.assert_close(after.features(), before.features(), atol=1e-4, rtol=0)


def test_walks_survive_the_disk(memory, grown, tmp_path):
    grown.save(tmp_path / "memory")
    loaded = SpatialMemory.load(tmp_path / "memory")
    assert same(loaded, grown)
    assert same(remove_walk(loaded, "second"), memory)


def test_walks_that_cannot_be_added_or_removed_are_refused(coloured_room, room_frames, memory):
    frames, encoder = room_frames[6:], coloured_room.encoder
    with pytest.raises(MemoryFormatError, match="already"):
        add_walk(memory, frames, [encoder], "first")
    with pytest.raises(MemoryFormatError, match="cannot be removed"):
        remove_walk(memory, "first")
    with pytest.raises(MemoryFormatError, match="version"):
        add_walk(memory, frames, [replace(encoder, version="2")], "other")
    with pytest.raises(TrainingError, match="missing"):
        add_walk(memory, frames, [], "other")
    with pytest.raises(TrainingError, match="none"):
        add_walk(memory, [], [encoder], "other")
    with pytest.raises(MemoryFormatError, match="keeps no sums"):
        remove_walk(coloured_room.memory, "first")


def test_sums_can_be_left_out(coloured_room, room_frames):
    settings = replace(SETTINGS, keep_sums=False)
    memory = build_memory(room_frames[:3], coloured_room.memory.gaussians, [coloured_room.encoder], settings)
    assert memory.walks == ()
    with pytest.raises(MemoryFormatError, match="keep_sums"):
        add_walk(memory, room_frames[6:], [coloured_room.encoder], "second")
