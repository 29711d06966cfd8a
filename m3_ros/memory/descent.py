"""A memory whose Gaussians were cloned, split or pruned: each remembers what the one it came from did."""

from dataclasses import replace

from jaxtyping import Int
from torch import Tensor

from m3_ros.errors import MemoryFormatError
from m3_ros.memory.lift import Lifted
from m3_ros.memory.linear_head import LinearHead
from m3_ros.memory.spatial_memory import PrincipalQueries, SpatialMemory
from m3_ros.splat.gaussians import Gaussians


def descended(memory: SpatialMemory, gaussians: Gaussians, parents: Int[Tensor, " M"]) -> SpatialMemory:
    """Carry a memory over to Gaussians that came from its own; clones and halves copy their parent (the paper's rule).

    Args:
        memory: of N Gaussians.
        gaussians: M Gaussians.
        parents: which of the N each came from, such as `m3_ros.training.densification.Change.parents`; one that is
            not named was pruned.

    Raises:
        MemoryFormatError: there is not one parent among the N for each of the M.
    """
    known = (parents >= 0) & (parents < len(memory.gaussians))
    if len(parents) != len(gaussians) or not bool(known.all()):
        raise MemoryFormatError(
            f"{len(gaussians)} Gaussians need as many parents among the {len(memory.gaussians)} of the memory; got "
            f"{int(known.sum())}"
        )
    walks = (replace(walk, lifted=tuple(_lifted(x, parents) for x in walk.lifted)) for walk in memory.walks)
    things = None
    if memory.objects is not None:
        things = tuple(replace(thing, gaussians=thing.gaussians[parents]) for thing in memory.objects)
    return replace(
        memory,
        gaussians=gaussians,
        principal_queries=tuple(_queries(entry, parents) for entry in memory.principal_queries),
        visibility=memory.visibility[parents],
        objects=things,
        walks=tuple(walks),
    )


def _queries(entry: PrincipalQueries, parents: Int[Tensor, " M"]) -> PrincipalQueries:
    recipe, linear = entry.recipe, entry.linear
    return replace(
        entry,
        queries=entry.queries[parents],
        norms=entry.norms[parents],
        consistency=entry.consistency[parents],
        recipe=None if recipe is None else replace(recipe, correction=recipe.correction[parents]),
        linear=None if linear is None else LinearHead(linear.bank, linear.index[parents], linear.weights[parents]),
    )


def _lifted(sums: Lifted, parents: Int[Tensor, " M"]) -> Lifted:
    return Lifted(sums.sums[parents], sums.weights[parents], sums.seen[parents])
