"""`m3 bench train` and what it prints, on walks too small to learn much from."""

import itertools
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from recorded_walk import make_walk, write_folder

from m3_ros.cli.main import main
from m3_ros.errors import SimulationError, TrainingError
from m3_ros.evaluation import train_benchmark
from m3_ros.evaluation.train_benchmark import TrainBenchmark, TrainRun, benchmark_training, disturbed, simulated_walk
from m3_ros.recording import read
from m3_ros.recording.keyframes import motion_between
from m3_ros.sim import World, WorldSettings
from m3_ros.training.geometry_settings import GeometrySettings

TINY = GeometrySettings(steps=10**6, max_seconds=1.0, max_gaussians=200)


@pytest.fixture
def folder(tmp_path):
    return write_folder(make_walk(count=10), tmp_path / "walk")


@pytest.fixture
def frames(folder):
    return list(read(folder))


def bench(folder, *options):
    return main(["bench", "train", "--scene", str(folder), "--seconds", "0.3", "--max-gaussians", "100", *options])


def test_the_curve_covers_the_whole_budget(frames, monkeypatch):
    reports, ticks = [], itertools.count()  # each look at the clock takes 10 ms, however busy the machine is
    clock = SimpleNamespace(monotonic=lambda: 0.01 * next(ticks))
    for module in ("schedule", "geometry_stage"):
        monkeypatch.setattr(f"m3_ros.training.{module}.time", clock)
    measured = benchmark_training(frames, TINY, progress=lambda poses, report: reports.append((poses, report.stage)))
    (run,) = measured.runs
    assert (measured.keyframes, measured.held_out, measured.width, measured.depth) == (10, 2, 32, True)
    assert run.poses == "given"
    assert "depth" in run.initialisation
    assert len(run.curve) >= train_benchmark.CURVE_POINTS - 1
    assert [p.seconds for p in run.curve] == sorted(p.seconds for p in run.curve)
    assert len({p.step for p in run.curve}) == len(run.curve)
    assert run.seconds == run.curve[-1].seconds >= 1.0
    assert run.psnr_db == run.curve[-1].psnr_db
    assert all(math.isfinite(p.psnr_db) and 0 < p.gaussians <= 200 for p in run.curve)
    assert math.isnan(measured.won_back)
    assert set(reports) <= {("given", "geometry")}


def test_pose_noise_is_three_runs(frames):
    measured = benchmark_training(frames, replace(TINY, steps=20), pose_noise=True)
    assert [run.poses for run in measured.runs] == ["given", "disturbed", "refined"]
    given, noisy, refined = measured.runs
    assert (given.pose_error_m, noisy.pose_error_m) == (0.0, pytest.approx(0.02))
    assert noisy.pose_error_rad == pytest.approx(math.radians(0.5), rel=1e-3)
    assert [run.pose_refinement is None for run in (given, noisy, refined)] == [True, True, False]
    assert all(math.isfinite(run.aligned_psnr_db) for run in measured.runs)


def test_disturbance_is_as_large_as_it_says_and_different_for_each_keyframe(frames):
    noisy = disturbed(frames, 5)
    motions = [motion_between(a.T_map_camera, b.T_map_camera) for a, b in zip(frames, noisy, strict=True)]
    assert np.allclose(motions, (0.02, math.radians(0.5)), rtol=1e-4)
    changes = [np.linalg.inv(a.T_map_camera) @ b.T_map_camera for a, b in zip(frames, noisy, strict=True)]
    assert np.ptp(changes, axis=0).max() > 0.01
    again = disturbed(frames, 5)
    assert all(np.array_equal(a.T_map_camera, b.T_map_camera) for a, b in zip(noisy, again, strict=True))


def test_share_won_back_is_that_of_the_decibels_lost():
    def run(poses, psnr_db, aligned_psnr_db):
        return TrainRun(poses, "depth", (), psnr_db, aligned_psnr_db, 1, 1, 0, 1.0, "seconds", 0.0, 0.0, None, ())

    runs = (run("given", 30.0, 30.0), run("disturbed", 20.0, 26.0), run("refined", 29.0, 29.0))
    measured = TrainBenchmark(9, 2, 32, 24, True, runs)
    assert measured.won_back == pytest.approx(0.9)
    assert measured.aligned_won_back == pytest.approx(0.75)
    nothing_lost = replace(measured, runs=(runs[0], replace(runs[1], psnr_db=31.0), runs[2]))
    assert math.isnan(nothing_lost.won_back)


def test_too_few_frames_to_hold_any_out_are_refused(frames):
    with pytest.raises(TrainingError, match="got 8"):
        benchmark_training(frames[:8], TINY)


def test_json_is_one_document_and_nothing_else(folder, capsys):
    assert bench(folder, "--json", "--rgb-only") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["keyframes"], document["depth"], document["won_back"]) == (10, False, None)
    assert {"seconds", "step", "psnr_db", "gaussians"} <= set(document["runs"][0]["curve"][0])
    assert document["backend"]


def test_the_table_shows_every_point_of_the_curve(folder, capsys):
    assert bench(folder, "--pose-noise") == 0
    lines = capsys.readouterr().out.splitlines()
    for poses in ("given", "disturbed", "refined"):
        assert sum(line.startswith(f"{poses} ") for line in lines) >= 1
        assert sum(line.startswith(f"{poses}:") for line in lines) == 1
    assert any("RGB-D, 2 held out" in line for line in lines)


def test_a_wrong_scene_is_one_line(tmp_path, capsys):
    assert main(["bench", "train", "--scene", str(tmp_path / "nowhere")]) == 1
    captured = capsys.readouterr()
    assert "nowhere" in captured.err
    assert captured.out == ""


def test_a_room_is_walked_by_its_number(monkeypatch):
    coarse = WorldSettings(seed=8, texel_m=0.06, light_samples=1, bounces=1, rays=2)
    world = World.generate(coarse)
    monkeypatch.setattr(World, "generate", lambda settings, cache_dir: world)
    try:
        frames = simulated_walk(8, keyframes=10, width=64, height=48)
    except SimulationError as error:
        pytest.skip(f"this machine cannot render: {error}")
    assert 8 <= len(frames) <= 12
    assert all(frame.depth is not None and frame.rgb.shape == (48, 64, 3) for frame in frames)
    assert all(frame.depth is None for frame in train_benchmark.without_depth(frames))
