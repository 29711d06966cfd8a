"""From posed pictures to a field of Gaussians: initialise, optimise view by view, densify under a budget, measure."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.errors import Cancelled, TrainingError
from m3_ros.recording.frame import Frame
from m3_ros.recording.point_cloud import PointCloud
from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.render import Rendering
from m3_ros.training import checkpoint as disk
from m3_ros.training.densification import densify
from m3_ros.training.device import choose_device
from m3_ros.training.exposure import exposure_varies
from m3_ros.training.frame_check import check_frames
from m3_ros.training.geometry_result import CurvePoint, GeometryResult, StoppedBy
from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.initialisation import make_seeds
from m3_ros.training.losses import depth_loss, photometric_loss, psnr_db, regularisation
from m3_ros.training.plane_sweep import SweepSettings
from m3_ros.training.pose_refinement import Stack, refine_poses, report
from m3_ros.training.progress import CancelCheck, Progress, ProgressCallback, ignore_progress, never_cancelled
from m3_ros.training.schedule import Clock, fraction_done, quality_is_due, stopped_by_quality
from m3_ros.training.trainee import Trainee
from m3_ros.training.views import View, make_split, split_frames

__all__ = ["GeometryResult", "GeometrySettings", "train_geometry"]

_REPORT_EVERY_S = 0.5
_DENSIFY_BETWEEN = (0.04, 0.6)
"""Part of the schedule in which Gaussians are added."""
_DENSIFICATIONS = 12
_EXPOSURE_DECISION = 0.15
"""Part of the schedule after which exposure is looked at."""
_ERROR_VIEWS = 10
"""Views that one densification looks at."""
_PROBED_VIEWS = 8
"""Training views that tell whether quality may end the training."""

_log = logging.getLogger(__name__)


def train_geometry(
    frames: Sequence[Frame],
    settings: GeometrySettings | None = None,
    progress: ProgressCallback = ignore_progress,
    cancelled: CancelCheck = never_cancelled,
    points: PointCloud | None = None,
    checkpoint: Path | None = None,
) -> GeometryResult:
    """Learn a field of Gaussians from posed pictures.

    With exposure compensation, a held-out view is compared as the training pictures before and after it were exposed;
    with pose refinement, at its given pose moved as those pictures were.

    Args:
        frames: posed pictures, of one or several cameras.
        settings: budgets and weights.
        progress: told now and then how far it is.
        cancelled: asked at every step.
        points: the recording's point cloud, for frames without depth.
        checkpoint: file that a stopped training goes on from; written now and then, removed when the training is done.

    Raises:
        TrainingError: there are no frames, or the checkpoint is corrupt or of another training.
        BackendError: no rendering backend is there.
        Cancelled: `cancelled` said so.
    """
    stage = _Stage(frames, settings or GeometrySettings(), progress, cancelled, points, checkpoint)
    stopped_by = stage.run()
    result = stage.result(stopped_by)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return result


class _Stage:
    """The course of one training."""

    def __init__(
        self,
        frames: Sequence[Frame],
        settings: GeometrySettings,
        progress: ProgressCallback,
        cancelled: CancelCheck,
        points: PointCloud | None,
        checkpoint: Path | None,
    ) -> None:
        self._begin = self._reported = self._saved = time.monotonic()
        self._settings, self._progress, self._cancelled = settings, progress, cancelled
        self._warnings = check_frames(frames)
        self._given = np.stack([frame.T_map_camera for frame in frames])
        self._owner = disk.fingerprint(frames, settings) if checkpoint is not None else {}
        self._checkpoint: Path | None = None
        if checkpoint is not None and checkpoint.exists():
            self._trainee = self._resumed(frames, checkpoint)
        else:
            self._trainee = self._started(frames, points)
        self._checkpoint = checkpoint

    def _started(self, frames: Sequence[Frame], points: PointCloud | None) -> Trainee:
        """Refine the poses, seed the field, and settle what the settings say outright."""
        settings, check = self._settings, self._stop_if_cancelled
        check()
        training, _ = split_frames(len(frames), settings.held_out_every)
        refined, begin = None, time.monotonic()
        if settings.refine_poses != "off":
            refined = refine_poses(frames, training, settings.refine_poses, settings.depth_edge_px, check)
        posed, refining_s = frames, 0.0
        if refined is not None:
            posed, refining_s = _at(frames, refined), time.monotonic() - begin
        trainee = Trainee(make_split(posed, settings, choose_device(settings.device)), settings)
        trainee.position.refining_s = refining_s
        count = max(1, round(settings.max_gaussians * settings.initial_share))
        chosen, sweep = [posed[i] for i in training], SweepSettings.within(settings.max_seconds)
        trainee.seed(make_seeds(chosen, count, settings.depth_edge_px, settings.seed, points, sweep, check))
        trainee.position.exposure_decided = settings.exposure != "auto"
        if settings.exposure == "on":
            trainee.compensate_exposure()
        trainee.clock = Clock(time.monotonic() - self._begin - refining_s)
        views, held_out = len(training), len(trainee.split.held_out)
        _log.info("geometry: %d views, %d held out, %d Gaussians to start with", views, held_out, len(trainee.field))
        return trainee

    def _resumed(self, frames: Sequence[Frame], path: Path) -> Trainee:
        """Go on from a checkpoint."""
        parts, position = disk.load_checkpoint(path, self._owner)
        try:
            posed = _at(frames, parts["poses"]["T_map_camera"].numpy())
            trainee = Trainee(make_split(posed, self._settings, choose_device(self._settings.device)), self._settings)
            trainee.restore(parts, position)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(f"the checkpoint {path} is corrupt ({error}): delete it to train anew") from error
        _log.info("geometry: going on from step %d of %s", position.steps, path)
        return trainee

    def run(self) -> StoppedBy:
        """Optimise until a budget is used up; returns which."""
        trainee, steps = self._trainee, self._settings.steps
        while (fraction := fraction_done(self._settings, trainee.position.steps, trainee.clock.seconds)) < 1:
            self._stop_if_cancelled()
            why = self._quality_verdict(fraction)
            if why is not None:
                return why
            number = trainee.next_view()
            image = self._step(number, self._view(number, fraction), fraction)
            self._decide_exposure_when_due(fraction)
            self._densify_when_due(fraction)
            self._report(fraction, image, self._view(number, fraction))
            self._measure_when_due()
            self._save_when_due()
        return "steps" if trainee.position.steps >= steps else "seconds"

    def result(self, stopped_by: StoppedBy) -> GeometryResult:
        """Measure the held-out views and put together what the stage made."""
        settings, trainee, position = self._settings, self._trainee, self._trainee.position
        seconds, gaussians, T_map_camera = trainee.clock.seconds, trainee.field.finished(), trainee.split.T_map_camera
        if position.skipped:
            _log.warning("%d of %d steps were skipped: a value was not finite", position.skipped, position.steps)
        quality = trainee.held_out_quality(gaussians)
        curve, poses, alignment = tuple(position.curve), None, math.nan
        if settings.curve_every_s > 0:
            before_the_end = (point for point in curve if point.step < position.steps)
            curve = (*before_the_end, CurvePoint(seconds, position.steps, quality.mean_db, len(gaussians)))
        if settings.align_held_out or position.refining_s > 0:
            alignment = trainee.aligned_quality(gaussians).mean_db
        if position.refining_s > 0:
            before, training = trainee.held_out_quality(gaussians, self._given), list(trainee.split.training)
            poses = report(
                self._given[training], T_map_camera[training], before.mean_db, quality.mean_db, position.refining_s
            )
        return GeometryResult(
            gaussians, quality.mean_db, trainee.split.held_out, quality.compensated, quality.mean_raw_db,
            trainee.exposure is not None, position.steps, position.skipped, time.monotonic() - self._begin,
            curve, T_map_camera, poses, alignment, stopped_by, position.initialisation, self._warnings,
        )  # fmt: skip

    def _view(self, number: int, fraction: float) -> View:
        """Return a training view at the resolution of this part of the schedule."""
        return self._trainee.view(number, halved=fraction < self._settings.coarse_share)

    def _step(self, number: int, view: View, fraction: float) -> Float[Tensor, "H W 3"]:
        """Take one step on one view; returns what was drawn."""
        trainee = self._trainee
        gaussians = trainee.field.gaussians()
        drawn = view.draw(gaussians)
        image = trainee.exposed(drawn.features[0], number)
        loss = self._loss(view, gaussians, drawn, image)
        sound = bool(torch.isfinite(loss))
        if sound:
            loss.backward()  # type: ignore[no-untyped-call]
            sound = trainee.field.step(fraction)
            if trainee.exposure is not None:
                trainee.exposure.step(sound, fraction)
        trainee.position.steps += 1
        trainee.position.skipped += not sound
        return image.detach()

    def _loss(self, view: View, gaussians: Gaussians, drawn: Rendering, image: Tensor) -> Float[Tensor, ""]:
        settings, exposure = self._settings, self._trainee.exposure
        loss = photometric_loss(image, view.truth(), settings.dssim_weight)
        if view.depth is not None and settings.depth_weight > 0:
            measured = depth_loss(drawn.depth[0], drawn.alpha[0], view.depth, settings.depth_softness_m)
            loss = loss + settings.depth_weight * measured
        loss = view.weight * loss + regularisation(gaussians, settings)
        return loss if exposure is None else loss + exposure.anchor()

    def _decide_exposure_when_due(self, fraction: float) -> None:
        """Look once, with a roughly trained field, whether exposure has to be compensated."""
        trainee = self._trainee
        if trainee.position.exposure_decided or fraction < _EXPOSURE_DECISION:
            return
        trainee.position.exposure_decided = True
        views = [trainee.view(i) for i in trainee.pick_views(2 * _ERROR_VIEWS)]
        if exposure_varies(trainee.field.detached(), views):
            _log.info("the brightness of the pictures varies: exposure is compensated")
            trainee.compensate_exposure()

    def _densify_when_due(self, fraction: float) -> None:
        """Fill the budget in equal parts over the first part of the schedule."""
        first, last = _DENSIFY_BETWEEN
        due = int((fraction - first) / (last - first) * _DENSIFICATIONS) + 1 if fraction >= first else 0
        position = self._trainee.position
        if fraction > last or due <= position.densified:
            return
        position.densified = due
        cap = self._settings.max_gaussians
        target = position.initial + (cap - position.initial) * due // _DENSIFICATIONS
        views = [(i, self._trainee.view(i)) for i in self._trainee.pick_views(_ERROR_VIEWS)]
        densify(self._trainee.field, views, self._error_image, min(target, cap))

    def _error_image(self, number: int, view: View, gaussians: Gaussians) -> Float[Tensor, "H W"]:
        image = self._trainee.exposed(view.draw(gaussians).features[0], number)
        return (image - view.truth()).abs().mean(-1)

    def _quality_verdict(self, fraction: float) -> StoppedBy | None:
        """Look at some training views now and then, where quality may end the training."""
        trainee = self._trainee
        if not quality_is_due(self._settings, trainee.position, fraction):
            return None
        spread = np.linspace(0, len(trainee.split.views) - 1, _PROBED_VIEWS).round().astype(int)
        quality = trainee.training_quality(np.unique(spread).tolist())
        trainee.position.quality_db.append(quality.mean_db)
        return stopped_by_quality(self._settings, trainee.position, fraction)

    def _measure_when_due(self) -> None:
        """Add a point to the curve; the clock stands still meanwhile."""
        every, trainee = self._settings.curve_every_s, self._trainee
        curve = trainee.position.curve
        if every > 0 and trainee.clock.seconds >= every * (len(curve) + 1):
            with trainee.clock.paused():
                psnr = trainee.held_out_quality(trainee.field.finished()).mean_db
            curve.append(CurvePoint(trainee.clock.seconds, trainee.position.steps, psnr, len(trainee.field)))

    def _save_when_due(self) -> None:
        now = time.monotonic()
        if self._checkpoint is not None and now - self._saved >= self._settings.checkpoint_every_s:
            self._saved = now
            disk.save_checkpoint(self._checkpoint, self._owner, *self._trainee.state())

    def _report(self, fraction: float, image: Float[Tensor, "H W 3"], view: View) -> None:
        now = time.monotonic()
        if now - self._reported < _REPORT_EVERY_S:
            return
        self._reported = now
        trainee = self._trainee
        eta = trainee.clock.seconds * (1 - fraction) / max(fraction, 1e-6)
        psnr, count, steps = psnr_db(image, view.truth()), len(trainee.field), trainee.position.steps
        self._progress(Progress("geometry", fraction, eta, psnr, count, steps))

    def _stop_if_cancelled(self) -> None:
        if not self._cancelled():
            return
        kept = "nothing was written"
        if self._checkpoint is not None:
            disk.save_checkpoint(self._checkpoint, self._owner, *self._trainee.state())
            kept = f"run it again to go on from the checkpoint {self._checkpoint}"
        raise Cancelled(f"training was cancelled in the geometry stage; {kept}")


def _at(frames: Sequence[Frame], T_map_camera: Stack) -> list[Frame]:
    """Return the same pictures as taken from other poses."""
    return [replace(frame, T_map_camera=T) for frame, T in zip(frames, T_map_camera, strict=True)]
