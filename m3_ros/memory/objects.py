"""Objects: the things of a place, out of what is remembered and where. Words only name them, as a hint."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from m3_ros.errors import EncoderError
from m3_ros.features.encoder import Encoder, unit
from m3_ros.geometry.box import upright_box
from m3_ros.memory.evidence_views import ViewIndex
from m3_ros.memory.matter import Voxels, in_plain_view, spread
from m3_ros.memory.segments import Matter, SegmentSettings, segments
from m3_ros.memory.spatial_memory import MemoryObject, SpatialMemory

STRUCTURE = ("wall", "floor", "ceiling")
"""What is part of the building and no object."""


@dataclass(frozen=True)
class ObjectSettings:
    """Which segments are objects."""

    segments: SegmentSettings = field(default_factory=SegmentSettings)
    """How Gaussians become segments."""
    voxel_m: Annotated[float, "0.01..1"] = 0.04
    """Size of the voxels in which an object's matter is counted [m]."""
    least_voxels: Annotated[int, "1.."] = 6
    """Segments of fewer voxels are specks."""
    max_extent_m: Annotated[float, "0.1.."] = 3.0
    """Wider segments are a part of the building [m]."""
    structure_cosine: Annotated[float, "0..1"] = 0.8
    """So are those whose mean code is this close to that of a part of the building."""
    temperature: Annotated[float, "0..1"] = 0.07
    """Temperature of the votes for a name [cosine]."""
    structure_votes: Annotated[float, "0..1"] = 0.5
    """Share of the votes for wall, floor and ceiling that makes a segment a part of the building."""


def list_objects(memory: SpatialMemory) -> tuple[MemoryObject, ...]:
    """Return the objects of a memory; they are looked for where the training did not."""
    return find_objects(memory) if memory.objects is None else memory.objects


def find_objects(
    memory: SpatialMemory, encoders: Sequence[Encoder] = (), settings: ObjectSettings | None = None
) -> tuple[MemoryObject, ...]:
    """Find the things of a place, the largest first.

    Args:
        memory: the memory; any objects already in it are not looked at.
        encoders: the encoders that it was made with, or some of them; the first that knows names gives hints, and
            what it calls a wall, floor or ceiling is left out.
        settings: None gives the defaults.
    """
    settings = settings or ObjectSettings()
    matter = Matter.of(memory, settings.segments.min_opacity)
    label = segments(matter, settings.segments)
    order = np.argsort(label, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(label))[:-1]) if len(label) else []
    views = ViewIndex(memory)
    groups = [group for group in groups if len(group) >= settings.segments.least]
    pieces = [_piece(memory, matter, views, group, settings) for group in groups]
    means = np.stack([matter.weight[group] @ matter.codes[group] for group in groups]) if groups else np.zeros((0, 1))
    things = _without_structure(pieces, means, settings)
    for encoder in encoders:
        if encoder.known_names:
            things = _named(things, memory, encoder, settings)
            break
    things.sort(key=lambda thing: float(np.prod(thing.box.size)), reverse=True)
    return tuple(replace(thing, id=number) for number, thing in enumerate(things))


def _piece(
    memory: SpatialMemory,
    matter: Matter,
    views: ViewIndex,
    group: Int[NDArray[np.int64], " n"],
    settings: ObjectSettings,
) -> MemoryObject | None:
    """Describe a segment; None for a speck."""
    weight = np.maximum(matter.weight[group], 1e-9)
    voxels = Voxels.around(matter.points[group], settings.voxel_m)
    if len(voxels) < settings.least_voxels:
        return None
    total = voxels.total(weight)
    points = np.stack([voxels.total(weight * axis) / total for axis in matter.points[group].T], axis=1)
    box = upright_box(points[in_plain_view(total)])
    mask = torch.zeros(len(memory.gaussians), dtype=torch.bool)
    mask[torch.from_numpy(matter.index[group])] = True
    seen_by = views.seeing(mask)
    stamps = memory.keyframes.stamps_ns[list(seen_by)]
    return MemoryObject(
        id=0,
        centre=box.centre,
        covariance=spread(points, np.ones(len(points)), settings.voxel_m),
        box=box,
        gaussians=mask,
        codes=_mean_codes(memory, mask),
        views=seen_by,
        last_seen_ns=int(stamps.max()) if len(stamps) else -1,
    )


def _mean_codes(memory: SpatialMemory, mask: Bool[torch.Tensor, " N"]) -> tuple[Float[torch.Tensor, " s"], ...]:
    """Average what each encoder remembers of some Gaussians, weighed by how visible they are."""
    weight = (memory.gaussians.opacities * memory.visibility)[mask]
    means = []
    for entry in memory.principal_queries:
        queries = entry.queries[mask].float()
        known = weight * (queries != 0).any(dim=1)
        means.append((known[:, None] * queries).sum(dim=0) / known.sum().clamp(min=1e-9))
    return tuple(means)


def _without_structure(
    pieces: Sequence[MemoryObject | None], means: Float[NDArray[np.float64], "p s"], settings: ObjectSettings
) -> list[MemoryObject]:
    """Leave out what is too wide for a thing, and what is remembered like that: the rest of a wall behind a shelf."""
    codes = unit(torch.from_numpy(means))
    wide = [p is not None and float(p.box.size.max()) > settings.max_extent_m for p in pieces]
    like = (codes @ codes[torch.tensor(wide, dtype=torch.bool)].T >= settings.structure_cosine).any(dim=1).tolist()
    return [p for p, too_wide, out in zip(pieces, wide, like, strict=True) if p is not None and not (too_wide or out)]


@torch.inference_mode()
def _named(
    things: Sequence[MemoryObject], memory: SpatialMemory, encoder: Encoder, settings: ObjectSettings
) -> list[MemoryObject]:
    """Give every thing the known name that most of its matter votes for; what is mostly a wall is none."""
    names = [*encoder.known_names, *(name for name in STRUCTURE if name not in encoder.known_names)]
    try:
        words = unit(encoder.encode_text(names))
    except EncoderError:
        return list(things)
    votes = torch.softmax(memory.queries_of(encoder.name, encoder.version).text_scores(words) / settings.temperature, 1)
    named = []
    for thing in things:
        share = votes[thing.gaussians].mean(dim=0)
        building = sum(float(v) for name, v in zip(names, share, strict=True) if name in STRUCTURE)
        if building < settings.structure_votes:
            best = int(share[: len(encoder.known_names)].argmax())
            named.append(replace(thing, name=names[best], name_probability=float(share[best])))
    return named
