"""What a geometry training changes: the field, the exposures, the poses, and where in the schedule it stands."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.recording.frame import Frame
from m3_ros.splat.gaussians import Gaussians
from m3_ros.training.checkpoint import Parts
from m3_ros.training.exposure import Exposure
from m3_ros.training.field import Field
from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.held_out import Quality, aligned, measure
from m3_ros.training.initialisation import Seeds
from m3_ros.training.pose_carrying import carry
from m3_ros.training.pose_refinement import Poses
from m3_ros.training.schedule import Clock, Position
from m3_ros.training.views import Split, View

AllPoses = Float[NDArray[np.float64], "F 4 4"]
"""T_map_camera of every frame."""


class Trainee:
    """The state of one training. Changes in place."""

    def __init__(self, frames: Sequence[Frame], split: Split, settings: GeometrySettings, device: torch.device) -> None:
        """Start without any Gaussians: `seed` or `restore` brings them."""
        self.split, self.device = split, device
        self.given: AllPoses = np.stack([frame.T_map_camera for frame in frames])
        """Poses as they came."""
        self.field = Field(_no_seeds(), settings, device)
        self.exposure: Exposure | None = None
        self.poses: Poses | None = None
        self.position = Position()
        self.clock = Clock()
        self.rng = np.random.default_rng(settings.seed)
        self._settings = settings

    def seed(self, seeds: Seeds) -> None:
        """Begin with new Gaussians."""
        self.field = Field(seeds, self._settings, self.device)
        self.position.initial = len(self.field)

    def view(self, number: int, halved: bool = False) -> View:
        """Return a training view at its present pose."""
        view = (self.split.halved if halved else self.split.views)[number]
        return view if self.poses is None else view.at(self.poses.refined[number])

    def next_view(self) -> int:
        """Return the number of the view to train on: all in turn, in another order each round."""
        order = self.position.order
        if not order:
            order.extend(int(i) for i in self.rng.permutation(len(self.split.views)))
            if self.poses is not None:
                self.poses.fix_gauge()
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

    def refine_poses(self) -> None:
        """Correct the poses from now on."""
        self.poses = Poses(self.given[list(self.split.training)])

    def all_poses(self) -> AllPoses:
        """Return the poses of all frames; held-out ones are moved as the training poses around them were."""
        result = self.given.copy()
        if self.poses is not None:
            training, held_out = list(self.split.training), list(self.split.held_out)
            refined = self.poses.without_drift()
            result[training] = refined
            result[held_out] = carry(self.poses.given, refined, training, result[held_out], held_out)
        return result

    def training_quality(self, numbers: Sequence[int]) -> Quality:
        """Measure some training views."""
        return measure(self.field.detached(), [self.view(i) for i in numbers], numbers, self.exposed)

    def held_out_quality(self, gaussians: Gaussians, T_map_camera: AllPoses) -> Quality:
        """Measure the held-out views at given poses."""
        split = self.split
        views = [view.at(T_map_camera[i]) for i, view in zip(split.held_out, split.held_out_views, strict=True)]
        return measure(gaussians, views, split.held_out, self.exposed_between)

    def aligned_quality(self, gaussians: Gaussians, T_map_camera: AllPoses) -> Quality:
        """Measure the held-out views where their own pixels say they were taken, beginning at given poses."""
        split, exposed = self.split, self.exposed_between
        start = T_map_camera[list(split.held_out)]
        views = aligned(gaussians, split.held_out_views, split.held_out, exposed, start)
        return measure(gaussians, views, split.held_out, exposed)

    def state(self) -> tuple[Parts, Position]:
        """Return everything that a checkpoint needs; tensors are not copied."""
        self.position.random = dict(self.rng.bit_generator.state)
        self.position.seconds = self.clock.seconds
        parts = {"field": self.field.state()}
        if self.exposure is not None:
            parts["exposure"] = self.exposure.state()
        if self.poses is not None:
            parts["poses"] = {"refined": torch.from_numpy(self.poses.refined)}
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
        if "poses" in parts:
            self.poses = Poses(self.given[list(self.split.training)])
            self.poses.refined = parts["poses"]["refined"].numpy()


def _no_seeds() -> Seeds:
    nothing = np.zeros((0, 3), np.float32)
    return Seeds(nothing, nothing, nothing, np.zeros(0, np.float32), 0.5)
