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
    """Share of the query in the softmax against its negatives, in [0, 1]; 0 where nothing was seen."""
    cosine: Float[Tensor, " N"]
    """Cosine to the query; 0 where nothing was seen."""


def relevancy(
    query_scores: Float[Tensor, " N"],
    negative_scores: Float[Tensor, "N T"],
    seen: Bool[Tensor, " N"],
    settings: RelevancySettings,
) -> Relevancy:
    """Weigh the query's cosines against those of all negatives: softmax([c_q, c_1, ..., c_T] / temperature)_q.

    Without negatives there is nothing to weigh against: the cosine itself, between 0 and 1, stands in.
    """
    if negative_scores.shape[1] == 0:
        probability = query_scores.clamp(0, 1)
    else:
        scores = torch.cat([query_scores[:, None], negative_scores], dim=1) / settings.temperature
        probability = torch.softmax(scores, dim=1)[:, 0]
    return Relevancy(probability * seen, query_scores * seen)


def negatives_of(
    query: Float[Tensor, " D"],
    background: Float[Tensor, "T D"],
    phrases: Sequence[str],
    text: str,
    settings: RelevancySettings,
) -> Bool[Tensor, " T"]:
    """Tell which background phrases are really something else than the query: neither its words nor its meaning."""
    other_words = torch.tensor([phrase.lower() != text.lower() for phrase in phrases], dtype=torch.bool)
    return (background @ query < settings.same_cosine) & other_words
