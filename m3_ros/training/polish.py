"""The polish: lifted queries, W, tau and what the components stand for, fitted to the teachers at sampled pixels.

Only queries are blended, at the lifting size; features of length D are formed at the sampled pixels alone. The geometry
gets no gradient, so encoders do not disturb each other and are polished side by side.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.errors import Cancelled
from m3_ros.features.encoder import unit
from m3_ros.memory.attention import MemoryAttention, fit_tau
from m3_ros.training.feature_stream import FeatureStream
from m3_ros.training.feature_views import Drawn, FeatureViews, sample
from m3_ros.training.progress import CancelCheck, Progress, ProgressCallback, ignore_progress, never_cancelled
from m3_ros.training.read_loss import read_loss

log = logging.getLogger(__name__)

_LOOKS = 8
"""Views that temperatures are fitted to."""
_NUMBERS = 1 << 20
"""Most numbers that the features at the sampled places of a view have: of very long ones fewer places are looked at."""


@dataclass(frozen=True)
class PolishSettings:
    """How lifted queries are refined."""

    steps: Annotated[int, ">= 0"] = 300
    """Optimiser steps, one view each; 0: the lift stays as it is."""
    pixels: Annotated[int, ">= 1"] = 512
    """Places of a view that a step looks at; fewer where features are longer than 2048."""
    query_rate: Annotated[float, "> 0"] = 0.02
    """Learning rate of the queries, as a share of their size."""
    projection_rate: Annotated[float, ">= 0"] = 3e-3
    """Learning rate of W and of the logarithm of tau (three times as fast); 0: they stay."""
    component_rate: Annotated[float, ">= 0"] = 2e-3
    """Learning rate of what the components stand for, as a share of the features' size; 0: they stay."""
    doubt: Annotated[float, ">= 0"] = 20.0
    """A lifted Gaussian whose alpha-weights sum to this over all views [px] moves half as far as a step wants, one that
    is seen better moves farther: what few pixels say is noise in part."""
    directions: Annotated[int, ">= 0"] = 256
    """Leading directions of longer features that steps look along; 0: features are compared in full. What components
    stand for along all other directions is fitted before the steps, and stays."""
    ridge: Annotated[float, "> 0"] = 1.0
    """How much data a component outweighs when what it stands for is fitted [pixels]."""
    seed: int = 0
    """Seed of the order of views and pixels."""


class Learner:
    """The memory of one encoder while it is learned."""

    def __init__(
        self,
        queries: Float[Tensor, "N s"],
        attention: MemoryAttention,
        mean_square: float,
        learned: bool,
        trust: Float[Tensor, " N"] | None = None,
        directions: Float[Tensor, "p D"] | None = None,
    ) -> None:
        """Start from given queries.

        Args:
            queries: lifted or random; their length does not matter.
            attention: bank, W and tau to start from.
            mean_square: mean squared length of the teacher's features: what the L2 loss is measured in.
            learned: also fit W, tau and what the components stand for; else queries only, as the paper does.
            trust: share of each step that a query follows, 0 to 1; None: all of it. What reads the queries out is
                fitted to them as they are kept.
            directions: orthonormal rows; features are compared along them only. None: in full.
        """
        self.bank, self.learned, self.mean_square = attention.bank, learned, max(mean_square, 1e-12)
        self.size = float(queries.square().sum(dim=1).mean().sqrt().clamp(min=1e-6))
        self._start, self._trust = queries / self.size, torch.ones(1, 1) if trust is None else trust[:, None]
        self._moved = torch.zeros_like(queries).requires_grad_()
        self.W = attention.W.clone().requires_grad_(learned)
        self.log_tau = torch.tensor(math.log(attention.tau), requires_grad=learned)
        self._directions = directions
        self._fitted = attention.bank.components
        self.values = self._along(self._fitted).clone().requires_grad_(learned)
        self._keys = unit(attention.bank.components)

    @property
    def queries(self) -> Float[Tensor, "N s"]:
        """The queries as they are now, about one long, with gradients."""
        return self._start + self._moved * self._trust

    def parameters(self, settings: PolishSettings) -> list[dict[str, object]]:
        """Return the parameter groups of an optimiser."""
        groups: list[dict[str, object]] = [{"params": [self._moved], "lr": settings.query_rate}]
        if self.learned:
            rms = math.sqrt(self.mean_square)
            longer = math.sqrt(self.W.shape[1] / self.values.shape[1])  # so that fewer coordinates move as far
            groups += [
                {"params": [self.W], "lr": settings.projection_rate * _rms(self.W) * math.sqrt(self.W.shape[1])},
                {"params": [self.log_tau], "lr": 3 * settings.projection_rate},
                {"params": [self.values], "lr": settings.component_rate * rms * longer},
            ]
        return groups

    def weights(self, queries: Float[Tensor, "n s"]) -> Float[Tensor, "n t"]:
        """Return the attention of blended queries, with gradients (MemoryAttention.weights without)."""
        square = ((queries @ (self.W @ self.W.T)) * queries).sum(dim=1, keepdim=True)  # |q W|^2
        length = square.clamp(min=1e-12).sqrt()
        return torch.softmax((queries / length) @ (self.W @ self._keys.T) * torch.exp(-self.log_tau), dim=1)

    def seen(self, stream: FeatureStream) -> FeatureStream:
        """Return what steps look at."""
        return stream if self._directions is None else stream.along(self._directions)

    def loss(self, queries: Float[Tensor, "n s"], features: Float[Tensor, "n p"]) -> Float[Tensor, ""]:
        """Return the cosine distance plus the squared distance as a share of the features' own (the paper's 1.5)."""
        return read_loss(self.weights(queries), self.values, features, self.mean_square)

    def standing_for(self) -> Float[Tensor, "t D"]:
        """Return what the components stand for now."""
        moved = self.values.detach() - self._along(self._fitted)
        return self._fitted + (moved if self._directions is None else moved @ self._directions)

    @torch.no_grad()
    def stand_for(self, components: Float[Tensor, "t D"]) -> None:
        """Set what the components stand for."""
        self._fitted = components
        self.values.copy_(self._along(components))

    def _along(self, features: Float[Tensor, "n D"]) -> Float[Tensor, "n p"]:
        return features if self._directions is None else features @ self._directions.T

    def attention(self) -> MemoryAttention:
        """Return what was learned; what components stand for is rounded to the half precision that it is saved in."""
        with torch.no_grad():
            tau = float(self.log_tau.exp())
            if not self.learned:
                return MemoryAttention(self.bank, self.W.detach().clone(), tau)
            keys = (self.W @ self._keys.T).detach()
            bank = self.bank.standing_for(self.standing_for().half().float())
            return MemoryAttention(bank, self.W.detach().clone(), tau, keys)

    def result(self) -> Float[Tensor, "N s"]:
        """Return the queries at the length that they came with."""
        return self.queries.detach() * self.size


def trust(weights: Float[Tensor, " N"], settings: PolishSettings) -> Float[Tensor, " N"]:
    """Return the share of a step that Gaussians follow, from the sums of their alpha-weights over all views [px]."""
    return weights / (weights + settings.doubt).clamp(min=1e-9)


def fit_taus(views: FeatureViews, learners: Sequence[Learner], settings: PolishSettings) -> None:
    """Choose the temperatures that read blended queries out best, in place."""
    generator = torch.Generator().manual_seed(settings.seed)
    some = range(0, len(views), -(-len(views) // _LOOKS))
    with torch.no_grad():
        looks = [_sampled(views, learners, number, settings.pixels, generator) for number in some]
        for learner, pairs in zip(learners, zip(*looks, strict=True), strict=True):
            queries, features = (torch.cat(parts) for parts in zip(*pairs, strict=True))
            if len(queries):
                learner.log_tau.fill_(math.log(fit_tau(learner.bank, learner.W, features, queries)))


def polish(
    views: FeatureViews,
    learners: Sequence[Learner],
    settings: PolishSettings,
    progress: ProgressCallback = ignore_progress,
    cancelled: CancelCheck = never_cancelled,
) -> None:
    """Refine what the learners hold, all encoders side by side, in place.

    Raises:
        Cancelled: `cancelled` said so.
    """
    if settings.steps == 0:
        return
    start = time.monotonic()
    generator = torch.Generator().manual_seed(settings.seed)
    fit_components(views, learners, settings, generator)
    looked = [learner.seen(stream) for learner, stream in zip(learners, views.streams, strict=True)]
    views = replace(views, streams=looked)
    optimiser = torch.optim.Adam(
        [group for learner in learners for group in learner.parameters(settings)],
        betas=(0.9, 0.99),
        eps=1e-12,
        fused=True,
    )
    rates = [group["lr"] for group in optimiser.param_groups]
    order: list[int] = []
    for step in range(settings.steps):
        if cancelled():
            raise Cancelled("training was cancelled while the memory was polished; nothing was written")
        order = order or torch.randperm(len(views), generator=generator).tolist()
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * _schedule(step / settings.steps)
        _step(views, learners, order.pop(), optimiser, settings.pixels, generator)
        progress(Progress("memory", (step + 1) / settings.steps))
    log.info("polished in %d steps, %.1f s", settings.steps, time.monotonic() - start)


class _NormalEquations:
    """Attention weights A and features X of sampled pixels, summed up to A^T A and A^T X."""

    def __init__(self, components: Float[Tensor, "t D"]) -> None:
        self.gram, self.along = torch.zeros(len(components), len(components)), torch.zeros_like(components)

    def add(self, weights: Float[Tensor, "n t"], features: Float[Tensor, "n D"]) -> None:
        self.gram += weights.T @ weights
        self.along += weights.T @ features

    def solve(self, ridge: float, components: Float[Tensor, "t D"]) -> Float[Tensor, "t D"]:
        damped = self.gram + ridge * torch.eye(len(components))
        solved: Tensor = torch.cholesky_solve(self.along + ridge * components, torch.linalg.cholesky(damped))
        return solved


def fit_components(
    views: FeatureViews, learners: Sequence[Learner], settings: PolishSettings, generator: torch.Generator
) -> None:
    """Fit what the components stand for, given who attends to them: V = (A^T A + r)^-1 (A^T X + r B), in place.

    A are the attention weights of sampled pixels, half as many of each view as a step looks at, X their features, B the
    components as they were chosen.
    """
    fitted = [learner for learner in learners if learner.learned]
    if not fitted:
        return
    sums = [_NormalEquations(learner.bank.components) for learner in fitted]
    with torch.no_grad():
        for number in range(len(views)):
            samples = _sampled(views, learners, number, -(-settings.pixels // 2), generator)
            chosen = [pair for pair, learner in zip(samples, learners, strict=True) if learner.learned]
            for learner, (queries, features), equations in zip(fitted, chosen, sums, strict=True):
                equations.add(learner.weights(queries), features)
        for learner, equations in zip(fitted, sums, strict=True):
            learner.stand_for(equations.solve(settings.ridge, learner.bank.components))


def _step(
    views: FeatureViews,
    learners: Sequence[Learner],
    number: int,
    optimiser: torch.optim.Optimizer,
    pixels: int,
    generator: torch.Generator,
) -> None:
    with torch.enable_grad():
        samples = _sampled(views, learners, number, pixels, generator)
        losses = [learner.loss(*pair) for learner, pair in zip(learners, samples, strict=True) if len(pair[0])]
        if not losses:
            return
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _sampled(
    views: FeatureViews, learners: Sequence[Learner], number: int, pixels: int, generator: torch.Generator
) -> list[tuple[Float[Tensor, "n s"], Float[Tensor, "n D"]]]:
    """Draw a view with the queries of all learners side by side, and sample what each encoder saw there."""
    drawn = views.draw(number, torch.cat([learner.queries for learner in learners], dim=1))
    parts = torch.split(drawn.queries, [learner.queries.shape[1] for learner in learners])
    camera = views.frames[number].camera
    samples = []
    for stream, part in zip(views.streams, parts, strict=True):
        seen = stream.map(number)
        count = min(pixels, _NUMBERS // seen.features.shape[-1])
        samples.append(sample(seen, Drawn(part, drawn.alpha), camera, count, generator))
    return samples


def _schedule(fraction: float) -> float:
    """Let rates fall to a twentieth along a cosine."""
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * fraction))


def _rms(x: Tensor) -> float:
    return float(x.detach().square().mean().sqrt())
