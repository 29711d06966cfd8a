import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_room import toy_frames

from m3_ros.errors import Cancelled, TrainingError
from m3_ros.training import geometry_stage
from m3_ros.training.field import Field
from m3_ros.training.geometry_stage import GeometrySettings, train_geometry

QUICK = GeometrySettings(steps=80, max_seconds=60, max_gaussians=1500, initial_share=0.5, scales_rate=0.03)


def test_training_learns_the_room_within_the_budget():
    reports = []
    result = train_geometry(toy_frames(), QUICK, reports.append)
    untrained = train_geometry(toy_frames(), replace(QUICK, steps=1))
    assert result.psnr_db > 20
    assert result.psnr_db > untrained.psnr_db + 1
    assert len(untrained.gaussians) < len(result.gaussians) <= 1500
    assert result.held_out == (0, 8)
    assert len(result.view_psnr_db) == 2
    assert (result.steps, result.skipped_steps, result.stopped_by) == (80, 0, "steps")


def test_training_without_depth_gets_better_than_its_beginning():
    frames = toy_frames(depth=False)
    few, many = (train_geometry(frames, replace(QUICK, steps=steps, max_gaussians=600)) for steps in (1, 60))
    assert many.psnr_db > few.psnr_db + 2


def test_the_same_seed_gives_the_same_gaussians():
    a, b = (train_geometry(toy_frames(), replace(QUICK, steps=12, max_seconds=math.inf)) for _ in range(2))
    assert torch.equal(a.gaussians.means, b.gaussians.means)
    assert a.psnr_db == b.psnr_db


def test_the_result_is_finite_and_activated():
    g = train_geometry(toy_frames(8), replace(QUICK, steps=10, sh_degree=2, held_out_every=0)).gaussians
    assert g.shN.shape[1] == 8
    assert all(torch.isfinite(x).all() for x in (g.means, g.quats, g.scales, g.opacities, g.sh0, g.shN))
    assert (g.scales > 0).all()
    assert ((g.opacities > 0) & (g.opacities < 1)).all()
    assert torch.allclose(g.quats.norm(dim=1), torch.ones(len(g)), atol=1e-5)
    assert not any(x.requires_grad for x in (g.means, g.sh0))


def test_cancel_stops_at_the_next_step():
    asked = []

    def cancelled():
        asked.append(None)
        return len(asked) > 5

    with pytest.raises(Cancelled, match="nothing was written"):
        train_geometry(toy_frames(6), QUICK, cancelled=cancelled)
    assert len(asked) == 6


def test_time_budget_ends_the_training():
    result = train_geometry(toy_frames(6), replace(QUICK, steps=10**6, max_seconds=0.5))
    assert 0.5 <= result.seconds < 3
    assert result.steps < 10**6


def test_progress_tells_stage_share_and_quality():
    reports = []
    train_geometry(toy_frames(6), replace(QUICK, steps=10**6, max_seconds=1.2, held_out_every=0), reports.append)
    assert reports
    assert all(r.stage == "geometry" and 0 <= r.fraction <= 1 and r.gaussians > 0 and r.eta_s >= 0 for r in reports)
    assert all(math.isfinite(r.psnr_db) for r in reports)
    assert [r.step for r in reports] == sorted(r.step for r in reports)


def test_the_curve_is_held_out_quality_over_training_time():
    result = train_geometry(toy_frames(), replace(QUICK, curve_every_s=0.02))
    assert len(result.curve) > 2
    assert result.curve[-1].psnr_db == result.psnr_db > result.curve[0].psnr_db
    assert [p.step for p in result.curve] == sorted({p.step for p in result.curve})
    assert result.curve[-1].seconds < result.seconds
    assert train_geometry(toy_frames(), replace(QUICK, steps=2)).curve == ()


def test_training_ends_where_it_is_good_enough():
    result = train_geometry(toy_frames(), replace(QUICK, target_psnr_db=12))
    assert result.stopped_by == "target"
    assert result.steps < 80


def test_training_ends_where_nothing_is_gained():
    result = train_geometry(toy_frames(), replace(QUICK, least_gain_db=50))
    assert result.stopped_by == "no gain"
    assert 48 <= result.steps < 80


@pytest.mark.parametrize("name", ["seconds", "balanced", "best"])
def test_every_preset_trains(name):
    settings = replace(GeometrySettings.preset(name), max_seconds=0.3, max_gaussians=500)
    result = train_geometry(toy_frames(9), settings)
    assert result.stopped_by == "seconds"
    assert len(result.gaussians) <= 500


def test_without_held_out_frames_there_is_no_psnr():
    result = train_geometry(toy_frames(4), replace(QUICK, steps=2, held_out_every=0))
    assert math.isnan(result.psnr_db)
    assert result.held_out == ()


def test_exposure_compensation_undoes_flicker():
    frames = toy_frames()
    gain = [0.6 if 4 <= i <= 12 else 1.0 for i in range(len(frames))]  # frame 8 is held out
    flicker = [replace(f, rgb=(f.rgb * g).astype(np.uint8)) for f, g in zip(frames, gain, strict=True)]
    result = train_geometry(flicker, QUICK)
    assert result.compensated
    assert result.psnr_db > result.raw_psnr_db
    assert not train_geometry(flicker, replace(QUICK, steps=2, exposure="off")).compensated


def test_a_loss_that_is_not_finite_is_skipped_and_counted(monkeypatch):
    original, calls = geometry_stage.photometric_loss, []

    def broken(image, truth, dssim_weight):
        calls.append(None)
        return original(image, truth, dssim_weight) * (float("nan") if len(calls) in (2, 3) else 1)

    monkeypatch.setattr(geometry_stage, "photometric_loss", broken)
    result = train_geometry(toy_frames(6), replace(QUICK, steps=6, exposure="on", held_out_every=3))
    assert (result.steps, result.skipped_steps) == (6, 2)
    assert math.isfinite(result.psnr_db)


def test_a_gradient_that_is_not_finite_is_skipped_and_counted(monkeypatch):
    original, calls = Field.step, []

    def step(self, fraction):
        calls.append(None)
        if len(calls) == 3:
            self.parameters[0].grad[0, 0] = float("nan")
        return original(self, fraction)

    monkeypatch.setattr(Field, "step", step)
    result = train_geometry(toy_frames(6), replace(QUICK, steps=6))
    assert result.skipped_steps == 1
    assert torch.isfinite(result.gaussians.means).all()


@pytest.mark.parametrize("count", [1, 2])
def test_very_few_frames_train(count):
    result = train_geometry(toy_frames(16)[:count], replace(QUICK, steps=3))
    assert len(result.gaussians) > 0


def test_black_frames_without_any_depth_train():
    black = [replace(f, rgb=np.zeros_like(f.rgb), depth=np.zeros_like(f.depth)) for f in toy_frames(4)]
    assert train_geometry(black, replace(QUICK, steps=3)).steps == 3


def test_broken_depth_is_ignored():
    frames = toy_frames(4)
    frames[1].depth[:] = np.nan
    frames[2].depth[:10] = np.inf
    result = train_geometry(frames, replace(QUICK, steps=4))
    assert result.skipped_steps == 0
    assert torch.isfinite(result.gaussians.means).all()


def test_no_frames_are_refused():
    with pytest.raises(TrainingError, match="at least one"):
        train_geometry([], QUICK)


def test_presets_differ_and_unknown_ones_are_named():
    seconds, balanced, best = (GeometrySettings.preset(name) for name in ("seconds", "balanced", "best"))
    assert seconds.max_seconds < balanced.max_seconds < best.max_seconds
    with pytest.raises(TrainingError, match="seconds, balanced, best"):
        GeometrySettings.preset("fast")
    with pytest.raises(TrainingError, match="held_out_every"):
        GeometrySettings(held_out_every=1)
