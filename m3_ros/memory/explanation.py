"""Answers explained in words: the captions behind principal scene components, and what a thing is remembered as."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.features.encoder import FeatureMap, unit
from m3_ros.memory.attention import MemoryAttention


@dataclass(frozen=True)
class Explanation:
    """A caption and how much of a thing's memory it accounts for."""

    caption: str
    """What a view of it was put into words as."""
    share: float
    """Mean attention, in [0, 1]."""


def component_captions(maps: Iterable[FeatureMap], components: Float[Tensor, "t D"]) -> tuple[str, ...]:
    """Give each component the caption of the region nearest to it; empty where no map has captions.

    Args:
        maps: what an encoder that goes through words saw; grids and regions without captions are passed over.
        components: principal scene components of that encoder.
    """
    keys = unit(components.float())
    best = torch.full((len(components),), -torch.inf)
    captions = [""] * len(components)
    for seen in maps:
        told = [i for i, caption in enumerate(seen.captions or ()) if caption]
        if not told or seen.captions is None:
            continue
        cosine, nearest = (keys @ unit(seen.features[told].float()).T).max(dim=1)
        for component in (cosine > best).nonzero()[:, 0].tolist():
            captions[component] = seen.captions[told[int(nearest[component])]]
        best = torch.maximum(best, cosine)
    return tuple(captions)


def explain(
    attention: MemoryAttention, queries: Float[Tensor, "n s"], captions: Sequence[str], most: int = 3
) -> list[Explanation]:
    """Say in whose words some Gaussians are remembered: the captions that their queries attend to, heaviest first.

    Args:
        attention: reads the queries out of the bank.
        queries: principal queries of the Gaussians of one thing; zero ones remember nothing and are left out.
        captions: one for each component of the bank, empty for none.
        most: most captions wanted; the same words count together.
    """
    if len(captions) != len(attention.bank):
        raise ValueError(f"a bank of {len(attention.bank)} components needs as many captions; got {len(captions)}")
    known = queries[(queries != 0).any(dim=1)]
    if len(known) == 0:
        return []
    shares: dict[str, float] = {}
    for caption, share in zip(captions, attention.weights(known).mean(dim=0).tolist(), strict=True):
        shares[caption] = shares.get(caption, 0.0) + share
    shares.pop("", None)
    heaviest = sorted(shares.items(), key=lambda item: item[1], reverse=True)[:most]
    return [Explanation(caption, share) for caption, share in heaviest]
