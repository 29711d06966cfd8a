"""Rivals: is the matter that was found better described by another name that the encoder knows?

Relevancy weighs a query against the background alone, so that an object comes out whole; a coffee table then is quite
relevant to "chair". The names that the encoder was trained on settle it afterwards, object by object.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def rival_factor(
    name_scores: Float[Tensor, "N K"],
    same: Bool[Tensor, " K"],
    gaussians: Bool[Tensor, " N"],
    temperature: float,
) -> float:
    """Return by what to multiply an object's probability: 1 where no other name fits its matter better.

    Each Gaussian spreads one vote over the names (softmax of its cosines); the factor is min(1, votes for names that
    mean the same as the query / votes for the best other name).

    Args:
        name_scores: cosine of each Gaussian to each known name.
        same: which names mean the same as the query; with none the query is a word of its own and has no rivals.
        gaussians: the object's matter.
        temperature: of the softmax [cosine].
    """
    if not bool(same.any()) or bool(same.all()) or not bool(gaussians.any()):
        return 1.0
    votes = torch.softmax(name_scores[gaussians] / temperature, dim=1).mean(dim=0)
    return min(1.0, float(votes[same].sum() / votes[~same].max().clamp(min=1e-9)))
