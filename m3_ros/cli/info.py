"""`m3 info PATH`: what a recording or a memory holds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from m3_ros.memory import MemoryObject, PrincipalQueries
    from m3_ros.memory.archive import StoredTensor


def run(path: Annotated[Path, tyro.conf.Positional]) -> int:
    """Say what a recording or a memory holds.

    Args:
        path: Bag, posed sequence or memory.
    """
    if (path / "memory.json").is_file():
        _memory(path)
    else:
        _recording(path)
    return 0


def _memory(path: Path) -> None:
    from m3_ros.memory import list_objects, load_memory
    from m3_ros.memory.archive import MANIFEST, stored_tensors

    memory, stored = load_memory(path), stored_tensors(path)
    called = {f"encoder_{i}": entry.encoder_name for i, entry in enumerate(memory.principal_queries)}
    called |= {f"walk_{i}": f"walk {walk.name!r}" for i, walk in enumerate(memory.walks)}
    sizes = {called.get(role, role): sum(tensor.bytes for tensor in group.values()) for role, group in stored.items()}
    objects = list_objects(memory)
    print(f"{path}: memory in frame {memory.map_frame!r} of {memory.provenance.recording}, {memory.provenance.created}")
    print(
        f"  {len(memory.gaussians)} Gaussians, {int(memory.seen.sum())} of them seen; {len(memory.keyframes)} keyframes"
    )
    print(f"  held-out PSNR {memory.provenance.psnr_db:.2f} dB; {_settings(memory.provenance.settings)}")
    removable = ", which `m3 forget` takes away" if len(memory.walks) > 1 else ""
    for walk in memory.walks:
        print(f"  walk {walk.name!r} of {walk.keyframes} keyframes{removable}")
    sizes[f"{MANIFEST} with the views of objects"] = (path / MANIFEST).stat().st_size
    print(f"  {sum(sizes.values()) / 1e6:.2f} MB: {_spent(sizes)}")
    for number, entry in enumerate(memory.principal_queries):
        print("\n".join(f"  {line}" for line in _encoder_lines(entry, stored[f"encoder_{number}"])))
    print(f"  {len(objects)} objects" + (":" if objects else ""))
    for thing in objects:
        print(f"  {_words(thing)}")


def _settings(text: str) -> str:
    """Say the plain settings of a training; those of its stages are in the manifest."""
    plain = {name: value for name, value in json.loads(text).items() if not isinstance(value, dict | list)}
    return ", ".join(f"{name} {value}" for name, value in plain.items()) or "no settings kept"


def _encoder_lines(entry: "PrincipalQueries", stored: "Mapping[str, StoredTensor]") -> list[str]:
    """Say what an encoder remembers, how well its components stand for what it saw, and what that takes."""
    bank, coverage = entry.attention.bank, entry.attention.bank.coverage
    sizes: dict[str, int] = {}
    for name, tensor in stored.items():
        part = _PARTS.get(name, name)
        sizes[part] = sizes.get(part, 0) + tensor.bytes
    kept = stored["queries"].dtype if "queries" in stored else ""
    precision = {"F16": " in half precision", "I8": " in eight bits", "": ", made from the sums of the walks"}.get(
        kept, f" in {kept}"
    )
    linear = "" if entry.linear is None else f", linear head of {entry.linear.index.shape[1]} components each"
    kind = (
        f"{entry.encoder_name} {entry.encoder_version[:12]}: {len(bank)} components of {bank.dim}, "
        f"queries of {entry.attention.query_dim}{precision}, tau {entry.attention.tau:.3g}{linear}"
    )
    chosen = (
        f"    chosen by {bank.method}, theta {bank.theta:.3f}{', lowered by the cap' if bank.capped else ''}; "
        f"coverage mean {coverage.mean:.3f}, min {coverage.minimum:.3f}, "
        f"{coverage.share_below:.2%} of {coverage.count} features below theta"
    )
    return [kind, chosen, f"    {sum(sizes.values()) / 1e6:.2f} MB: {_spent(sizes)}"]


_PARTS = {
    **dict.fromkeys(("queries", "query_scales", "norms", "consistency"), "queries"),
    **dict.fromkeys(("W", "own_keys"), "W and keys"),
    "components": "bank",
    "sources": "sources of the bank",
    **dict.fromkeys(("to_query", "correction", "min_weight"), "what walks are added with"),
    **dict.fromkeys(("code_index", "code_weights", "code_scales"), "linear head"),
}
"""What the tensors of an encoder are for, by name."""


def _spent(sizes: Mapping[str, int]) -> str:
    """List what bytes are spent on, the most first."""
    ranked = sorted(sizes.items(), key=lambda item: item[1], reverse=True)
    return ", ".join(f"{name} {size / 1e6:.2f}" for name, size in ranked)


def _words(thing: "MemoryObject") -> str:
    """Say where an object is and what it may be."""
    centre, size = (" ".join(f"{v:.2f}" for v in vector) for vector in (thing.centre, thing.box.size))
    name = f"perhaps {thing.name} ({thing.name_probability:.2f})" if thing.name else "of no known name"
    last = (
        f"{len(thing.views)} views, last seen {thing.last_seen_ns * 1e-9:.1f} s" if thing.views else "in no plain view"
    )
    return f"{thing.id:4d}  at ({centre}) m, {size} m large, {name}, {last}"


def _recording(path: Path) -> None:
    from m3_ros.recording import describe

    summary = describe(path)
    depth = "with depth" if summary.has_depth else "without depth"
    print(
        f"{path}: {summary.kind}, {summary.frames} frames {depth}, {summary.duration_s:.1f} s, "
        f"poses in {summary.fixed_frame!r}"
    )
    for topic in summary.topics:
        print(f"  {topic.name}  {topic.msgtype}  {topic.count}")
