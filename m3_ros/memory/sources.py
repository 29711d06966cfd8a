"""Where principal scene components came from: the view and pixel whose feature each one is."""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from m3_ros.errors import TrainingError
from m3_ros.features.encoder import FeatureMap


def component_sources(views: Iterable[tuple[int, FeatureMap]], components: Float[Tensor, "t D"]) -> Int[Tensor, "t 3"]:
    """Return the time stamp [ns] of the view and the pixel (u, v) at which each component was seen.

    A component is a feature of some view, bit by bit; the pixel is the middle of that feature's cell, or of the cell of
    its region that lies nearest to the region's centre. Where a feature occurs twice, the first counts. Stamps and not
    numbers, as these change when walks are added and taken away.

    Args:
        views: time stamp of each view and what the encoder saw in it; at least one with a feature.
        components: as they were chosen, before anything was fitted; no two alike.

    Raises:
        TrainingError: a component is no feature of these views.
    """
    fingerprints, order = _fingerprints(components).sort()
    sources = torch.zeros(len(components), 3, dtype=torch.int64)
    known = torch.zeros(len(components), dtype=torch.bool)
    for stamp_ns, seen in views:
        x, pixels = _features(seen)
        own, first = _first_of_each(_fingerprints(x))
        place = torch.searchsorted(fingerprints, own).clamp(max=len(order) - 1)
        found = fingerprints[place] == own
        component, pixel = order[place[found]], pixels[first[found]]
        new = ~known[component]
        sources[component[new], 0] = stamp_ns
        sources[component[new], 1:] = pixel[new]
        known[component] = True
    if not bool(known.all()):
        raise TrainingError(
            f"{int((~known).sum())} of {len(known)} components are no feature of any view: the feature cache "
            "has changed meanwhile; train again"
        )
    return sources


def _fingerprints(x: Float[Tensor, "n D"]) -> Int[Tensor, " n"]:
    """Mix the bits of each vector into one number: vectors are compared as they are, thousands with thousands."""
    factors = torch.randint(1, 1 << 62, (x.shape[1],), generator=torch.Generator().manual_seed(0))
    return (x.float().contiguous().view(torch.int32) * (2 * factors + 1)).sum(dim=1)


def _first_of_each(values: Int[Tensor, " n"]) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """Return the distinct values, and where each comes first."""
    distinct, which = torch.unique(values, return_inverse=True)
    first = torch.full((len(distinct),), len(values))
    return distinct, first.scatter_reduce_(0, which, torch.arange(len(values)), "amin")


def _features(seen: FeatureMap) -> tuple[Float[Tensor, "n D"], Int[Tensor, "n 2"]]:
    """Return the features of a map and the pixel (u, v) of each."""
    rows, columns = seen.valid.shape
    scale = torch.tensor([seen.image_size[0] / columns, seen.image_size[1] / rows])
    if seen.index is None:
        at = seen.valid.nonzero()
        return seen.features[seen.valid], _pixels(at, scale)
    index = torch.where(seen.valid, seen.index, -1)
    regions = [int(region) for region in torch.unique(index) if region >= 0]
    middles = [_middle((index == region).nonzero()) for region in regions]
    at = torch.stack(middles) if middles else torch.zeros(0, 2, dtype=torch.long)
    return seen.features[regions], _pixels(at, scale)


def _middle(cells: Int[Tensor, "n 2"]) -> Int[Tensor, "2"]:
    """Return the cell of a region that is nearest to its centre, which may itself lie outside."""
    away = (cells.float() - cells.float().mean(dim=0)).square().sum(dim=1)
    return cells[int(away.argmin())]


def _pixels(cells: Int[Tensor, "n 2"], scale: Float[Tensor, "2"]) -> Int[Tensor, "n 2"]:
    """Turn (row, column) of cells into pixels (u, v)."""
    return ((cells.flip(dims=[1]) + 0.5) * scale).long()
