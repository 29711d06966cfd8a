"""What a saved memory holds: tensors in groups, one a file, and the rest as JSON values; and back again."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m3_ros.geometry.box import OrientedBox
from m3_ros.geometry.camera import Camera
from m3_ros.memory.attention import MemoryAttention
from m3_ros.memory.components import Coverage, MemoryBank
from m3_ros.memory.lift import Lifted
from m3_ros.memory.linear_head import LinearHead
from m3_ros.memory.provenance import Provenance
from m3_ros.memory.spatial_memory import (
    Keyframes,
    MemoryObject,
    PrincipalQueries,
    QueryPrecision,
    Recipe,
    SpatialMemory,
    Walk,
)
from m3_ros.memory.walks import composed_queries, total
from m3_ros.splat.gaussians import Gaussians

Manifest = dict[str, Any]
Groups = Mapping[str, Mapping[str, Tensor]]
"""Tensors by name, by the file that they are in."""


def tensors(memory: SpatialMemory, precision: QueryPrecision = "float16") -> dict[str, dict[str, Tensor]]:
    """Return the tensors of a memory by group and name."""
    frames, g = memory.keyframes, memory.gaussians
    intrinsics = [[c.width, c.height, c.fx, c.fy, c.cx, c.cy] for c in frames.cameras]
    groups = {
        "gaussians": {field.name: getattr(g, field.name).float() for field in dataclasses.fields(Gaussians)}
        | {"visibility": memory.visibility.float()},
        "keyframes": {
            "stamps_ns": torch.from_numpy(np.asarray(frames.stamps_ns, np.int64)),
            "T_map_camera": torch.from_numpy(np.asarray(frames.T_map_camera, np.float64).reshape(-1, 4, 4)),
            "intrinsics": torch.tensor(intrinsics, dtype=torch.float64).reshape(-1, 6),
        },
    }
    for i, entry in enumerate(memory.principal_queries):
        groups[f"encoder_{i}"] = _entry_tensors(entry, precision, with_queries=not _follow_from_sums(memory, i))
    for i, walk in enumerate(memory.walks):
        groups[f"walk_{i}"] = _walk_tensors(walk)
    if memory.objects is not None:
        groups["objects"] = _object_tensors(memory.objects, len(g))
    return groups


def _follow_from_sums(memory: SpatialMemory, encoder: int) -> bool:
    """Tell whether the queries of an encoder are, bit for bit, what the sums of the walks give: they need no bytes."""
    entry = memory.principal_queries[encoder]
    if entry.recipe is None or not memory.walks:
        return False
    return torch.equal(composed_queries(entry.recipe, total(memory.walks, encoder)), entry.queries)


def _entry_tensors(entry: PrincipalQueries, precision: QueryPrecision, with_queries: bool) -> dict[str, Tensor]:
    bank, recipe = entry.attention.bank, entry.recipe
    queries = _query_tensors(entry, precision) if with_queries else {"norms": entry.norms.float()}
    tensors = queries | {
        "consistency": entry.consistency.half(),
        "W": entry.attention.W.float(),
        "components": _halved(bank.components),
    }
    if entry.attention.own_keys is not None:
        tensors["own_keys"] = entry.attention.own_keys.float()
    if bank.sources is not None:
        tensors["sources"] = bank.sources.long()
    if recipe is not None:
        tensors |= {
            "to_query": recipe.to_query.float(),
            "correction": recipe.correction.half(),
            "min_weight": torch.tensor(recipe.min_weight, dtype=torch.float64),
        }
    if entry.linear is not None:
        index = entry.linear.index.to(torch.int16 if len(bank) < 2**15 else torch.int32)
        weights, scales = _eight_bits(entry.linear.weights)
        tensors |= {"code_index": index, "code_weights": weights, "code_scales": scales}
    return tensors


def _query_tensors(entry: PrincipalQueries, precision: QueryPrecision) -> dict[str, Tensor]:
    if precision == "float16":
        return {"queries": entry.queries.half(), "norms": entry.norms.float()}
    rounded, scales = _eight_bits(entry.queries)
    norms = entry.attention.norms(_from_eight_bits(rounded, scales))
    return {"queries": rounded, "query_scales": scales, "norms": norms.float()}


def _eight_bits(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Round rows to 255 levels, each row by its own largest number."""
    scales = rows.float().abs().amax(dim=1).clamp(min=1e-30) / 127
    return (rows.float() / scales[:, None]).round().to(torch.int8), scales


def _from_eight_bits(rounded: Tensor, scales: Tensor) -> Tensor:
    return rounded.float() * scales.float()[:, None]


def _object_tensors(objects: Sequence[MemoryObject], count: int) -> dict[str, Tensor]:
    """Return the objects as one number per Gaussian, -1 for none, and a row per object."""
    of_gaussian = torch.full((count,), -1, dtype=torch.int32)
    for thing in objects:
        of_gaussian[thing.gaussians] = thing.id

    def rows(values: Sequence[Any], *shape: int) -> Tensor:
        return torch.from_numpy(np.array(values, np.float64).reshape(-1, *shape))

    tensors = {
        "of_gaussian": of_gaussian,
        "centres": rows([thing.centre for thing in objects], 3),
        "covariances": rows([thing.covariance for thing in objects], 3, 3),
        "T_map_box": rows([thing.box.T_map_box for thing in objects], 4, 4),
        "sizes": rows([thing.box.size for thing in objects], 3),
        "last_seen_ns": torch.tensor([thing.last_seen_ns for thing in objects], dtype=torch.int64),
    }
    for i, codes in enumerate(zip(*(thing.codes for thing in objects), strict=True)):
        tensors[f"codes_{i}"] = torch.stack(codes).float()
    return tensors


def _walk_tensors(walk: Walk) -> dict[str, Tensor]:
    """Return the sums of a walk; an encoder that had a feature at every pixel needs no weights of its own."""
    tensors = {"seen": walk.lifted[0].seen.float()}
    for i, lifted in enumerate(walk.lifted):
        tensors[f"sums_{i}"] = lifted.sums.float()
        if not torch.equal(lifted.weights, lifted.seen):
            tensors[f"weights_{i}"] = lifted.weights.float()
    return tensors


def _halved(x: Tensor) -> Tensor:
    """Return a tensor in half precision where that loses nothing: cached features and what is fitted are rounded."""
    half = x.half()
    return half if torch.equal(half.float(), x.float()) else x.float()


def described(memory: SpatialMemory) -> Manifest:
    """Return what is not a tensor."""
    psnr_db = memory.provenance.psnr_db
    return {
        "map_frame": memory.map_frame,
        "provenance": dataclasses.asdict(memory.provenance) | {"psnr_db": psnr_db if math.isfinite(psnr_db) else None},
        "encoders": [
            {
                "file": f"encoder_{i}",
                "name": entry.encoder_name,
                "encoder_version": entry.encoder_version,
                "tau": entry.attention.tau,
                "theta": entry.attention.bank.theta,
                "capped": entry.attention.bank.capped,
                "method": entry.attention.bank.method,
                "coverage": dataclasses.asdict(entry.attention.bank.coverage),
                "captions": list(entry.attention.bank.captions),
                "recipe": None
                if entry.recipe is None
                else {"lift_width": entry.recipe.lift_width, "code_length": entry.recipe.code_length},
            }
            for i, entry in enumerate(memory.principal_queries)
        ],
        "walks": [
            {"file": f"walk_{i}", "name": walk.name, "keyframes": walk.keyframes} for i, walk in enumerate(memory.walks)
        ],
        "objects": None
        if memory.objects is None
        else [
            {"name": thing.name, "name_probability": thing.name_probability, "views": list(thing.views)}
            for thing in memory.objects
        ],
    }


def assemble(manifest: Manifest, files: Groups) -> SpatialMemory:
    """Put a memory together again."""
    stored, frames = files["gaussians"], files["keyframes"]
    provenance = dict(manifest["provenance"])
    if provenance["psnr_db"] is None:
        provenance["psnr_db"] = math.nan
    cameras = tuple(Camera(int(w), int(h), *rest) for w, h, *rest in frames["intrinsics"].tolist())
    walks = tuple(_walk(entry, files[entry["file"]], len(manifest["encoders"])) for entry in manifest["walks"])
    return SpatialMemory(
        gaussians=Gaussians(**{field.name: stored[field.name] for field in dataclasses.fields(Gaussians)}),
        principal_queries=tuple(
            _queries(entry, files[entry["file"]], walks, i) for i, entry in enumerate(manifest["encoders"])
        ),
        visibility=stored["visibility"],
        keyframes=Keyframes(frames["stamps_ns"].numpy(), frames["T_map_camera"].numpy(), cameras),
        provenance=Provenance(**provenance),
        map_frame=str(manifest["map_frame"]),
        objects=None if manifest["objects"] is None else _objects(manifest, files["objects"]),
        walks=walks,
    )


def _objects(manifest: Manifest, stored: Mapping[str, Tensor]) -> tuple[MemoryObject, ...]:
    codes = [stored[f"codes_{i}"] for i in range(len(manifest["encoders"]))] if manifest["objects"] else []
    return tuple(
        MemoryObject(
            id=i,
            centre=stored["centres"][i].numpy(),
            covariance=stored["covariances"][i].numpy(),
            box=OrientedBox(stored["T_map_box"][i].numpy(), stored["sizes"][i].numpy()),
            gaussians=stored["of_gaussian"] == i,
            codes=tuple(of_encoder[i] for of_encoder in codes),
            views=tuple(int(view) for view in entry["views"]),
            last_seen_ns=int(stored["last_seen_ns"][i]),
            name=str(entry["name"]),
            name_probability=float(entry["name_probability"]),
        )
        for i, entry in enumerate(manifest["objects"])
    )


def _walk(entry: Mapping[str, Any], stored: Mapping[str, Tensor], encoders: int) -> Walk:
    seen = stored["seen"]
    lifted = (Lifted(stored[f"sums_{i}"], stored.get(f"weights_{i}", seen), seen) for i in range(encoders))
    return Walk(str(entry["name"]), int(entry["keyframes"]), tuple(lifted))


def _queries(
    entry: Mapping[str, Any], stored: Mapping[str, Tensor], walks: Sequence[Walk], encoder: int
) -> PrincipalQueries:
    bank = MemoryBank(
        components=stored["components"].float(),
        encoder_name=entry["name"],
        encoder_version=entry["encoder_version"],
        theta=entry["theta"],
        coverage=Coverage(**entry["coverage"]),
        capped=entry["capped"],
        method=entry["method"],
        sources=stored.get("sources"),
        captions=tuple(str(caption) for caption in entry["captions"]),
    )
    if bank.captions and len(bank.captions) != len(bank):
        raise ValueError(f"{len(bank.captions)} captions for {len(bank)} components")
    attention = MemoryAttention(bank, stored["W"], entry["tau"], stored.get("own_keys"))
    recipe = linear = None
    if "to_query" in stored:
        fixed = entry["recipe"]
        recipe = Recipe(
            stored["to_query"], stored["correction"], float(stored["min_weight"]),
            lift_width=int(fixed["lift_width"]), code_length=int(fixed["code_length"]),
        )  # fmt: skip
    if "code_index" in stored:
        weights = _from_eight_bits(stored["code_weights"], stored["code_scales"])
        linear = LinearHead(bank, stored["code_index"].int(), weights)
    if "query_scales" in stored:
        queries = _from_eight_bits(stored["queries"], stored["query_scales"]).half()
    elif "queries" in stored or recipe is None:
        queries = stored["queries"]
    else:
        queries = composed_queries(recipe, total(walks, encoder))
    return PrincipalQueries(queries, stored["norms"], stored["consistency"].float(), attention, recipe, linear)
