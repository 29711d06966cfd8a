"""What a geometry training changes: the field, the exposures, and where in the schedule it stands."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.splat.gaussians import Gaussians
from m3_ros.training.alignment import aligned
from m3_ros.training.checkpoint import Parts
from m3_ros.training.exposure import Exposure
from m3_ros.training.field import Field
from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.held_out import Quality, measure
from m3_ros.training.schedule import Clock, Position
from m3_ros.training.seeds import Seeds
from m3_ros.training.views import AllPoses, Split, View


class Trainee:
    """The state of one training. Changes in place."""

    def __init__(self, split: Split, settings: GeometrySettings) -> None:
        """Start without any Gaussians: `seed` or `restore` brings them."""
        self.split, self.device = split, split.views[0].viewmat.device
        self.field = Field(_no_seeds(), settings, self.device)
        self.exposure: Exposure | None = None
        self.position = Position()
        self.clock = Clock()
        self.rng = np.random.default_rng(settings.seed)
        self._settings = settings
        self._depths: dict[int, Tensor] = {}

    def seed(self, seeds: Seeds) -> None:
        """Begin with new Gaussians, and take on the depth that was estimated for them."""
        self.field = Field(seeds, self._settings, self.device)
        self._take_on({swept.frame: torch.from_numpy(swept.depth) for swept in seeds.swept})
        self.position.initial = len(self.field)
        self.position.initialisation = seeds.source

    def view(self, number: int, halved: bool = False) -> View:
        """Return a training view."""
        return (self.split.halved if halved else self.split.views)[number]

    def next_view(self) -> int:
        """Return the number of the view to train on: all in turn, in another order each round."""
        order = self.position.order
        if not order:
            order.extend(int(i) for i in self.rng.permutation(len(self.split.views)))
        return order.pop()

    def pick_views(self, count: int) -> list[int]:
        """Return the numbers of some training views, drawn at random."""
        views = len(self.split.views)
        return [int(i) for i in self.rng.choice(views, min(count, views), replace=False)]

    def exposed(self, image: Float[Tensor, "H W 3"], number: int) -> Float[Tensor, "H W 3"]:
        """Return a rendering as training picture `number` was exposed."""
        return image if self.exposure is None else self.exposure.apply(image, number)

    def exposed_between(self, image: Float[Tensor, "H W 3"], frame: int) -> Float[Tensor, "H W 3"]:
        """Return a rendering as frame `frame` was probably exposed."""
        return image if self.exposure is None else self.exposure.between(image, frame)

    def compensate_exposure(self) -> None:
        """Learn the exposures from now on."""
        self.exposure = Exposure(self.split.training, self.device)

    def training_quality(self, numbers: Sequence[int]) -> Quality:
        """Measure some training views."""
        return measure(self.field.detached(), [self.view(i) for i in numbers], numbers, self.exposed)

    def held_out_quality(self, gaussians: Gaussians, T_map_camera: AllPoses | None = None) -> Quality:
        """Measure the held-out views, at other poses than theirs where some are given."""
        views, frames = self.split.held_out_views, self.split.held_out
        if T_map_camera is not None:
            views = tuple(view.at(T_map_camera[i]) for i, view in zip(frames, views, strict=True))
        return measure(gaussians, views, frames, self.exposed_between)

    def aligned_quality(self, gaussians: Gaussians) -> Quality:
        """Measure the held-out views where their own pixels say they were taken."""
        views, frames = self.split.held_out_views, self.split.held_out
        moved = [
            aligned(gaussians, view, self.split.T_map_camera[i], partial(self.exposed_between, frame=i))
            for i, view in zip(frames, views, strict=True)
        ]
        return measure(gaussians, moved, frames, self.exposed_between)

    def state(self) -> tuple[Parts, Position]:
        """Return everything that a checkpoint needs; tensors are not copied."""
        self.position.random = dict(self.rng.bit_generator.state)
        self.position.seconds = self.clock.seconds
        parts = {"field": self.field.state(), "poses": {"T_map_camera": torch.from_numpy(self.split.T_map_camera)}}
        if self.exposure is not None:
            parts["exposure"] = self.exposure.state()
        if self._depths:
            parts["depths"] = {str(number): depth for number, depth in self._depths.items()}
        return parts, self.position

    def restore(self, parts: Parts, position: Position) -> None:
        """Go on from a state as `state` returned it."""
        self.position = position
        self.rng.bit_generator.state = position.random
        self.clock = Clock(position.seconds)
        self.field.restore(parts["field"])
        if "exposure" in parts:
            self.exposure = Exposure(self.split.training, self.device)
            self.exposure.restore(parts["exposure"])
        self._take_on({int(number): depth for number, depth in parts.get("depths", {}).items()})

    def _take_on(self, depths: dict[int, Tensor]) -> None:
        """Let training views without measured depth have the estimated one."""
        self._depths = depths
        self.split = self.split.with_depths(depths)


def _no_seeds() -> Seeds:
    nothing = np.zeros((0, 3), np.float32)
    return Seeds(nothing, nothing, nothing, np.zeros(0, np.float32), np.zeros(0, np.float32), "")
