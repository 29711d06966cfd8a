"""Walks: what each recording added to a memory, kept apart so that one can be taken away again without a trace."""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.errors import MemoryFormatError
from m3_ros.memory.attention import MemoryAttention
from m3_ros.memory.lift import Lifted
from m3_ros.memory.linear_head import coded
from m3_ros.memory.spatial_memory import Keyframes, PrincipalQueries, Recipe, SpatialMemory, Walk


def compose(attention: MemoryAttention, recipe: Recipe, lifted: Lifted) -> PrincipalQueries:
    """Turn sums over views into what an encoder remembers: their mean, corrected by what the polish had learned."""
    mean, _ = lifted.mean(recipe.min_weight)
    queries = composed_queries(recipe, lifted)
    length = torch.linalg.vector_norm(mean @ torch.linalg.pinv(recipe.to_query), dim=1).clamp(max=1.0).half().float()
    norms, code_length = attention.norms(queries.float()), recipe.code_length
    linear = coded(mean, attention.bank, recipe.to_query, code_length) if code_length else None
    return PrincipalQueries(queries, norms, length, attention, recipe, linear)


def composed_queries(recipe: Recipe, lifted: Lifted) -> Float[Tensor, "N s"]:
    """Return the principal queries that `compose` makes of sums; the same sums give the same bits."""
    mean, _ = lifted.mean(recipe.min_weight)
    known = lifted.weights >= recipe.min_weight
    return ((mean + recipe.correction.float()) * known[:, None]).half()


def total(walks: Sequence[Walk], encoder: int) -> Lifted:
    """Add up what an encoder saw on some walks."""
    return reduce(add, (walk.lifted[encoder] for walk in walks))


def visibility(walks: Sequence[Walk], min_weight: float) -> Float[Tensor, " N"]:
    """Return the alpha-weight sums of the Gaussians over all views of some walks; 0 where next to nothing."""
    seen = torch.stack([walk.lifted[0].seen for walk in walks]).sum(dim=0)
    return torch.where(seen >= min_weight, seen, 0.0)


def with_walk(memory: SpatialMemory, walk: Walk, keyframes: Keyframes) -> SpatialMemory:
    """Add what was lifted on a walk, and the poses that it was seen from.

    Raises:
        MemoryFormatError: the memory keeps no sums, or has a walk of this name.
    """
    check_has_sums(memory)
    if walk.name in names(memory):
        raise MemoryFormatError(
            f"the memory has a walk {walk.name!r} already: remove it, or give this one its own name"
        )
    return _recomposed(memory, (*memory.walks, walk), _joined(memory.keyframes, keyframes))


def remove_walk(memory: SpatialMemory, name: str) -> SpatialMemory:
    """Take away what a walk added; what is left is what the memory would be without it.

    The geometry stays, and so do the components and what the polish had learned.

    Raises:
        MemoryFormatError: the memory keeps no sums, has no such walk, or has no other.
    """
    check_has_sums(memory)
    if name not in names(memory) or len(memory.walks) == 1:
        raise MemoryFormatError(
            f"walk {name!r} cannot be removed: the memory has {', '.join(names(memory))}, and one has to stay"
        )
    number = names(memory).index(name)
    first = sum(walk.keyframes for walk in memory.walks[:number])
    kept = np.r_[0:first, first + memory.walks[number].keyframes : len(memory.keyframes)]
    walks = tuple(walk for walk in memory.walks if walk.name != name)
    return _recomposed(memory, walks, _chosen(memory.keyframes, kept.astype(np.int64)))


def names(memory: SpatialMemory) -> list[str]:
    """Return the names of the walks that a memory was made from."""
    return [walk.name for walk in memory.walks]


def check_has_sums(memory: SpatialMemory) -> None:
    """Refuse a memory that walks cannot be added to or taken from.

    Raises:
        MemoryFormatError: it keeps no sums.
    """
    if not memory.walks or any(entry.recipe is None for entry in memory.principal_queries):
        raise MemoryFormatError("the memory keeps no sums of its walks: train it again with keep_sums")


def _recomposed(memory: SpatialMemory, walks: tuple[Walk, ...], keyframes: Keyframes) -> SpatialMemory:
    entries = tuple(
        entry if entry.recipe is None else compose(entry.attention, entry.recipe, total(walks, i))
        for i, entry in enumerate(memory.principal_queries)
    )
    min_weight = max(entry.recipe.min_weight for entry in entries if entry.recipe is not None)
    return replace(
        memory,
        principal_queries=entries,
        visibility=visibility(walks, min_weight),
        keyframes=keyframes,
        objects=None,
        walks=walks,
    )


def _joined(a: Keyframes, b: Keyframes) -> Keyframes:
    return Keyframes(
        np.concatenate([a.stamps_ns, b.stamps_ns]),
        np.concatenate([a.T_map_camera, b.T_map_camera]),
        a.cameras + b.cameras,
    )


def _chosen(keyframes: Keyframes, kept: np.typing.NDArray[np.int64]) -> Keyframes:
    cameras = tuple(keyframes.cameras[i] for i in kept)
    return Keyframes(keyframes.stamps_ns[kept], keyframes.T_map_camera[kept], cameras)
