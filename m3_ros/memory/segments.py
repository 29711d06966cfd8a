"""Segments: Gaussians that touch and are remembered alike. Codes and geometry only, no words.

Codes are evened out among neighbours; kinds of matter are the clusters of a sample spread over all surfaces; every
Gaussian takes the kind that its neighbourhood votes for; touching Gaussians of one kind are a segment; then touching
segments that are alike are joined, and specks go to the neighbour that is most like them.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from m3_ros.features.encoder import unit
from m3_ros.memory.matter import joined
from m3_ros.memory.spatial_memory import PrincipalQueries, SpatialMemory

_CHUNK = 8192


@dataclass(frozen=True)
class SegmentSettings:
    """How Gaussians become segments."""

    min_opacity: Annotated[float, "0..1"] = 0.1
    """More transparent Gaussians are no matter."""
    neighbours: Annotated[int, "1..64"] = 12
    """Neighbours of each Gaussian that it is joined with."""
    reach_m: Annotated[float, "0.01..1"] = 0.12
    """Farther ones are no neighbours [m]."""
    smoothing: Annotated[int, "0..10"] = 2
    """Times that codes, and then votes, are evened out among neighbours."""
    kind_cosine: Annotated[float, "0..1"] = 0.7
    """Codes this alike on average are one kind of matter."""
    merge_cosine: Annotated[float, "0..1"] = 0.85
    """Touching segments whose mean codes are this alike are one."""
    least: Annotated[int, "1.."] = 20
    """Fewer Gaussians are a speck."""
    sample: Annotated[int, "2..10000"] = 2500
    """Gaussians that the kinds of matter are chosen from."""
    temperature: Annotated[float, "0..1"] = 0.07
    """Temperature of the votes for the kinds [cosine]."""
    seed: int = 0
    """Seed of the sample."""


@dataclass(frozen=True, eq=False)
class Matter:
    """The Gaussians that make up surfaces, one row each."""

    index: Int[NDArray[np.int64], " m"]
    """Their numbers in the memory."""
    points: Float[NDArray[np.float64], "m 3"]
    """Centres [m]."""
    weight: Float[NDArray[np.float64], " m"]
    """Opacity times visibility."""
    codes: Float[NDArray[np.float32], "m s"]
    """What every encoder remembers of them, side by side; unit rows, zero where nothing is."""

    @classmethod
    def of(cls, memory: SpatialMemory, min_opacity: float) -> "Matter":
        """Take the matter of a memory."""
        solid = memory.seen & (memory.gaussians.opacities >= min_opacity)
        index = solid.nonzero()[:, 0]
        weight = (memory.gaussians.opacities * memory.visibility)[index]
        codes = torch.cat([codes_of(entry, index) for entry in memory.principal_queries], dim=1)
        points = memory.gaussians.means[index].double().numpy()
        return cls(index.numpy(), points, weight.double().numpy(), unit(codes).numpy())


@torch.inference_mode()
def codes_of(entry: PrincipalQueries, index: Int[torch.Tensor, " m"]) -> Float[torch.Tensor, "m s"]:
    """Return what an encoder remembers of some Gaussians as unit vectors of the queries' length.

    These are the features read out of the bank, in coordinates along an orthonormal basis of the rows of W: their
    cosines are those of the features, and nothing of the features' length is formed.
    """
    basis, _ = torch.linalg.qr(entry.attention.W.T)
    folded = entry.attention.bank.components @ basis
    queries = entry.queries[index].float()
    read = [entry.attention.weights(queries[i : i + _CHUNK]) @ folded for i in range(0, len(queries), _CHUNK)]
    codes = torch.cat(read) if read else torch.zeros(0, folded.shape[1])
    return unit(codes) * (queries != 0).any(dim=1, keepdim=True)


def segments(matter: Matter, settings: SegmentSettings) -> Int[NDArray[np.int64], " m"]:
    """Number the segments that Gaussians belong to, from 0."""
    if len(matter.index) == 0:
        return np.zeros(0, np.int64)
    from scipy.sparse import csr_matrix

    row, column = _neighbours(matter.points, settings)
    count = len(matter.index)
    touching = csr_matrix((np.maximum(matter.weight[column], 1e-9), (row, column)), shape=(count, count))
    averaging = csr_matrix(touching.multiply(1 / np.asarray(touching.sum(axis=1))))
    codes = matter.codes.astype(np.float64)
    for _ in range(settings.smoothing):
        codes = _unit(averaging @ codes)
    votes = np.exp((codes @ _kinds(matter.points, codes, settings).T - 1) / settings.temperature)
    votes /= votes.sum(axis=1, keepdims=True)
    for _ in range(settings.smoothing):
        votes = averaging @ votes
    kind = votes.argmax(axis=1)
    alike = kind[row] == kind[column]
    label = joined(row[alike], column[alike], count)
    for _ in range(2):
        label = _merged(label, codes * matter.weight[:, None], row, column, settings)
    return label


def _neighbours(
    points: Float[NDArray[np.float64], "m 3"], settings: SegmentSettings
) -> tuple[Int[NDArray[np.int64], " e"], Int[NDArray[np.int64], " e"]]:
    """Return the pairs of points that touch; each touches itself."""
    from scipy.spatial import cKDTree

    tree = cKDTree(points)
    distance, other = tree.query(points, settings.neighbours + 1, distance_upper_bound=settings.reach_m)
    near = np.isfinite(distance)
    row = np.repeat(np.arange(len(points)), near.sum(axis=1))
    return row.astype(np.int64), np.asarray(other)[near].astype(np.int64)


def _kinds(
    points: Float[NDArray[np.float64], "m 3"], codes: Float[NDArray[np.float64], "m s"], settings: SegmentSettings
) -> Float[NDArray[np.float64], "k s"]:
    """Return the mean codes of the kinds of matter: average linkage on a sample with one Gaussian a neighbourhood."""
    from scipy.cluster.hierarchy import fcluster, linkage

    cells = np.floor(points / settings.reach_m).astype(np.int64)
    _, first = np.unique(cells, axis=0, return_index=True)
    first = first[(codes[first] != 0).any(axis=1)]
    chosen = codes[np.random.default_rng(settings.seed).permutation(first)[: settings.sample]]
    if len(chosen) < 2:
        return chosen if len(chosen) else codes[:1]
    cluster = fcluster(linkage(chosen, "average", "cosine"), 1 - settings.kind_cosine, "distance").astype(np.int64)
    return _unit(_sums(cluster - 1, chosen))


def _merged(
    label: Int[NDArray[np.int64], " m"],
    weighted: Float[NDArray[np.float64], "m s"],
    row: Int[NDArray[np.int64], " e"],
    column: Int[NDArray[np.int64], " e"],
    settings: SegmentSettings,
) -> Int[NDArray[np.int64], " m"]:
    """Join touching segments that are alike, and each speck with the neighbour that it is most like."""
    a, b = label[row], label[column]
    pairs = np.unique(np.stack([a, b], axis=1)[a != b], axis=0)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    mean = _unit(_sums(label, weighted))
    cosine = (mean[pairs[:, 0]] * mean[pairs[:, 1]]).sum(axis=1)
    join = cosine >= settings.merge_cosine
    order = np.lexsort((cosine, pairs[:, 0]))
    last = np.r_[np.diff(pairs[order, 0]) != 0, np.ones(min(1, len(order)), bool)]
    nearest = order[last]
    join[nearest[np.bincount(label)[pairs[nearest, 0]] < settings.least]] = True
    whole: Int[NDArray[np.int64], " m"] = joined(pairs[join, 0], pairs[join, 1], len(mean))[label]
    return whole


def _sums(group: Int[NDArray[np.int64], " n"], rows: Float[NDArray[np.float64], "n s"]) -> NDArray[np.float64]:
    return np.stack([np.bincount(group, column) for column in rows.T], axis=1)


def _unit(rows: Float[NDArray[np.float64], "n s"]) -> Float[NDArray[np.float64], "n s"]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))
