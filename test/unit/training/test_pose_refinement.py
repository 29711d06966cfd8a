from dataclasses import replace

import numpy as np
import pytest
import torch
import toy_room
from hypothesis import given
from hypothesis import strategies as st

from m3_ros.errors import Cancelled
from m3_ros.geometry.pose import is_rigid, look_at
from m3_ros.recording.keyframes import motion_between
from m3_ros.training.alignment import aligned, alignment_step
from m3_ros.training.bundle_adjustment import adjust
from m3_ros.training.geometry_stage import GeometrySettings, train_geometry
from m3_ros.training.losses import psnr_db
from m3_ros.training.pose_carrying import carry
from m3_ros.training.pose_refinement import refine_poses, without_common_motion
from m3_ros.training.tracks import Tracks, find_features, find_tracks
from m3_ros.training.twists import exp, log
from m3_ros.training.views import make_view

CPU = torch.device("cpu")
SMOOTH = toy_room.toy_frames(18)
SPECKLE_M = 0.06


def speckled(points):
    """Random colours in cubes, so that every corner is a feature."""
    cells = np.floor(points / SPECKLE_M).astype(np.int64)
    hashed = (cells * [73856093, 19349663, 83492791]).sum(-1).astype(np.uint64)
    mixed = (hashed[..., None] * np.array([2654435761, 2246822519, 3266489917], np.uint64)) >> np.uint64(13)
    return 0.1 + 0.8 * (mixed % np.uint64(256)).astype(float) / 255


@pytest.fixture(scope="module")
def frames():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy_room, "texture", speckled)
        return [toy_room.toy_frame(i, 24, 256, 192) for i in range(24)]


@pytest.fixture(scope="module")
def trained():
    settings = GeometrySettings(steps=240, max_seconds=60, max_gaussians=1500, held_out_every=6, scales_rate=0.03)
    return train_geometry(SMOOTH, settings)


def disturbed(frames, metres=0.02, radians=0.009, seed=0):
    rng = np.random.default_rng(seed)
    changed = []
    for frame in frames:
        shift, axis = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
        change = exp(np.concatenate([metres * shift, radians * axis]))
        changed.append(replace(frame, T_map_camera=frame.T_map_camera @ change))
    return changed


def stack(frames):
    return np.stack([frame.T_map_camera for frame in frames])


def mean_error(truth, poses):
    """Mean distance [m] and angle [rad]; what all poses have in common does not count."""
    pairs = zip(truth, without_common_motion(truth, poses), strict=True)
    return np.mean([motion_between(a, b) for a, b in pairs], axis=0)


def walk(count=20):
    angles = np.linspace(0, 2, count)
    return np.stack([look_at((a, np.sin(a), 0.5), (a + np.cos(a), 2.0, 0.4)) for a in angles])


@given(st.lists(st.floats(-1.5, 1.5), min_size=6, max_size=6))
def test_log_undoes_exp(numbers):
    twist = np.array(numbers)
    assert is_rigid(exp(twist), 1e-9)
    assert np.allclose(log(exp(twist)), twist, atol=1e-6)


def observed(truth, rng, points=300, wrong=0.1):
    """What cameras in a row see of random points, with noise and some wrong matches."""
    K = np.array([[200, 0, 160], [0, 200, 120], [0, 0, 1.0]])
    cloud = rng.uniform((-1, 2, -1), (4, 5, 2), (points, 3))
    camera, point, pixel = [], [], []
    for i, T in enumerate(truth):
        local = (cloud - T[:3, 3]) @ T[:3, :3]
        seen = local @ K.T
        uv = seen[:, :2] / seen[:, 2:]
        inside = np.flatnonzero((seen[:, 2] > 0.2) & (uv > 0).all(1) & (uv < (320, 240)).all(1))
        camera += [i] * len(inside)
        point += inside.tolist()
        pixel += (uv[inside] + rng.normal(0, 0.3, (len(inside), 2))).tolist()
    pixel = np.array(pixel)
    bad = rng.random(len(pixel)) < wrong
    pixel[bad] += rng.uniform(-15, 15, (int(bad.sum()), 2))
    tracks = Tracks(np.array(camera), np.array(point), pixel, np.zeros(len(pixel)))
    return np.repeat(K[None], len(truth), 0), tracks.only(np.ones(len(pixel), bool))


def test_bundle_adjustment_finds_disturbed_poses_despite_wrong_matches():
    rng = np.random.default_rng(0)
    truth = walk()
    Ks, tracks = observed(truth, rng)
    moved = np.stack([T @ exp(rng.normal(0, [0.012] * 3 + [0.005] * 3)) for T in truth])
    before, after = mean_error(truth, moved), mean_error(truth, adjust(moved, Ks, tracks))
    assert (after < 0.25 * before).all()


def test_bundle_adjustment_hardly_moves_exact_poses():
    truth = walk()
    Ks, tracks = observed(truth, np.random.default_rng(1))
    metres, radians = mean_error(truth, adjust(truth, Ks, tracks))
    assert metres < 0.002
    assert radians < 0.0007


def test_a_camera_without_matches_keeps_its_pose():
    truth = walk()
    Ks, tracks = observed(truth, np.random.default_rng(2), wrong=0)
    found = adjust(truth, Ks, tracks.only(tracks.camera != 7))
    assert np.allclose(found[7], truth[7], atol=1e-9)
    assert np.array_equal(adjust(truth, Ks, tracks.only(tracks.camera < 0)), truth)


def test_measured_depth_holds_the_scale():
    rng = np.random.default_rng(3)
    truth = walk()
    Ks, tracks = observed(truth, rng, wrong=0)
    moved = np.stack([T @ exp(rng.normal(0, [0.012] * 3 + [0.005] * 3)) for T in truth])
    cloud = np.random.default_rng(3).uniform((-1, 2, -1), (4, 5, 2), (300, 3))
    assert len(np.unique(tracks.point)) == tracks.points <= len(cloud)
    without = mean_error(truth, adjust(moved, Ks, tracks))
    T = truth[tracks.camera]
    rays = np.einsum("mij,mj->mi", np.linalg.inv(Ks)[tracks.camera], np.c_[tracks.pixel, np.ones(len(tracks.pixel))])
    directions = np.einsum("mij,mj->mi", T[:, :3, :3], rays)
    nearest = np.array(
        [
            np.argmin(np.linalg.norm(np.cross(cloud - t[:3, 3], d / np.linalg.norm(d)), axis=1))
            for t, d in zip(T, directions, strict=True)
        ]
    )
    depth = np.einsum("mi,mi->m", cloud[nearest] - T[:, :3, 3], T[:, :3, 2])
    measured = adjust(moved, Ks, replace(tracks, depth=depth))
    assert mean_error(truth, measured)[0] < without[0]


def test_matches_of_exact_poses_are_mostly_right(frames):
    tracks = find_tracks(frames, [find_features(frame, 1) for frame in frames])
    assert np.median(np.bincount(tracks.camera, minlength=len(frames))) > 30
    places = np.zeros((len(tracks.point), 3))
    for m, (i, pixel) in enumerate(zip(tracks.camera, tracks.pixel, strict=True)):
        frame, (u, v) = frames[i], pixel
        depth = frame.depth[int(v), int(u)]
        K, T = frame.camera, frame.T_map_camera
        places[m] = T[:3, :3] @ np.array([(u - K.cx) / K.fx, (v - K.cy) / K.fy, 1]) * depth + T[:3, 3]
    spread = [np.ptp(places[tracks.point == p], axis=0).max() for p in range(tracks.points)]
    assert np.mean(np.array(spread) < 0.08) > 0.7


@pytest.mark.parametrize("depth", [True, False])
def test_refinement_finds_disturbed_poses(frames, depth):
    moved = [frame if depth else replace(frame, depth=None) for frame in disturbed(frames)]
    training = [i for i in range(len(frames)) if i % 8]
    found = refine_poses(moved, training, "on", 1)
    before, after = mean_error(stack(frames), stack(moved)), mean_error(stack(frames)[training], found[training])
    assert (after < 0.5 * before).all()
    assert all(is_rigid(T) for T in found)


def test_auto_refines_disturbed_poses_and_leaves_exact_ones(frames):
    assert refine_poses(frames, range(24), "auto", 1) is None
    assert refine_poses(disturbed(frames), range(24), "auto", 1) is not None


def test_pictures_without_features_keep_their_poses():
    black = [replace(frame, rgb=np.zeros_like(frame.rgb)) for frame in SMOOTH]
    assert np.allclose(refine_poses(black, range(18), "on", 1), stack(black))
    assert refine_poses(black, range(18), "auto", 1) is None
    assert refine_poses(black[:2], range(2), "on", 1) is None


def test_held_out_pictures_play_no_part(frames):
    moved = disturbed(frames)
    training = [i for i in range(24) if i % 8]
    found = refine_poses(moved, training, "on", 1)
    blind = [frame if i % 8 else replace(frame, rgb=np.zeros_like(frame.rgb)) for i, frame in enumerate(moved)]
    assert np.array_equal(refine_poses(blind, training, "on", 1), found)


def test_refinement_can_be_stopped(frames):
    def stop():
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        refine_poses(frames, range(24), "on", 1, stop)


def test_what_all_cameras_have_in_common_is_no_correction():
    poses = walk()
    moved = exp(np.array([0.3, -0.2, 0.1, 0.02, 0.05, -0.1])) @ poses
    assert np.allclose(without_common_motion(poses, moved), poses, atol=1e-9)


def test_drift_is_carried_over_to_held_out_poses():
    truth, numbers = walk(), np.arange(20)
    drift = [exp(np.array([0.01 * i, 0.002 * i, 0, 0, 0, 0.004 * i])) for i in numbers]
    drifted = np.stack([d @ t for d, t in zip(drift, truth, strict=True)])
    kept = numbers % 8 == 0
    found = carry(drifted[~kept], truth[~kept], numbers[~kept].tolist(), drifted[kept], numbers[kept].tolist())
    errors = [motion_between(a, b) for a, b in zip(found[1:], truth[kept][1:], strict=True)]
    assert np.max(errors) < 0.01


def test_noise_of_each_frame_is_not_carried_over():
    truth = walk()
    rng = np.random.default_rng(0)
    noisy = np.stack([t @ exp(0.02 * rng.standard_normal(6)) for t in truth])
    others = truth[::5]
    found = carry(noisy, truth, range(20), others, [i + 0.5 for i in range(0, 20, 5)])
    assert max(motion_between(a, b)[0] for a, b in zip(found, others, strict=True)) < 0.02


def test_two_poses_tell_nothing_about_a_third():
    truth = walk(3)
    shifted = truth.copy()
    shifted[:, 0, 3] += 0.1
    assert np.array_equal(carry(truth[:2], shifted[:2], [0, 2], truth[2:], [1]), truth[2:])


def test_a_disturbed_camera_finds_where_a_field_looks_like_its_picture(trained):
    gains = []
    for frame in disturbed(SMOOTH)[1::4]:
        view = make_view(frame, 1, CPU)
        found = aligned(trained.gaussians, view, frame.T_map_camera, lambda image: image)
        before, after = (psnr_db(v.draw(trained.gaussians).features[0], v.truth()) for v in (view, found))
        gains.append(after - before)
    assert min(gains) >= 0
    assert np.mean(gains) > 1


def test_a_plain_picture_moves_no_camera(trained):
    grey = replace(SMOOTH[0], rgb=np.full_like(SMOOTH[0].rgb, 127))
    view = make_view(grey, 1, CPU)
    drawn = view.draw(trained.gaussians)
    step = alignment_step(drawn, torch.full_like(drawn.features[0], 0.5), view)
    assert step is None or np.abs(step).max() < 1e-9


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_picture_that_is_not_finite_moves_no_camera(trained, value):
    view = make_view(SMOOTH[0], 1, CPU)
    drawn = view.draw(trained.gaussians)
    assert alignment_step(drawn, torch.full_like(drawn.features[0], value), view) is None


def test_training_reports_what_refinement_did(frames):
    moved = disturbed(frames)
    settings = GeometrySettings(steps=30, max_gaussians=2000, refine_poses="on", max_seconds=60, curve_every_s=30)
    result = train_geometry(moved, settings)
    report = result.pose_refinement
    assert 0.005 < report.mean_m <= report.max_m < 0.05
    assert 0.002 < report.mean_rad <= report.max_rad < 0.05
    assert report.psnr_after_db == result.psnr_db
    assert np.isfinite([report.psnr_before_db, result.aligned_psnr_db]).all()
    assert 0 < report.seconds < result.seconds - result.curve[-1].seconds  # refining is not on the clock
    training = [i for i in range(24) if i not in result.held_out]
    assert (mean_error(stack(frames)[training], result.T_map_camera[training]) < (0.01, 0.005)).all()
    off = train_geometry(moved, replace(settings, refine_poses="off", steps=2, align_held_out=True))
    assert off.pose_refinement is None
    assert np.array_equal(off.T_map_camera, stack(moved))
    assert np.isfinite(off.aligned_psnr_db)
