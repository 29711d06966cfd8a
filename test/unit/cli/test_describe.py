"""`m3 describe` on a memory made with a tiny multimodal model, and its true pictures."""

import json

import numpy as np
import pytest
from recorded_walk import png
from tiny_speakers import save_mllama
from toy_field import toy_gaussians
from toy_room import toy_frames

from m3_ros.cli.main import main
from m3_ros.features import load_encoder
from m3_ros.memory import SpatialMemory
from m3_ros.recording import read
from m3_ros.training.memory_stage import MemorySettings, build_memory
from m3_ros.training.polish import PolishSettings

FEW_STEPS = PolishSettings(steps=2)


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """Write the toy room's pictures to a folder."""
    folder = tmp_path_factory.mktemp("walk")
    listed = []
    for i, frame in enumerate(toy_frames(6)):
        (folder / f"{i}.png").write_bytes(png(frame.rgb[..., ::-1]))
        listed.append({"t": float(i), "rgb": f"{i}.png", "c2w": frame.T_map_camera.tolist()})
    camera = frame.camera
    lens = {"width": 64, "height": 48, "fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
    (folder / "transforms.json").write_text(json.dumps({**lens, "frames": listed, "up": [0, 0, 1]}))
    return folder


@pytest.fixture(scope="module")
def memory(walk, tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    encoder = load_encoder(f"multimodal:{save_mllama(tmp_path_factory.mktemp('mllama'))}")
    frames = list(read(walk))
    build_memory(frames, toy_gaussians(toy_frames(6)), [encoder], MemorySettings(query_dim=16, polish=FEW_STEPS)).save(
        folder
    )
    return folder


def run(capsys, *arguments):
    code = main(["describe", *map(str, arguments)])
    out = capsys.readouterr()
    return code, out.out.strip(), out.err.strip()


def test_a_keyframe_and_a_pose_are_put_into_words(memory, capsys):
    code, keyframe, _ = run(capsys, memory, "what is this ?", "--keyframe", 2, "--max-tokens", 5)
    assert code == 0
    assert keyframe
    code, said, _ = run(capsys, memory, "what is this ?", "--at", 0, 0, 0, 1.57, "--max-tokens", 5, "--json")
    assert code == 0
    assert json.loads(said)["remembered"] > 0.5


def test_a_memory_is_compared_with_the_true_picture(memory, walk, capsys):
    code, said, _ = run(capsys, memory, "--compare", walk, "--keyframe", 1, "--max-tokens", 5, "--json")
    assert code == 0
    agreement = json.loads(said)
    assert -1 <= agreement["cosine"] <= 1
    assert {"true_text", "rendered_text", "same_words", "divergence", "cells"} < set(agreement)
    assert (agreement["keyframe"], agreement["away_m"]) == (1, 0)
    code, said, _ = run(capsys, memory, "--compare", walk, "--max-tokens", 5)
    assert [line.split(":")[0] for line in said.splitlines()[1:3]] == ["memory", "picture"]


def test_a_pose_is_compared_with_the_picture_taken_nearest_to_it(memory, walk, capsys):
    pose = SpatialMemory.load(memory).keyframes.T_map_camera[4]
    forward = pose[:3, 2]
    at = [*(pose[:3, 3] + 0.1 * forward), float(np.arctan2(forward[1], forward[0]))]
    code, said, _ = run(capsys, memory, "--at", *at, "--compare", walk, "--max-tokens", 5, "--json")
    assert code == 0
    told = json.loads(said)
    assert told["keyframe"] == 4
    assert told["away_m"] == pytest.approx(0.1, abs=1e-4)
    assert told["turned_rad"] < 0.3
    _, direct, _ = run(capsys, memory, "--keyframe", 4, "--compare", walk, "--max-tokens", 5, "--json")
    assert json.loads(direct)["cosine"] == pytest.approx(told["cosine"])


@pytest.mark.parametrize(("arguments", "message"), [
    (["--keyframe", 60], "keyframes 0 to 5"),
    (["--at", 0, 0, 90, 0], "nothing in view"),
    (["--encoder", "embedded"], "no language model"),
])  # fmt: skip
def test_mistakes_are_one_line(memory, capsys, arguments, message):
    code, _, said = run(capsys, memory, *arguments)
    assert code == 1
    assert message in said.splitlines()[-1]


def test_another_recording_is_noticed(memory, walk, capsys, tmp_path):
    content = json.loads((walk / "transforms.json").read_text())
    for listed in content["frames"]:
        listed["t"] += 100
        listed["rgb"] = str(walk / listed["rgb"])
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    code, _, said = run(capsys, memory, "--compare", tmp_path)
    assert code == 1
    assert "is it the recording" in said


def test_a_memory_without_tokens_says_which_encoder_it_needs(coloured_room, capsys, tmp_path):
    coloured_room.memory.save(tmp_path)
    code, _, said = run(capsys, tmp_path)
    assert code == 1
    assert "multimodal:SOURCE" in said
