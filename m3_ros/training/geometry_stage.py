"""From posed pictures to a field of Gaussians: initialise, optimise view by view, densify under a budget, measure."""

import logging
import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.errors import Cancelled, TrainingError
from m3_ros.recording.frame import Frame
from m3_ros.splat.gaussians import Gaussians
from m3_ros.training.densification import densify
from m3_ros.training.exposure import Exposure, exposure_varies
from m3_ros.training.field import Field
from m3_ros.training.geometry_result import CurvePoint, GeometryResult, StoppedBy
from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.initialisation import make_seeds
from m3_ros.training.losses import depth_loss, photometric_loss, psnr_db, regularisation
from m3_ros.training.progress import CancelCheck, Progress, ProgressCallback, ignore_progress, never_cancelled
from m3_ros.training.schedule import Clock, fraction_done
from m3_ros.training.views import View, make_view, split_frames

__all__ = ["GeometryResult", "GeometrySettings", "train_geometry"]

_REPORT_EVERY_S = 0.5
_DENSIFY_BETWEEN = (0.04, 0.6)
"""Part of the schedule in which Gaussians are added."""
_DENSIFICATIONS = 12
_EXPOSURE_DECISION = 0.15
"""Part of the schedule after which exposure is looked at."""
_ERROR_VIEWS = 10
"""Views that one densification looks at."""

_log = logging.getLogger(__name__)


def train_geometry(
    frames: Sequence[Frame],
    settings: GeometrySettings | None = None,
    progress: ProgressCallback = ignore_progress,
    cancelled: CancelCheck = never_cancelled,
) -> GeometryResult:
    """Learn a field of Gaussians from posed pictures.

    With exposure compensation, a held-out view is compared as the training pictures before and after it were exposed.

    Raises:
        TrainingError: there are no frames.
        BackendError: no rendering backend is there.
        Cancelled: `cancelled` said so.
    """
    settings = settings or GeometrySettings()
    if not frames:
        raise TrainingError("the geometry stage needs at least one posed picture; got none: check the recording")
    stage = _Stage(frames, settings, progress, cancelled)
    stage.run()
    return stage.result()


class _Stage:
    """The state of one training."""

    def __init__(
        self, frames: Sequence[Frame], settings: GeometrySettings, progress: ProgressCallback, cancelled: CancelCheck
    ) -> None:
        self._settings, self._progress, self._cancelled = settings, progress, cancelled
        self._begin = self._reported = time.monotonic()
        self._clock = Clock()
        self._curve: list[CurvePoint] = []
        self._T_map_camera = np.stack([frame.T_map_camera for frame in frames])
        self._rng = np.random.default_rng(settings.seed)
        device = _device(settings)
        training, self.held_out = split_frames(len(frames), settings.held_out_every)
        chosen = [frames[i] for i in training]
        self._views = [make_view(frame, settings.depth_edge_px, device) for frame in chosen]
        self._coarse = [view.halved() for view in self._views] if settings.coarse_share > 0 else self._views
        self._held_out_views = [make_view(frames[i], settings.depth_edge_px, device) for i in self.held_out]
        self._stop_if_cancelled()
        has_depth = any(view.depth is not None for view in self._views)
        count = max(1, round(settings.max_gaussians * (settings.initial_share if has_depth else 1.0)))
        seeds = make_seeds(chosen, count, settings.depth_edge_px, settings.seed)
        self.field = Field(seeds, settings, device)
        self._training, self._device, self._decided = training, device, settings.exposure != "auto"
        self.exposure = Exposure(training, device) if settings.exposure == "on" else None
        self._initial = len(self.field)
        self.steps = self.skipped = 0
        self._densified = 0
        _log.info(
            "geometry: %d views, %d held out, %d Gaussians to start with",
            len(training),
            len(self.held_out),
            self._initial,
        )

    def run(self) -> None:
        """Optimise until the steps or the seconds are used up."""
        order: list[int] = []
        while (fraction := self._fraction()) < 1:
            self._stop_if_cancelled()
            if not order:
                order = [int(i) for i in self._rng.permutation(len(self._views))]
            number = order.pop()
            image = self._step(number, fraction)
            self._decide_exposure_when_due(fraction)
            self._densify_when_due(fraction)
            self._report(fraction, image, self._view(number, fraction))
            self._measure_when_due()

    def result(self) -> GeometryResult:
        """Measure the held-out views and put together what the stage made."""
        raw, compensated = self._evaluate()
        if self._settings.curve_every_s > 0:
            self._curve.append(CurvePoint(self._clock.seconds, self.steps, _mean(compensated), len(self.field)))
        if self.skipped:
            _log.warning("%d of %d steps were skipped: a gradient was not finite", self.skipped, self.steps)
        stopped_by: StoppedBy = "steps" if self.steps >= self._settings.steps else "seconds"
        return GeometryResult(
            self.field.finished(), _mean(compensated), tuple(self.held_out), compensated, _mean(raw),
            self.exposure is not None, self.steps, self.skipped, time.monotonic() - self._begin,
            tuple(self._curve), self._T_map_camera, None, math.nan, stopped_by, (),
        )  # fmt: skip

    def _measure_when_due(self) -> None:
        """Add a point to the curve; the clock stands still meanwhile."""
        every = self._settings.curve_every_s
        if every > 0 and self._clock.seconds >= every * (len(self._curve) + 1):
            with self._clock.paused():
                psnr = _mean(self._evaluate()[1])
            self._curve.append(CurvePoint(self._clock.seconds, self.steps, psnr, len(self.field)))

    @torch.no_grad()
    def _evaluate(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the PSNR of each held-out view without and with exposure compensation [dB]."""
        gaussians = self.field.detached()
        raw, compensated = [], []
        for index, view in zip(self.held_out, self._held_out_views, strict=True):
            image, truth = view.draw(gaussians).features[0], view.truth()
            raw.append(psnr_db(image, truth))
            compensated.append(
                raw[-1] if self.exposure is None else psnr_db(self.exposure.between(image, index), truth)
            )
        return tuple(raw), tuple(compensated)

    def _step(self, number: int, fraction: float) -> Float[Tensor, "H W 3"]:
        """Take one step on one view; returns what was drawn."""
        settings, view = self._settings, self._view(number, fraction)
        gaussians = self.field.gaussians()
        drawn = view.draw(gaussians)
        image, truth = self._exposed(drawn.features[0], number), view.truth()
        loss = photometric_loss(image, truth, settings.dssim_weight) + regularisation(gaussians, settings)
        if view.depth is not None and settings.depth_weight > 0:
            measured = depth_loss(drawn.depth[0], drawn.alpha[0], view.depth, settings.depth_softness_m)
            loss = loss + settings.depth_weight * measured
        if self.exposure is not None:
            loss = loss + self.exposure.anchor()
        loss.backward()  # type: ignore[no-untyped-call]
        sound = self.field.step(fraction)
        if self.exposure is not None:
            self.exposure.step(sound, fraction)
        self.steps += 1
        self.skipped += not sound
        return image.detach()

    def _view(self, number: int, fraction: float) -> View:
        """Return a training view at the resolution of this part of the schedule."""
        return (self._coarse if fraction < self._settings.coarse_share else self._views)[number]

    def _exposed(self, image: Float[Tensor, "H W 3"], number: int) -> Float[Tensor, "H W 3"]:
        return image if self.exposure is None else self.exposure.apply(image, number)

    def _densify_when_due(self, fraction: float) -> None:
        """Fill the budget in equal parts over the first part of the schedule."""
        first, last = _DENSIFY_BETWEEN
        due = int((fraction - first) / (last - first) * _DENSIFICATIONS) + 1 if fraction >= first else 0
        if fraction > last or due <= self._densified:
            return
        self._densified = due
        cap = self._settings.max_gaussians
        target = self._initial + (cap - self._initial) * due // _DENSIFICATIONS
        picked = self._rng.choice(len(self._views), min(_ERROR_VIEWS, len(self._views)), replace=False)
        densify(self.field, [(int(i), self._views[i]) for i in picked], self._error_image, min(target, cap))

    def _decide_exposure_when_due(self, fraction: float) -> None:
        """Look once, with a roughly trained field, whether exposure has to be compensated."""
        if self._decided or fraction < _EXPOSURE_DECISION:
            return
        self._decided = True
        picked = self._rng.choice(len(self._views), min(2 * _ERROR_VIEWS, len(self._views)), replace=False)
        if exposure_varies(self.field.detached(), [self._views[i] for i in picked]):
            _log.info("the brightness of the pictures varies: exposure is compensated")
            self.exposure = Exposure(self._training, self._device)

    def _error_image(self, number: int, view: View, gaussians: Gaussians) -> Float[Tensor, "H W"]:
        image = self._exposed(view.draw(gaussians).features[0], number)
        return (image - view.truth()).abs().mean(-1)

    def _fraction(self) -> float:
        return fraction_done(self._settings, self.steps, self._clock.seconds)

    def _report(self, fraction: float, image: Float[Tensor, "H W 3"], view: View) -> None:
        now = time.monotonic()
        if now - self._reported < _REPORT_EVERY_S:
            return
        self._reported = now
        eta = self._clock.seconds * (1 - fraction) / max(fraction, 1e-6)
        self._progress(Progress("geometry", fraction, eta, psnr_db(image, view.truth()), len(self.field), self.steps))

    def _stop_if_cancelled(self) -> None:
        if self._cancelled():
            raise Cancelled("training was cancelled in the geometry stage; nothing was written")


def _device(settings: GeometrySettings) -> torch.device:
    if settings.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device=cuda needs a GPU that torch can use, and there is none: use device=cpu")
    return torch.device(settings.device)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
