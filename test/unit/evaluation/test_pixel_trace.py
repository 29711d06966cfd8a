import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from m3_ros.cli.main import main
from m3_ros.errors import QueryError
from m3_ros.evaluation.pixel_trace import trace_pixel
from m3_ros.features.encoder import unit
from m3_ros.memory import SpatialMemory
from m3_ros.training.memory_stage import MemorySettings, build_memory
from m3_ros.training.polish import PolishSettings

SETTINGS = MemorySettings(query_dim=8, lift_width=160, polish=PolishSettings(steps=40))


@pytest.fixture(scope="module")
def memory(coloured_room, room_frames):
    return build_memory(room_frames, coloured_room.memory.gaussians, [coloured_room.encoder], SETTINGS, held_out=(3,))


@pytest.fixture(scope="module")
def pixels(coloured_room, room_frames):
    """Pixels of the middles of chair, ball and cone in the first keyframe that shows them."""
    found, encoder = {}, coloured_room.encoder
    for name in ("chair", "ball", "cone"):
        for number, frame in enumerate(room_frames):
            inside = np.linalg.inv(frame.T_map_camera) @ [*coloured_room.centres[name], 1.0]
            u, v = frame.camera.project(inside[None, :3])[0]
            if 4 < u < frame.camera.width - 4 and 4 < v < frame.camera.height - 4 and is_of(encoder, name, frame, u, v):
                found[name] = (number, float(u), float(v))
                break
    return found


def is_of(encoder, name, frame, u, v):
    vector, valid = encoder.encode_image(frame.rgb).at(torch.tensor([u]), torch.tensor([v]))
    return bool(valid) and torch.allclose(unit(vector.float()), encoder.encode_text([name]), atol=1e-3)


@pytest.mark.parametrize("name", ["chair", "ball", "cone"])
def test_a_pixel_of_a_thing_is_traced_to_pixels_of_that_thing(memory, coloured_room, room_frames, pixels, name):
    number, u, v = pixels[name]
    frames = memory.keyframes
    (entry,) = memory.principal_queries
    trace = trace_pixel(memory, entry, frames.cameras[number], frames.T_map_camera[number], u, v, most=3)
    heaviest = trace.origins[0]
    assert heaviest.weight == max(origin.weight for origin in trace.origins)
    assert heaviest.keyframe != 3  # held out
    assert is_of(coloured_room.encoder, name, room_frames[heaviest.keyframe], heaviest.u, heaviest.v)


def test_sources_survive_the_archive(memory, tmp_path):
    memory.save(tmp_path / "memory")
    loaded = SpatialMemory.load(tmp_path / "memory")
    kept, before = (m.principal_queries[0].attention.bank.sources for m in (loaded, memory))
    assert kept.tolist() == before.tolist()


def test_a_view_that_was_removed_is_said_to_be_lost(memory, pixels):
    number, u, v = pixels["chair"]
    frames = memory.keyframes
    other = replace(memory, keyframes=replace(frames, stamps_ns=frames.stamps_ns + 1))
    trace = trace_pixel(other, memory.principal_queries[0], frames.cameras[number], frames.T_map_camera[number], u, v)
    assert {origin.keyframe for origin in trace.origins} == {None}


def test_pixels_that_cannot_be_traced_are_refused(memory, coloured_room):
    (entry,) = memory.principal_queries
    camera, pose = memory.keyframes.cameras[0], memory.keyframes.T_map_camera[0]
    with pytest.raises(QueryError, match="160x120 is wanted"):
        trace_pixel(memory, entry, camera, pose, 160, 5)
    away = np.array(pose)
    away[2, 3] += 900.0
    with pytest.raises(QueryError, match="shows nothing"):
        trace_pixel(memory, entry, camera, away, 80, 60)
    with pytest.raises(QueryError, match="train it again"):
        trace_pixel(memory, coloured_room.memory.principal_queries[0], camera, pose, 80, 60)


def test_the_command_draws_the_trace(memory, pixels, tmp_path, capsys):
    memory.save(tmp_path / "memory")
    number, u, v = pixels["ball"]
    options = [f"--keyframe={number}", "--top=2", f"--output={tmp_path / 'trace.png'}", "--json"]
    assert main(["trace", str(tmp_path / "memory"), "--pixel", str(u), str(v), *options]) == 0
    assert len(json.loads(capsys.readouterr().out)["origins"]) == 2
    import cv2

    picture = cv2.imread(str(tmp_path / "trace.png"))
    assert picture.shape[0] > 2 * 120
    assert picture.shape[1] >= 2 * 160
