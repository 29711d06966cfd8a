"""Masks of one image: which are the same thing, and which of them each cell belongs to."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from m3_ros.features.encoder import FeatureMap, unit


def overlaps(masks: Bool[Tensor, "R h w"]) -> Float[Tensor, "R R"]:
    """Return the intersection over union of every two masks; two empty ones do not overlap."""
    flat = masks.flatten(1).float()
    both = flat @ flat.T
    area = flat.sum(1)
    return both / (area[:, None] + area[None, :] - both).clamp(min=1.0)


def suppress(masks: Bool[Tensor, "R h w"], scores: Float[Tensor, " R"], overlap: float) -> Int[Tensor, " K"]:
    """Keep the best of all masks that are the same thing; return their numbers, best first.

    A mask goes where one with a higher score has an intersection over union with it above `overlap`. Parts and wholes
    overlap less than that and both stay.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    same = overlaps(masks[order]) > overlap
    kept: list[int] = []
    for i in range(len(order)):
        if not bool(same[i, kept].any()):
            kept.append(i)
    return order[torch.tensor(kept, dtype=torch.long)]


def index_map(masks: Bool[Tensor, "R h w"]) -> Int[Tensor, "h w"]:
    """Return the mask that each cell belongs to, -1 for none: the smallest of those that cover it."""
    index = torch.full(masks.shape[1:], -1, dtype=torch.long)
    area = masks.flatten(1).sum(1)
    for i in torch.argsort(area, descending=True, stable=True).tolist():
        index[masks[i]] = i
    return index


def stability(logits: Float[Tensor, "R h w"], offset: float = 1.0) -> Float[Tensor, " R"]:
    """Return how little each mask changes when its threshold moves by `offset`: overlap of the small with the large."""
    small, large = ((logits > level).flatten(1).sum(1).float() for level in (offset, -offset))
    return small / large.clamp(min=1.0)


def resample(
    logits: Float[Tensor, "R a b"], size: tuple[int, int], used: tuple[float, float] = (1.0, 1.0)
) -> Float[Tensor, "R h w"]:
    """Read mask logits at the centres of the cells of an image.

    Args:
        logits: what a model gave for its square input.
        size: height and width of the cells that divide the image.
        used: share of the input's height and width that the image fills from the top left; the rest is padding.
    """
    h, w = size
    v = (torch.arange(h) + 0.5) / h * used[0] * 2 - 1
    u = (torch.arange(w) + 0.5) / w * used[1] * 2 - 1
    grid = torch.stack(torch.meshgrid(v, u, indexing="ij")[::-1], dim=-1)
    planes = functional.grid_sample(
        logits[None].float(), grid[None].to(logits.device), mode="bilinear", padding_mode="border", align_corners=False
    )
    return planes[0]


def pool(dense: FeatureMap, masks: Bool[Tensor, "R h w"]) -> Float[Tensor, "R D"]:
    """Return the mean unit vector that a grid of features has under each mask; zero where it has none there."""
    h, w = dense.valid.shape
    share = functional.interpolate(masks[None].float(), (h, w), mode="area")[0]
    weight = (share * dense.valid).flatten(1)
    vectors = unit(dense.dense().float()).reshape(h * w, -1)
    return (weight @ vectors) / weight.sum(1, keepdim=True).clamp(min=1e-9)


def region_map(features: Float[Tensor, "R D"], masks: Bool[Tensor, "R h w"], image_size: tuple[int, int]) -> FeatureMap:
    """Put regions together; an image without any gives a map that is nowhere valid."""
    index = index_map(masks)
    if len(features) == 0:
        features = torch.zeros(1, features.shape[1])
    valid = (index >= 0) & (features.abs().sum(1) > 0)[index.clamp(min=0)]
    return FeatureMap(features, valid, image_size, index)
