"""A memory on disk: one folder with memory.json and safetensors files.

memory.json holds a checksum of itself and of every data file, and data files carry a piece of theirs in their names. A
save writes new data files beside the old ones and then replaces memory.json in one step, so that a crash at any
moment leaves either the old memory or the new.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from m3_ros.errors import MemoryFormatError
from m3_ros.files import TEMPORARY, write_whole
from m3_ros.memory.archive_content import Manifest, assemble, described, tensors
from m3_ros.memory.spatial_memory import QueryPrecision, SpatialMemory

FORMAT = "m3_ros memory"
VERSION = 5
MANIFEST = "memory.json"


def _from_version_1(manifest: Manifest) -> Manifest:
    """Version 1 knew no walks, objects or captions: nothing can be taken away, and objects are looked for anew."""
    encoders = [entry | {"captions": []} for entry in manifest["encoders"]]
    return manifest | {"version": 2, "encoders": encoders, "walks": [], "objects": None}


def _from_version_2(manifest: Manifest) -> Manifest:
    """Version 2 had no checksum of the manifest; it lifted at the default width of its day, and kept no linear head."""
    recipe = {"lift_width": 160, "code_length": 0}
    return manifest | {"version": 3, "encoders": [entry | {"recipe": recipe} for entry in manifest["encoders"]]}


def _from_version_3(manifest: Manifest) -> Manifest:
    """Version 3 held principal queries also where they follow from the sums of the walks; they are read as before."""
    return manifest | {"version": 4}


def _from_version_4(manifest: Manifest) -> Manifest:
    """Version 4 held the weights of an encoder also where it saw every pixel; they are read as before."""
    return manifest | {"version": 5}


MIGRATIONS: Mapping[int, Callable[[Manifest], Manifest]] = {
    1: _from_version_1,
    2: _from_version_2,
    3: _from_version_3,
    4: _from_version_4,
}
"""Turns a manifest of version v into one of version v + 1; one entry for each version that was ever released."""

_DATA_FILE = re.compile(r"[a-z0-9_]+-[0-9a-f]{16}\.safetensors")
_SEAL = "sha256"
"""Key of the checksum of all else in the manifest."""


def save_memory(memory: SpatialMemory, path: Path, query_precision: QueryPrecision = "float16") -> None:
    """Write a memory to the folder `path`, atomically.

    Args:
        memory: what to write.
        path: folder; a memory already there is replaced only when the new one is whole.
        query_precision: how principal queries are stored; those that follow from the sums of the walks are not.

    Raises:
        MemoryFormatError: the folder cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        files = {role: _write_data(path, role, group) for role, group in tensors(memory, query_precision).items()}
        manifest = described(memory) | {"format": FORMAT, "version": VERSION, "files": files}
        _sync(path)
        write_whole(path / MANIFEST, _text(manifest | {_SEAL: _checksum(manifest)}))
        _sync(path)
    except OSError as error:
        raise MemoryFormatError(f"the memory cannot be written to {path}: {error.strerror or error}") from error
    _remove_unnamed(path, {entry["name"] for entry in files.values()})


def load_memory(path: Path) -> SpatialMemory:
    """Read a memory, checking every file against its checksum.

    Raises:
        MemoryFormatError: the folder is missing, partial, corrupt, or of a newer version; the message names the fault.
    """
    manifest = _read_manifest(path)
    try:
        migrated = migrate(manifest)
        _check_seal(path, manifest)
        files = {role: _read_data(path, entry) for role, entry in migrated["files"].items()}
        return assemble(migrated, files)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise MemoryFormatError(
            f"{path / MANIFEST} is corrupt: {type(error).__name__} {error}: train the memory again or restore a copy"
        ) from error


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a saved memory."""

    bytes: int
    """Bytes that it takes."""
    dtype: str
    """How its numbers are stored, as safetensors calls it: F32, F16, I8 ..."""


def stored_tensors(path: Path) -> dict[str, dict[str, StoredTensor]]:
    """Return what a saved memory spends its bytes on: its tensors by role of their file and by name.

    Reads the heads of the files only and checks no checksum: `load_memory` does.

    Raises:
        MemoryFormatError: the memory is missing or partial.
    """
    manifest = migrate(_read_manifest(path))
    return {role: _head(path / entry["name"]) for role, entry in manifest["files"].items()}


def stored_precision(path: Path) -> QueryPrecision:
    """Return how a saved memory keeps its principal queries, so that it can be saved again likewise.

    Raises:
        MemoryFormatError: the memory is missing or partial.
    """
    queries = (group["queries"] for group in stored_tensors(path).values() if "queries" in group)
    return "int8" if any(tensor.dtype == "I8" for tensor in queries) else "float16"


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


def _write_data(folder: Path, role: str, group: Mapping[str, Tensor]) -> dict[str, Any]:
    from safetensors.torch import save

    data = save({name: t.detach().cpu().contiguous() for name, t in group.items()})
    digest = hashlib.sha256(data).hexdigest()
    name = f"{role}-{digest[:16]}.safetensors"
    write_whole(folder / name, data)
    return {"name": name, "sha256": digest, "bytes": len(data)}


def _text(manifest: Manifest) -> bytes:
    return json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False).encode()


def _checksum(manifest: Manifest) -> str:
    """Return the checksum of a manifest, its own left out."""
    return hashlib.sha256(_text({key: value for key, value in manifest.items() if key != _SEAL})).hexdigest()


def _sync(folder: Path) -> None:
    """Put the names in a folder on the disk, so that a manifest is never there before the files that it names."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove_unnamed(folder: Path, named: set[str]) -> None:
    """Delete what earlier or interrupted saves left; files that are not ours stay."""
    for file in folder.iterdir():
        ours = _DATA_FILE.fullmatch(file.name) or file.name.startswith(TEMPORARY)
        if ours and file.name not in named:
            file.unlink(missing_ok=True)


def _read_manifest(path: Path) -> Manifest:
    if not path.is_dir():
        raise MemoryFormatError(f"there is no memory at {path}: give the folder that training wrote")
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise MemoryFormatError(
            f"{path} is partial: it holds no {MANIFEST}: it is not a memory, or its first save was cut short"
        ) from error
    except (OSError, ValueError) as error:
        raise MemoryFormatError(f"{path / MANIFEST} is corrupt: {error}: restore a copy or train again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise MemoryFormatError(f"{path / MANIFEST} is not the manifest of a memory: its format should be {FORMAT!r}")
    return manifest


def _check_seal(path: Path, manifest: Manifest) -> None:
    """Refuse a manifest that was changed since it was written; version 1 and 2 had no checksum to tell."""
    sealed = _SEAL in manifest or manifest["version"] > 2
    if sealed and manifest.get(_SEAL) != _checksum(manifest):
        raise MemoryFormatError(
            f"{path / MANIFEST} is corrupt: its checksum is not its own: restore a copy or train again"
        )


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


def _head(file: Path) -> dict[str, StoredTensor]:
    """Read the head of a safetensors file: eight bytes with its length, then JSON."""
    try:
        with file.open("rb") as stream:
            head = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    except (OSError, ValueError) as error:
        raise MemoryFormatError(f"{file} cannot be read ({error}): restore a copy or train again") from error
    return {
        name: StoredTensor(entry["data_offsets"][1] - entry["data_offsets"][0], entry["dtype"])
        for name, entry in head.items()
        if name != "__metadata__"
    }
