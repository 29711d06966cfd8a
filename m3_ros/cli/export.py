"""`m3 export SOURCE OUT`: the Gaussians of a memory in a format that other programs open."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from m3_ros.splat import Gaussians


def run(
    source: Annotated[Path, tyro.conf.Positional],
    out: Annotated[Path, tyro.conf.Positional],
) -> int:
    """Write the Gaussians of a memory in a format that other programs open, metric and in the map frame.

    Args:
        source: Folder of a memory, or a .ply of 3D Gaussian Splatting from elsewhere.
        out: File to write; its suffix is the format. .ply: the layout of 3D Gaussian Splatting, as SuperSplat opens it.
    """
    from m3_ros.errors import MemoryFormatError

    if out.suffix.lower() not in WRITERS:
        raise MemoryFormatError(f"cannot export to {out}: give a file that ends in {' or '.join(WRITERS)}")
    gaussians = _read(source)
    WRITERS[out.suffix.lower()](gaussians, out)
    print(f"{out}: {len(gaussians)} Gaussians, {out.stat().st_size / 1e6:.1f} MB, map frame (z up), metres")
    return 0


def _read(source: Path) -> "Gaussians":
    if source.suffix.lower() == ".ply":
        from m3_ros.splat.ply import read_ply

        return read_ply(source)
    from m3_ros.memory import load_memory

    return load_memory(source).gaussians


def _write_ply(gaussians: "Gaussians", out: Path) -> None:
    from m3_ros.splat.ply import write_ply

    write_ply(gaussians, out)


WRITERS: "dict[str, Callable[[Gaussians, Path], None]]" = {".ply": _write_ply}
"""Formats by suffix; a new one is a function and a line here."""
