"""Other ways to make Gaussians carry features, trained on the same geometry and cells as ours.

F-3DGS gives each Gaussian a latent that is blended and decoded linearly, F-Splat decodes it by an MLP of each model.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from m3_ros.evaluation.fidelity import Decode
from m3_ros.evaluation.teacher_views import TeacherView
from m3_ros.features.encoder import unit
from m3_ros.splat.gaussians import Gaussians

Baseline = Literal["f3dgs", "fsplat"]
Start = Literal["random", "lift"]
"""Where latents start: at random numbers, or lifted from the views by PCA, which is more than the papers do."""

HIDDEN = 128
"""Width of the MLP of F-Splat."""
_HALF = 2
"""Bytes of a number in half precision, in which latents and decoders count."""
_PROBE = 0.2
"""Share of the iterations after which the best of several beginnings is kept."""


@dataclass(frozen=True)
class DistilSettings:
    """How latents are trained."""

    iterations: Annotated[int, ">= 1"] = 300
    """Optimiser steps, one view each: as many as the polish of ours takes."""
    cells: Annotated[int, ">= 1"] = 512
    """Cells of the view that the loss looks at."""
    rates: tuple[float, ...] = (0.005, 0.02)
    """Learning rates of the latents to choose from; decoders learn at a fifth of it."""
    starts: tuple[Start, ...] = ("random", "lift")
    """Beginnings to choose from."""
    seed: int = 0
    """Seed of latents, decoders and of which cells are looked at."""


@dataclass(frozen=True, eq=False)
class Distilled:
    """What was trained."""

    latents: Float[Tensor, "N s"]
    """What each Gaussian carries, rounded to half precision."""
    decode: Decode
    """Turns blended latents into features."""
    size_bytes: int
    """Bytes of latents and decoder; the geometry is the same for every method and not counted."""
    seconds: float
    """Time taken, the choice of the beginning included [s]."""
    loss: float
    """Mean loss over the last tenth of the iterations."""
    chosen: str
    """Beginning and learning rate that were best, in words."""


def train_baseline(
    kind: Baseline,
    dims: int,
    views: Sequence[TeacherView],
    gaussians: Gaussians,
    settings: DistilSettings | None = None,
) -> Distilled:
    """Train F-3DGS or F-Splat on some views; the best of several beginnings and learning rates counts.

    Args:
        kind: the decoder.
        dims: length of the latents.
        views: training views of one encoder.
        gaussians: the geometry; it stays as it is.
        settings: None gives the defaults.
    """
    settings = settings or DistilSettings()
    lifted, basis = _lifted(views, gaussians, dims)

    def begin(start: Start) -> tuple[Tensor, nn.Module]:
        generator = torch.Generator().manual_seed(settings.seed)
        latents = torch.randn(len(gaussians), dims, generator=generator) * 0.1
        torch.manual_seed(settings.seed)
        decoder: nn.Module = nn.Linear(dims, views[0].dim)
        if start == "lift":
            latents = lifted.clone()
        if kind == "fsplat":
            latents = latents / latents.std().clamp(min=1e-6)
            decoder = nn.Sequential(nn.Linear(dims, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, views[0].dim))
        elif start == "lift":
            decoder.load_state_dict({"weight": basis.clone(), "bias": torch.zeros(views[0].dim)})
        return latents, decoder

    size = baseline_bytes(kind, dims, len(gaussians), views[0].dim)
    return _best(begin, views, gaussians, settings, size)


def baseline_bytes(kind: Baseline, dims: int, count: int, dim: int) -> int:
    """Return the bytes of a baseline for `count` Gaussians and features of length `dim`."""
    decoder = dims * dim + dim if kind == "f3dgs" else dims * HIDDEN + HIDDEN + HIDDEN * dim + dim
    return _HALF * (count * dims + decoder)


def dims_within(kind: Baseline, size_bytes: int, count: int, dim: int) -> int:
    """Return the most dimensions with which a baseline takes no more than so many bytes, at least one."""
    fixed = baseline_bytes(kind, 0, count, dim)
    each = baseline_bytes(kind, 1, count, dim) - fixed
    return max(1, (size_bytes - fixed) // each)


class _Run:
    """One training of latents and a decoder, a few steps at a time."""

    def __init__(self, latents: Tensor, decoder: nn.Module, rate: float, settings: DistilSettings, what: str) -> None:
        self.latents, self.decoder, self.settings, self.what = latents.requires_grad_(), decoder, settings, what
        groups = [{"params": [self.latents], "lr": rate}]
        if trained := list(decoder.parameters()):
            groups.append({"params": trained, "lr": rate / 5})
        self.optimiser = torch.optim.Adam(groups, eps=1e-15)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, settings.iterations, rate / 50)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.losses: list[float] = []

    def advance(self, until: int, views: Sequence[TeacherView], gaussians: Gaussians, power: float) -> None:
        """Train until so many steps are done; `power` is the mean square of the features."""
        while len(self.losses) < until:
            view = views[int(torch.randint(len(views), (1,), generator=self.generator))]
            chosen = self._sample(view)
            if len(chosen) == 0:
                self.losses.append(0.0)
                continue
            blended = view.blend(gaussians, self.latents).reshape(-1, self.latents.shape[1])[chosen]
            predicted, truth = self.decoder(blended), view.features.reshape(-1, view.dim)[chosen].float()
            cosine = 1 - (unit(predicted) * unit(truth)).sum(dim=1).mean()
            loss = cosine + (predicted - truth).square().mean() / power
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.schedule.step()
            self.losses.append(float(loss.detach()))

    @property
    def loss(self) -> float:
        """Mean over the last views; enough of them that one more or less does not matter."""
        recent = self.losses[-max(20, len(self.losses) // 10) :]
        return sum(recent) / len(recent)

    def _sample(self, view: TeacherView) -> Tensor:
        valid = view.valid.reshape(-1).nonzero()[:, 0]
        order = torch.randperm(len(valid), generator=self.generator)
        return valid[order[: self.settings.cells]]


def _best(
    begin: Callable[[Start], tuple[Tensor, nn.Module]],
    views: Sequence[TeacherView],
    gaussians: Gaussians,
    settings: DistilSettings,
    size_bytes: int,
) -> Distilled:
    """Try all beginnings for a while, and train the best of them to the end.

    The loss is cosine distance plus squared error as a share of the features' power, so that neither drowns the other
    whatever the length of an encoder's vectors.
    """
    began = time.monotonic()
    power = _power(views)
    runs = list(_runs(begin, settings))
    probe = settings.iterations if len(runs) == 1 else max(1, round(_PROBE * settings.iterations))
    for run in runs:
        run.advance(probe, views, gaussians, power)
    best = min(runs, key=lambda run: run.loss)
    best.advance(settings.iterations, views, gaussians, power)
    latents = best.latents.detach().half().float()
    decoder = best.decoder.requires_grad_(requires_grad=False)
    return Distilled(latents, decoder, size_bytes, time.monotonic() - began, best.loss, best.what)


def _runs(begin: Callable[[Start], tuple[Tensor, nn.Module]], settings: DistilSettings) -> Iterator[_Run]:
    for start, rate in product(settings.starts, settings.rates):
        yield _Run(*begin(start), rate, settings, f"{start}, rate {rate:g}")


def _power(views: Sequence[TeacherView]) -> float:
    squares = sum(float(view.features.float().square().sum()) for view in views)
    count = sum(int(view.valid.sum()) for view in views) * views[0].dim
    return max(squares / max(count, 1), 1e-12)


def _lifted(
    views: Sequence[TeacherView], gaussians: Gaussians, dims: int
) -> tuple[Float[Tensor, "N s"], Float[Tensor, "D s"]]:
    """Return the mean of the features' main directions that each Gaussian was seen with, and the directions."""
    moment = torch.zeros(views[0].dim, views[0].dim)
    for view in views:
        x = view.features[view.valid].float()
        moment += x.T @ x
    vectors = torch.linalg.eigh(moment.double())[1].float()
    basis = torch.zeros(views[0].dim, dims)
    kept = min(dims, views[0].dim)
    basis[:, :kept] = vectors[:, -kept:].flip(dims=[1])
    sums = torch.zeros(len(gaussians), dims + 1)
    for view in views:
        carried = torch.cat([view.features.float() @ basis, view.valid[..., None].float()], dim=-1)
        weights = torch.zeros(len(gaussians), dims + 1, requires_grad=True)
        (gathered,) = torch.autograd.grad(view.blend(gaussians, weights), weights, carried)
        sums += gathered
    return sums[:, :-1] / sums[:, -1:].clamp(min=1e-3), basis
