"""`m3 info PATH`: what a recording or a memory holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from m3_ros.memory import MemoryObject


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

    memory = load_memory(path)
    size = sum(file.stat().st_size for file in path.iterdir() if file.is_file()) / 1e6
    print(f"{path}: memory in frame {memory.map_frame!r} of {memory.provenance.recording}, {memory.provenance.created}")
    print(
        f"  {size:.1f} MB, {len(memory.gaussians)} Gaussians, {int(memory.seen.sum())} of them seen; "
        f"{len(memory.keyframes)} keyframes"
    )
    print(f"  held-out PSNR {memory.provenance.psnr_db:.2f} dB; settings {memory.provenance.settings}")
    for entry in memory.principal_queries:
        bank = entry.attention.bank
        print(
            f"  {entry.encoder_name} {entry.encoder_version[:12]}: {len(bank)} components of {bank.dim}, "
            f"queries of {entry.attention.query_dim}, tau {entry.attention.tau:g}"
        )
    objects = list_objects(memory)
    print(f"  {len(objects)} objects" + (":" if objects else ""))
    for thing in objects:
        print(f"  {_words(thing)}")


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
