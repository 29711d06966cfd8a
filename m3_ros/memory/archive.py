"""A memory on disk: one folder with memory.json and safetensors files.

memory.json names every data file with its checksum, and data files carry a piece of that checksum in their names. A
save writes new data files beside the old ones and then replaces memory.json in one step, so that a crash at any
moment leaves either the old memory or the new.
"""

import dataclasses
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m3_ros.errors import MemoryFormatError
from m3_ros.geometry.camera import Camera
from m3_ros.memory.attention import MemoryAttention
from m3_ros.memory.components import Coverage, MemoryBank
from m3_ros.memory.lift import Lifted
from m3_ros.memory.spatial_memory import Keyframes, PrincipalQueries, Provenance, Recipe, SpatialMemory, Walk
from m3_ros.splat.gaussians import Gaussians

FORMAT = "m3_ros memory"
VERSION = 2
MANIFEST = "memory.json"
Manifest = dict[str, Any]


def _without_walks(manifest: Manifest) -> Manifest:
    """Version 1 knew no walks: its queries stand for themselves, and nothing can be taken away from them."""
    return manifest | {"version": 2, "walks": []}


MIGRATIONS: Mapping[int, Callable[[Manifest], Manifest]] = {1: _without_walks}
"""Turns a manifest of version v into one of version v + 1; one entry for each version that was ever released."""

_DATA_FILE = re.compile(r"[a-z0-9_]+-[0-9a-f]{16}\.safetensors")
_TEMPORARY = ".writing-"


def save_memory(memory: SpatialMemory, path: Path) -> None:
    """Write a memory to the folder `path`, atomically.

    Raises:
        MemoryFormatError: the folder cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        files = {role: _write_data(path, role, tensors) for role, tensors in _tensors(memory).items()}
        text = json.dumps(_manifest(memory, files), indent=1, sort_keys=True, allow_nan=False)
        _replace(path / MANIFEST, text.encode())
    except OSError as error:
        raise MemoryFormatError(f"the memory cannot be written to {path}: {error.strerror or error}") from error
    _remove_unnamed(path, {entry["name"] for entry in files.values()})


def load_memory(path: Path) -> SpatialMemory:
    """Read a memory, checking every file against its checksum.

    Raises:
        MemoryFormatError: the folder is missing, partial, corrupt, or of a newer version; the message names the fault.
    """
    manifest = migrate(_read_manifest(path))
    try:
        files = {role: _read_data(path, entry) for role, entry in manifest["files"].items()}
        return _assemble(manifest, files)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise MemoryFormatError(
            f"{path / MANIFEST} is corrupt: {type(error).__name__} {error}: train the memory again or restore a copy"
        ) from error


def migrate(manifest: Manifest, migrations: Mapping[int, Callable[[Manifest], Manifest]] = MIGRATIONS) -> Manifest:
    """Bring a manifest of an older version up to today's, step by step.

    Raises:
        MemoryFormatError: it is newer than this package, or no step leads on from its version.
    """
    version = manifest.get("version")
    if not isinstance(version, int):
        raise MemoryFormatError(f"{MANIFEST} has no version number; got {version!r}: it is corrupt, or not a memory")
    if version > VERSION:
        raise MemoryFormatError(
            f"the memory has format version {version}, this m3_ros reads up to {VERSION}: update m3_ros"
        )
    while version < VERSION:
        if version not in migrations:
            raise MemoryFormatError(
                f"the memory has format version {version}, which cannot be brought to {VERSION}: train it again"
            )
        manifest = migrations[version](manifest)
        version += 1
    return manifest


def _tensors(memory: SpatialMemory) -> dict[str, dict[str, Tensor]]:
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
        groups[f"encoder_{i}"] = _entry_tensors(entry)
    for i, walk in enumerate(memory.walks):
        groups[f"walk_{i}"] = _walk_tensors(walk)
    return groups


def _entry_tensors(entry: PrincipalQueries) -> dict[str, Tensor]:
    tensors = {
        "queries": entry.queries.half(),
        "norms": entry.norms.float(),
        "consistency": entry.consistency.half(),
        "W": entry.attention.W.float(),
        "components": _halved(entry.attention.bank.components),
    }
    if entry.attention.own_keys is not None:
        tensors["own_keys"] = entry.attention.own_keys.float()
    if entry.recipe is not None:
        tensors |= {
            "to_query": entry.recipe.to_query.float(),
            "correction": entry.recipe.correction.half(),
            "min_weight": torch.tensor(entry.recipe.min_weight, dtype=torch.float64),
        }
    return tensors


def _walk_tensors(walk: Walk) -> dict[str, Tensor]:
    tensors = {"seen": walk.lifted[0].seen.float()}
    for i, lifted in enumerate(walk.lifted):
        tensors |= {f"sums_{i}": lifted.sums.float(), f"weights_{i}": lifted.weights.float()}
    return tensors


def _halved(x: Tensor) -> Tensor:
    """Return a tensor in half precision where that loses nothing: cached features and what is fitted are rounded."""
    half = x.half()
    return half if torch.equal(half.float(), x.float()) else x.float()


def _manifest(memory: SpatialMemory, files: Mapping[str, Mapping[str, Any]]) -> Manifest:
    psnr_db = memory.provenance.psnr_db
    return {
        "format": FORMAT,
        "version": VERSION,
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
            }
            for i, entry in enumerate(memory.principal_queries)
        ],
        "walks": [
            {"file": f"walk_{i}", "name": walk.name, "keyframes": walk.keyframes} for i, walk in enumerate(memory.walks)
        ],
        "files": files,
    }


def _write_data(folder: Path, role: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    from safetensors.torch import save

    data = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    name = f"{role}-{digest[:16]}.safetensors"
    _replace(folder / name, data)
    return {"name": name, "sha256": digest, "bytes": len(data)}


def _replace(path: Path, data: bytes) -> None:
    """Put a file in place whole or not at all, on the disk and not only in its cache."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_TEMPORARY)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _remove_unnamed(folder: Path, named: set[str]) -> None:
    """Delete what earlier or interrupted saves left; files that are not ours stay."""
    for file in folder.iterdir():
        ours = _DATA_FILE.fullmatch(file.name) or file.name.startswith(_TEMPORARY)
        if ours and file.name not in named:
            file.unlink(missing_ok=True)


def _read_manifest(path: Path) -> Manifest:
    if not path.is_dir():
        raise MemoryFormatError(f"there is no memory at {path}: give the folder that training wrote")
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise MemoryFormatError(
            f"{path} is partial: it holds no {MANIFEST}: it is not a memory, or its first save was cut short"
        ) from error
    except (OSError, ValueError) as error:
        raise MemoryFormatError(f"{path / MANIFEST} is corrupt: {error}: restore a copy or train again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise MemoryFormatError(f"{path / MANIFEST} is not the manifest of a memory: its format should be {FORMAT!r}")
    return manifest


def _read_data(folder: Path, entry: Mapping[str, Any]) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    name = str(entry["name"])
    if not _DATA_FILE.fullmatch(name):
        raise MemoryFormatError(f"{folder / MANIFEST} is corrupt: {name!r} is not the name of a data file")
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise MemoryFormatError(
            f"{folder} is partial: {name} cannot be read ({error.strerror}): restore a copy or train again"
        ) from error
    if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise MemoryFormatError(
            f"{folder / name} is corrupt: its checksum is not the one in {MANIFEST}: restore a copy or train again"
        )
    try:
        return dict(load(data))
    except SafetensorError as error:
        raise MemoryFormatError(f"{folder / name} is corrupt: {error}: restore a copy or train again") from error


def _assemble(manifest: Manifest, files: Mapping[str, Mapping[str, Tensor]]) -> SpatialMemory:
    stored, frames = files["gaussians"], files["keyframes"]
    provenance = dict(manifest["provenance"])
    if provenance["psnr_db"] is None:
        provenance["psnr_db"] = math.nan
    cameras = tuple(Camera(int(w), int(h), *rest) for w, h, *rest in frames["intrinsics"].tolist())
    return SpatialMemory(
        gaussians=Gaussians(**{field.name: stored[field.name] for field in dataclasses.fields(Gaussians)}),
        principal_queries=tuple(_queries(entry, files[entry["file"]]) for entry in manifest["encoders"]),
        visibility=stored["visibility"],
        keyframes=Keyframes(frames["stamps_ns"].numpy(), frames["T_map_camera"].numpy(), cameras),
        provenance=Provenance(**provenance),
        map_frame=str(manifest["map_frame"]),
        walks=tuple(_walk(entry, files[entry["file"]], len(manifest["encoders"])) for entry in manifest["walks"]),
    )


def _walk(entry: Mapping[str, Any], stored: Mapping[str, Tensor], encoders: int) -> Walk:
    lifted = (Lifted(stored[f"sums_{i}"], stored[f"weights_{i}"], stored["seen"]) for i in range(encoders))
    return Walk(str(entry["name"]), int(entry["keyframes"]), tuple(lifted))


def _queries(entry: Mapping[str, Any], stored: Mapping[str, Tensor]) -> PrincipalQueries:
    bank = MemoryBank(
        components=stored["components"].float(),
        encoder_name=entry["name"],
        encoder_version=entry["encoder_version"],
        theta=entry["theta"],
        coverage=Coverage(**entry["coverage"]),
        capped=entry["capped"],
        method=entry["method"],
    )
    attention = MemoryAttention(bank, stored["W"], entry["tau"], stored.get("own_keys"))
    recipe = None
    if "to_query" in stored:
        recipe = Recipe(stored["to_query"], stored["correction"], float(stored["min_weight"]))
    return PrincipalQueries(stored["queries"], stored["norms"], stored["consistency"].float(), attention, recipe)
