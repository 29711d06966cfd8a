"""Where principal scene components came from: the view and pixel whose feature each one is."""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from m3_ros.features.encoder import FeatureMap, unit


def component_sources(views: Iterable[tuple[int, FeatureMap]], components: Float[Tensor, "t D"]) -> Int[Tensor, "t 3"]:
    """Return the time stamp [ns] of the view and the pixel (u, v) at which each component was seen.

    A component is a feature of some view as it was; the pixel is the middle of that feature's cell, or of the cell of
    its region that lies nearest to the region's centre. Where a feature occurs twice, the first counts. Stamps and not
    numbers, as these change when walks are added and taken away.

    Args:
        views: time stamp of each view and what the encoder saw in it; at least one with a feature.
        components: as they were chosen, before anything was fitted.
    """
    keys = unit(components.float())
    best = torch.full((len(keys),), -torch.inf)
    sources = torch.zeros(len(keys), 3, dtype=torch.int64)
    for stamp_ns, seen in views:
        x, pixels = _features(seen)
        if len(x) == 0:
            continue
        cosine, nearest = (keys @ unit(x.float()).T).max(dim=1)
        better = cosine > best + 1e-5
        best[better] = cosine[better]
        sources[better, 0] = stamp_ns
        sources[better, 1:] = pixels[nearest[better]]
    return sources


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
