"""Words to Gaussians: how much better each Gaussian fits the query than anything else that it could be."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from m3_ros.query.settings import RelevancySettings


@dataclass(frozen=True, eq=False)
class Relevancy:
    """How each Gaussian fits the words."""

    probability: Float[Tensor, " N"]
    """Share of the query in the softmax against everything else, in [0, 1]; 0 where nothing was seen."""
    cosine: Float[Tensor, " N"]
    """Cosine to the query; 0 where nothing was seen."""


def relevancy(
    scores: Float[Tensor, "N T"], same: Bool[Tensor, " T"], seen: Bool[Tensor, " N"], settings: RelevancySettings
) -> Relevancy:
    """Weigh the query's cosine against those of all else: exp(c_q / tau) / (exp(c_q / tau) + sum_else exp(c / tau)).

    c_q is the best cosine among the query and the phrases that mean the same.
    With nothing to weigh against, the cosine itself, between 0 and 1, stands in.

    Args:
        scores: cosines of each Gaussian to the query (column 0) and to every phrase that it is weighed with.
        same: which columns mean the same as the query; the first does.
        seen: Gaussians that remember anything.
        settings: the temperature.
    """
    if bool(same.all()):
        probability = scores[:, 0].clamp(0, 1)
    else:
        logits = scores / settings.temperature
        probability = torch.sigmoid(logits[:, same].amax(dim=1) - logits[:, ~same].logsumexp(dim=1))
    return Relevancy(probability * seen, scores[:, 0] * seen)


def same_meaning(
    query: Float[Tensor, " D"], phrases: Float[Tensor, "T D"], settings: RelevancySettings
) -> Bool[Tensor, " T"]:
    """Tell which phrases mean the same as the query.

    A query that is one of the phrases means just that one: "armchair" is not "chair". Any other query means what is
    near to it, so that a synonym or "the red chair" is not weighed against "chair".
    """
    cosine = phrases @ query
    if bool((cosine >= settings.identical_cosine).any()):
        return cosine >= settings.identical_cosine
    return cosine >= settings.same_cosine


def without(same: Bool[Tensor, " T"], phrases: Sequence[str], negatives: Sequence[str]) -> Bool[Tensor, " T"]:
    """Take phrases that the user said it is not out of those that mean the same."""
    unwanted = {negative.strip().lower() for negative in negatives}
    return same & torch.tensor([phrase.lower() not in unwanted for phrase in phrases], dtype=torch.bool)
