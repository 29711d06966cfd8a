"""Gaussians to objects: relevant matter that touches is one thing, with a place, a size and an amount of evidence."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.geometry.box import OrientedBox, upright_box
from m3_ros.memory import SpatialMemory
from m3_ros.memory.matter import Voxels, in_plain_view, joined, spread
from m3_ros.query.relevancy import Relevancy
from m3_ros.query.settings import GroundingSettings


@dataclass(frozen=True, eq=False)
class Evidence:
    """What speaks for an object; the input of the calibration."""

    relevancy: float
    """Mean relevancy over the object's surface, in [0, 1]."""
    peak: float
    """Relevancy of the object's best tenth, in [0, 1]."""
    cosine: float
    """Cosine of the best tenth to the words."""
    area_m2: float
    """Surface, as counted in fine voxels [m^2]."""
    consistency: float
    """Mean agreement between the views, in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """One object that the words may mean."""

    gaussians: Bool[Tensor, " N"]
    """Its Gaussians."""
    centre: Float[NDArray[np.float64], "3"]
    """Centre of its box [m]."""
    covariance: Float[NDArray[np.float64], "3 3"]
    """Spread of its matter [m^2]."""
    box: OrientedBox
    """Upright box."""
    evidence: Evidence
    """What speaks for it."""


def propose(
    memory: SpatialMemory,
    relevancy: Relevancy,
    consistency: Float[Tensor, " N"],
    settings: GroundingSettings,
) -> list[Proposal]:
    """Group the relevant Gaussians into objects, most evidence first.

    What counts as relevant goes by the most relevant matter there is: whether that is enough for an answer is for the
    calibration to say. Matter is counted in fine voxels, each with the relevancy of its most visible Gaussians, so
    that neither many small Gaussians nor few large ones sway the result. Specks and things as wide as the building
    are left out.
    """
    p = relevancy.probability
    solid = memory.seen & (memory.gaussians.opacities >= settings.min_opacity)
    peak = _peak(p[solid], settings.min_voxels)
    if peak < settings.least:
        return []
    seed = min(settings.seed, settings.seed_share * peak)
    index = (solid & (p >= min(settings.grow, settings.grow_share * peak))).nonzero()[:, 0].numpy()
    surface = _Surface.of(memory, relevancy, consistency, index, settings.fine_voxel_m)
    groups = connected(surface.points, settings.voxel_m)
    proposals = []
    for group in range(int(groups.max()) + 1):
        members = np.flatnonzero(groups == group)
        if len(members) >= settings.min_voxels and surface.p[members].max() >= seed:
            proposal = _proposal(surface, members, len(memory.gaussians))
            if proposal.box.size.max() <= settings.max_extent_m:
                proposals.append(proposal)
    proposals.sort(key=lambda o: o.evidence.relevancy * o.evidence.area_m2, reverse=True)
    return proposals[: settings.max_candidates]


def _peak(p: Float[Tensor, " m"], rank: int) -> float:
    """Return the relevancy of the most relevant matter; single Gaussians do not make it."""
    return float(p.topk(min(len(p), 5 * rank)).values[-1]) if len(p) else 0.0


def connected(points: Float[NDArray[np.float64], "n 3"], voxel_m: float) -> Int[NDArray[np.int64], " n"]:
    """Number the groups of points that chains of touching voxels (26 neighbours) join."""
    voxels = Voxels.around(points, voxel_m)
    keys = voxels.keys
    cells = np.stack(np.unravel_index(keys, voxels.shape), axis=1)
    rows, columns = [], []
    for offset in np.ndindex(3, 3, 3):
        neighbour = np.ravel_multi_index(tuple((cells + np.array(offset) - 1).T), voxels.shape)
        place = np.searchsorted(keys, neighbour).clip(max=len(keys) - 1)
        hit = keys[place] == neighbour
        rows.append(np.flatnonzero(hit))
        columns.append(place[hit])
    label = joined(np.concatenate(rows), np.concatenate(columns), len(keys))
    return np.asarray(label[voxels.of_point], np.int64)


@dataclass(frozen=True, eq=False)
class _Surface:
    """Relevant matter, one row per fine voxel."""

    points: Float[NDArray[np.float64], "n 3"]
    p: Float[NDArray[np.float64], " n"]
    cosine: Float[NDArray[np.float64], " n"]
    consistency: Float[NDArray[np.float64], " n"]
    visibility: Float[NDArray[np.float64], " n"]
    members: list[Int[NDArray[np.int64], " m"]]
    voxel_m: float

    @classmethod
    def of(
        cls,
        memory: SpatialMemory,
        relevancy: Relevancy,
        consistency: Float[Tensor, " N"],
        index: Int[NDArray[np.int64], " m"],
        voxel_m: float,
    ) -> "_Surface":
        """Average the chosen Gaussians over fine voxels, weighed by opacity and visibility."""
        means = memory.gaussians.means.numpy()[index].astype(np.float64)
        weight = (memory.gaussians.opacities * memory.visibility).numpy()[index].astype(np.float64)
        voxels = Voxels.around(means, voxel_m)
        total = voxels.total(weight)

        def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(voxels.total(weight * values) / total)

        points = np.stack([mean(means[:, axis]) for axis in range(3)], axis=1)
        order = np.argsort(voxels.of_point, kind="stable")
        members = np.split(index[order], np.cumsum(np.bincount(voxels.of_point, minlength=len(voxels)))[:-1])
        picked = [x.numpy()[index].astype(np.float64) for x in (relevancy.probability, relevancy.cosine, consistency)]
        return cls(points, mean(picked[0]), mean(picked[1]), mean(picked[2]), total, members, voxel_m)


def _proposal(surface: _Surface, members: Int[NDArray[np.int64], " m"], count: int) -> Proposal:
    p, points = surface.p[members], surface.points[members]
    box = upright_box(points[in_plain_view(surface.visibility[members])])
    best = p >= np.quantile(p, 0.9)
    mask = torch.zeros(count, dtype=torch.bool)
    mask[torch.from_numpy(np.concatenate([surface.members[m] for m in members]))] = True
    covariance = spread(points, p, surface.voxel_m)
    evidence = Evidence(
        relevancy=float(p.mean()),
        peak=float(p[best].mean()),
        cosine=float(surface.cosine[members][best].mean()),
        area_m2=len(members) * surface.voxel_m**2,
        consistency=float(surface.consistency[members].mean()),
    )
    return Proposal(mask, box.centre, covariance, box, evidence)
