"""`m3 info PATH`: what a recording or a memory holds."""

from pathlib import Path
from typing import Annotated

import tyro


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
    from m3_ros.memory import load_memory

    memory = load_memory(path)
    print(f"{path}: memory in frame {memory.map_frame!r} of {memory.provenance.recording}, {memory.provenance.created}")
    print(
        f"  {len(memory.gaussians)} Gaussians, {int(memory.seen.sum())} of them seen; {len(memory.keyframes)} keyframes"
    )
    print(f"  held-out PSNR {memory.provenance.psnr_db:.2f} dB; settings {memory.provenance.settings}")
    for entry in memory.principal_queries:
        bank = entry.attention.bank
        print(
            f"  {entry.encoder_name} {entry.encoder_version[:12]}: {len(bank)} components of {bank.dim}, "
            f"queries of {entry.attention.query_dim}, tau {entry.attention.tau:g}"
        )


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
