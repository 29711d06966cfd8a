import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_room import toy_frames

from m3_ros.errors import Cancelled, TrainingError
from m3_ros.training.checkpoint import fingerprint, load_checkpoint
from m3_ros.training.geometry_result import CurvePoint
from m3_ros.training.geometry_stage import GeometrySettings, train_geometry
from m3_ros.training.plane_sweep import SweptView
from m3_ros.training.seeds import Seeds
from m3_ros.training.trainee import Trainee
from m3_ros.training.views import make_split

FRAMES = toy_frames(10)
SETTINGS = GeometrySettings(steps=40, max_seconds=math.inf, max_gaussians=500, exposure="on", refine_poses="on")
FIELDS = ("means", "quats", "scales", "opacities", "sh0", "shN")


def train_until(steps, path, settings=SETTINGS, frames=FRAMES):
    """Train and cancel after some steps."""
    taken = []
    original = Trainee.next_view

    def counted(trainee):
        taken.append(None)
        return original(trainee)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainee, "next_view", counted)
        train_geometry(frames, settings, cancelled=lambda: len(taken) >= steps, checkpoint=path)


BLIND = [replace(frame, depth=None) for frame in FRAMES]


def interrupt(path, steps, settings=SETTINGS, frames=FRAMES):
    with pytest.raises(Cancelled, match=path.name):
        train_until(steps, path, settings, frames)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "geometry.ckpt"
    interrupt(path, 13)
    return path.read_bytes()


def test_going_on_gives_the_same_bits_as_never_stopping(tmp_path):
    whole = train_geometry(FRAMES, SETTINGS)
    path = tmp_path / "geometry.ckpt"
    interrupt(path, 3)
    interrupt(path, 14)
    assert load_checkpoint(path, fingerprint(FRAMES, SETTINGS))[1].steps == 17
    parts = train_geometry(FRAMES, SETTINGS, checkpoint=path)
    assert all(torch.equal(getattr(whole.gaussians, f), getattr(parts.gaussians, f)) for f in FIELDS)
    assert np.array_equal(whole.T_map_camera, parts.T_map_camera)
    assert (whole.psnr_db, whole.steps) == (parts.psnr_db, parts.steps)
    assert whole.compensated
    assert parts.compensated


def test_going_on_keeps_the_depth_that_was_estimated():
    settings = replace(SETTINGS, held_out_every=0)
    depth, point = np.ones((6, 8), np.float32), np.zeros((1, 3), np.float32)
    one = np.ones(1, np.float32)
    trainee, later = (Trainee(make_split(BLIND, settings, torch.device("cpu")), settings) for _ in range(2))
    trainee.seed(Seeds(point, point, point, one, 0.5 * one, "a sweep", (SweptView(3, depth, 0 * depth),)))
    later.restore(*trainee.state())
    for restored in (trainee, later):
        assert [view.depth is not None for view in restored.split.views] == [i == 3 for i in range(len(BLIND))]
        assert bool((restored.split.views[3].depth == 1).all())


def test_a_checkpoint_is_removed_when_the_training_is_done(tmp_path):
    path = tmp_path / "geometry.ckpt"
    written = []

    def progress(_):
        written.append(path.exists())

    settings = replace(SETTINGS, steps=10**6, max_seconds=1.5, checkpoint_every_s=0.05)
    train_geometry(FRAMES, settings, progress, checkpoint=path)
    assert any(written)
    assert list(tmp_path.iterdir()) == []


def test_time_and_curve_go_on_from_the_checkpoint(tmp_path):
    path = tmp_path / "geometry.ckpt"
    settings = replace(SETTINGS, curve_every_s=0.02)
    interrupt(path, 30, settings)
    _, position = load_checkpoint(path, fingerprint(FRAMES, settings))
    assert position.curve
    assert isinstance(position.curve[0], CurvePoint)
    result = train_geometry(FRAMES, settings, checkpoint=path)
    assert result.curve[: len(position.curve)] == tuple(position.curve)
    assert [p.seconds for p in result.curve] == sorted(p.seconds for p in result.curve)
    assert result.curve[-1].psnr_db == result.psnr_db


@pytest.mark.parametrize(
    ("frames", "settings", "fault"),
    [
        (toy_frames(11), SETTINGS, "other frames"),
        ([replace(FRAMES[0], T_map_camera=FRAMES[1].T_map_camera), *FRAMES[1:]], SETTINGS, "other frames"),
        (FRAMES, replace(SETTINGS, seed=1), "other settings"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, interrupted, frames, settings, fault):
    path = tmp_path / "geometry.ckpt"
    path.write_bytes(interrupted)
    with pytest.raises(TrainingError, match=fault):
        train_geometry(frames, settings, checkpoint=path)
    assert path.read_bytes() == interrupted


def test_what_is_only_measured_may_change(tmp_path, interrupted):
    path = tmp_path / "geometry.ckpt"
    path.write_bytes(interrupted)
    changed = replace(SETTINGS, curve_every_s=100, checkpoint_every_s=7, align_held_out=True)
    assert train_geometry(FRAMES, changed, checkpoint=path).steps == 40


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "pickle", "nan", "position", "version", "tensor"])
def test_a_corrupt_checkpoint_is_refused(tmp_path, interrupted, damage):
    path = tmp_path / "geometry.ckpt"
    path.write_bytes(interrupted)
    tensors = load_file(path)
    _, position = load_checkpoint(path, owner := fingerprint(FRAMES, SETTINGS))
    assert position.steps == 13
    metadata = {"version": "1", "position": "{}", **owner}
    if damage == "cut":
        path.write_bytes(interrupted[:-100])
    elif damage in ("text", "empty", "pickle"):
        path.write_bytes({"text": b"no tensors here", "empty": b"", "pickle": pickle.dumps(FRAMES)}[damage])
    elif damage == "nan":
        tensors["field/means"][3] = float("nan")
        save_file(tensors, path, metadata)
    elif damage == "position":
        save_file(tensors, path, metadata)
    elif damage == "version":
        save_file(tensors, path, metadata | {"version": "99"})
    else:
        good = path.read_bytes()
        path.write_bytes(good.replace(b'"field/quats"', b'"field/quack"'))
    with pytest.raises(TrainingError, match=r"geometry\.ckpt"):
        train_geometry(FRAMES, SETTINGS, checkpoint=path)


def test_a_checkpoint_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be written"):
        train_until(2, tmp_path / "file" / "geometry.ckpt")
