"""Posed views of what several encoders saw: lifted in one pass, drawn and sampled one at a time while learned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from m3_ros.features.encoder import FeatureMap
from m3_ros.geometry.camera import Camera
from m3_ros.memory.lift import View, lifting_camera, pinhole
from m3_ros.recording.frame import Frame
from m3_ros.splat import render
from m3_ros.splat.gaussians import Gaussians
from m3_ros.training.feature_stream import FeatureStream

_LEAST_ALPHA = 0.5
"""Nothing is learned from pixels that the Gaussians cover less than this."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Queries of all encoders as one view shows them."""

    queries: Float[Tensor, "s H W"]
    """Blended like colours (the paper's eq. 1)."""
    alpha: Float[Tensor, "H W"]
    """Share of each pixel that is covered."""


@dataclass(frozen=True, eq=False)
class FeatureViews:
    """The training views, as wide as features are lifted."""

    frames: Sequence[Frame]
    """Where from."""
    streams: Sequence[FeatureStream]
    """What each encoder saw from there."""
    gaussians: Gaussians
    """The geometry; it is not touched."""
    width: int
    """Width [px] at which the Gaussians are splatted."""

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[View]:
        maps = zip(*(stream.maps() for stream in self.streams), strict=True)
        for frame, seen in zip(self.frames, maps, strict=True):
            yield View(seen, frame.camera, frame.T_map_camera)

    def draw(self, number: int, queries: Float[Tensor, "N s"]) -> Drawn:
        """Blend queries into a view; gradients reach the queries only."""
        frame, g = self.frames[number], self.gaussians
        camera = lifting_camera(frame.camera, self.width)
        pose = pinhole(camera, frame.T_map_camera)
        drawn = render(g.means, g.quats, g.scales, g.opacities, queries, *pose, camera.width, camera.height)
        return Drawn(drawn.features[0].permute(2, 0, 1), drawn.alpha[0].detach())


def sample(
    seen: FeatureMap, drawn: Drawn, camera: Camera, count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n D"]]:
    """Return blended queries and teacher features of at most `count` random places of a view.

    A cell is compared with the mean query of the pixels that it covers; of regions whose map is finer than the view,
    single pixels are compared.

    Args:
        seen: what the encoder saw.
        drawn: its queries.
        camera: intrinsics of the encoded image.
        count: most places wanted.
        generator: chooses them.
    """
    (rows, columns), (height, width) = seen.valid.shape, drawn.alpha.shape
    if seen.index is None or (rows <= height and columns <= width):
        held = seen.valid if seen.index is None else seen.valid & (seen.index >= 0)
        blended = torch.cat([drawn.queries, drawn.alpha[None]])
        cells = functional.adaptive_avg_pool2d(blended[None], (rows, columns))[0].flatten(1)
        chosen = _some(held.flatten() & (cells[-1] >= _LEAST_ALPHA), count, generator)
        vectors = seen.features.flatten(0, 1) if seen.index is None else seen.features
        number = chosen if seen.index is None else seen.index.flatten()[chosen]
        return cells[:-1, chosen].T, vectors[number].float()
    chosen = _some((drawn.alpha >= _LEAST_ALPHA).flatten(), count, generator)
    u = (chosen % width + 0.5) * (camera.width / width)
    v = (chosen.div(width, rounding_mode="floor") + 0.5) * (camera.height / height)
    features, valid = seen.at(u, v)
    return drawn.queries.flatten(1)[:, chosen[valid]].T, features[valid].float()


def _some(allowed: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return the numbers of at most `count` random places that are allowed."""
    places = allowed.nonzero()[:, 0]
    return places[torch.randperm(len(places), generator=generator)[:count]]
