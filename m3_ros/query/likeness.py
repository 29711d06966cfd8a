"""A vector to Gaussians: where the place looks like what was shown, rather than like anything else that it holds."""

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.errors import QueryError
from m3_ros.features.encoder import unit
from m3_ros.memory import Head, PrincipalQueries, SpatialMemory, cover_components
from m3_ros.query.relevancy import Relevancy, relevancy
from m3_ros.query.settings import RelevancySettings

_OTHERS = 16
"""Kinds of matter in the place that the question is weighed against."""


@torch.inference_mode()
def likeness(
    memory: SpatialMemory,
    entry: PrincipalQueries,
    query: Float[Tensor, " D"],
    settings: RelevancySettings,
    head: Head = "attention",
) -> Relevancy:
    """Weigh the likeness to a vector, such as that of a visual prompt, against what else the place holds.

    Words are weighed against background phrases. A model without words has none, so a few principal scene components
    stand in, spread over all that the place looks like; those nearer to the question than to each other mean the same.

    Raises:
        QueryError: the vector is zero or not of the encoder's length.
    """
    components = entry.attention.bank.components
    if query.shape != components.shape[1:] or not bool(query.any()):
        raise QueryError(
            f"{entry.encoder_name} answers non-zero vectors of length {components.shape[1]}; got {list(query.shape)}"
        )
    others = unit(cover_components([components], 0.999, _OTHERS).components)
    asked = unit(query.float())[None]
    nearest = (others @ others.T).fill_diagonal_(-1).amax(dim=1) if len(others) > 1 else torch.ones(1)
    columns = entry.text_scores(torch.cat([asked, others]), head)
    same = torch.cat([torch.tensor([True]), (others @ asked[0]) >= nearest.clamp(min=settings.same_cosine)])
    return relevancy(columns, same, memory.seen, settings)
