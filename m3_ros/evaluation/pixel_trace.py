"""Where the memory of a pixel comes from: the components that it attends to, and the views that showed them."""

from dataclasses import dataclass

import torch

from m3_ros.errors import QueryError
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import Transform
from m3_ros.memory import PrincipalQueries, SpatialMemory
from m3_ros.memory.feature_view import blended_queries


@dataclass(frozen=True)
class Origin:
    """A component that a pixel attends to, and where it was seen."""

    component: int
    """Its number in the bank."""
    weight: float
    """Attention, in [0, 1]."""
    keyframe: int | None
    """View that showed it; None where the memory has lost it with its walk."""
    u: float
    """Its pixel there, to the right [px]."""
    v: float
    """Its pixel there, downwards [px]."""


@dataclass(frozen=True)
class PixelTrace:
    """What a pixel of a view is remembered from."""

    encoder: str
    """Encoder whose memory was traced."""
    u: float
    """Pixel, to the right [px]."""
    v: float
    """Pixel, downwards [px]."""
    origins: tuple[Origin, ...]
    """Heaviest first."""


def trace_pixel(
    memory: SpatialMemory,
    entry: PrincipalQueries,
    camera: Camera,
    T_map_camera: Transform,
    u: float,
    v: float,
    most: int = 5,
) -> PixelTrace:
    """Blend the queries at a pixel, and follow its attention back to the pixels that its components are features of.

    Args:
        memory: a memory that knows where its components came from.
        entry: what one encoder remembers in it.
        camera: intrinsics of a view.
        T_map_camera: its pose.
        u: pixel, to the right; the first pixel's centre is at 0.5.
        v: pixel, downwards.
        most: most components wanted.

    Raises:
        QueryError: the pixel is outside the view or shows nothing, or the memory does not know its sources.
    """
    bank = entry.attention.bank
    if bank.sources is None:
        raise QueryError(
            f"the memory does not know where the components of {entry.encoder_name!r} came from: train it again"
        )
    if not (0 <= u < camera.width and 0 <= v < camera.height):
        raise QueryError(f"a pixel of a view of {camera.width}x{camera.height} is wanted; got ({u:g}, {v:g})")
    at_pixel = Camera(1, 1, camera.fx, camera.fy, camera.cx - u + 0.5, camera.cy - v + 0.5)
    with torch.inference_mode():
        queries, shown = blended_queries(memory.gaussians, entry, at_pixel, T_map_camera, 1, 1)
        if not bool(shown):
            raise QueryError(f"the memory of {entry.encoder_name!r} shows nothing at pixel ({u:g}, {v:g}) of this view")
        weights, numbers = entry.attention.weights(queries[0])[0].topk(min(most, len(bank)))
    stamps = {stamp: i for i, stamp in reversed(list(enumerate(memory.keyframes.stamps_ns.tolist())))}
    origins = []
    for weight, number in zip(weights.tolist(), numbers.tolist(), strict=True):
        stamp, column, row = bank.sources[number].tolist()
        origins.append(Origin(number, weight, stamps.get(stamp), column + 0.5, row + 0.5))
    return PixelTrace(entry.encoder_name, u, v, tuple(origins))
