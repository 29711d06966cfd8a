"""What a robot delivers on a bad day: each is an error or a warning that says what to do, never a crash."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_room import toy_frame, toy_frames

from m3_ros.errors import RecordingError, TrainingError
from m3_ros.geometry.camera import Camera
from m3_ros.recording.posed_sequence import read_posed_sequence
from m3_ros.training.geometry_stage import GeometrySettings, train_geometry

SETTINGS = GeometrySettings(steps=12, max_seconds=60, max_gaussians=400, refine_poses="on")


def train(frames, **changes):
    result = train_geometry(frames, replace(SETTINGS, **changes))
    g = result.gaussians
    assert all(torch.isfinite(x).all() for x in (g.means, g.quats, g.scales, g.opacities, g.sh0, g.shN))
    assert np.isfinite(result.T_map_camera).all()
    assert result.steps == 12
    return result


def test_zero_frames_are_refused():
    with pytest.raises(TrainingError, match="at least one posed picture"):
        train_geometry([], SETTINGS)


def test_good_frames_give_no_warning(caplog):
    assert train(toy_frames(6)).warnings == ()
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


@pytest.mark.parametrize("depth", [True, False])
def test_one_frame_trains_with_a_warning(depth):
    (warning,) = train(toy_frames(16, depth)[:1]).warnings
    assert "one picture only" in warning


@pytest.mark.parametrize("depth", [True, False])
def test_black_pictures_train_with_a_warning(depth, caplog):
    black = [replace(frame, rgb=np.zeros_like(frame.rgb)) for frame in toy_frames(6, depth)]
    (warning,) = train(black).warnings
    assert "black pictures: 6 of 6" in warning
    assert warning in caplog.text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, 0.0])
def test_broken_depth_is_left_out(value):
    frames = toy_frames(6)
    frames[0].depth[:] = value
    frames[2].depth[10:20] = value
    warnings = train(frames).warnings
    assert len(warnings) == (not np.isfinite(value))
    assert all("broken depth: 2" in w for w in warnings)


def test_a_focal_length_of_zero_is_refused_where_a_camera_is_made():
    with pytest.raises(ValueError, match="positive focal lengths"):
        Camera(64, 48, 0.0, 50.0, 32, 24)


@pytest.mark.parametrize("key", ["fx", "fy"])
def test_a_recording_with_singular_intrinsics_is_refused(tmp_path, key):
    lens = {"width": 4, "height": 3, "fx": 4.0, "fy": 4.0, "cx": 2.0, "cy": 1.5, key: 0.0}
    frame = {"t": 0.0, "rgb": "rgb/0.png", "c2w": np.eye(4).tolist()}
    (tmp_path / "transforms.json").write_text(json.dumps({**lens, "axes": "opencv", "frames": [frame]}))
    with pytest.raises(RecordingError, match="focal"):
        list(read_posed_sequence(tmp_path))


def test_extreme_but_valid_intrinsics_train():
    narrow = [replace(f, camera=replace(f.camera, fx=1e5, fy=1e5)) for f in toy_frames(4)]
    wide = [replace(f, camera=replace(f.camera, fx=0.5, fy=0.5)) for f in toy_frames(4)]
    train(narrow)
    train(wide)


def test_frames_of_several_cameras_and_sizes_train():
    frames = [toy_frame(i, 12, *size) for i, size in enumerate([(64, 48), (33, 25), (48, 64)] * 4)]
    frames[4] = replace(frames[4], depth=None)
    assert train(frames, steps=12).psnr_db > 10


def test_pictures_too_small_to_compare_train():
    train([toy_frame(i, 6, 3, 2) for i in range(6)])
    train([toy_frame(i, 7, 1, 1) for i in range(1, 7)], coarse_share=0.0)


@pytest.mark.parametrize("depth", [True, False])
def test_poses_all_alike_give_a_warning_that_says_what_to_do(depth):
    frames = toy_frames(6, depth)
    stuck = [replace(frame, T_map_camera=frames[0].T_map_camera) for frame in frames]
    (warning,) = train(stuck).warnings
    assert "taken from one place" in warning
    assert "check that odometry runs" in warning
    assert ("distances are guessed" in warning) != depth


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_pose_that_is_not_finite_is_refused(value):
    frame = toy_frame(0, 4)
    pose = frame.T_map_camera.copy()
    pose[0, 3] = value
    with pytest.raises(RecordingError, match="no valid pose"):
        replace(frame, T_map_camera=pose)


def test_a_camera_far_from_the_origin_trains():
    shift = np.array([4e5, 5e6, 100.0])  # a map in UTM coordinates
    far = []
    for frame in toy_frames(6):
        pose = frame.T_map_camera.copy()
        pose[:3, 3] += shift
        far.append(replace(frame, T_map_camera=pose))
    train(far)
