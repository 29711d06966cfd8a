"""`m3 forget MEMORY WALK`: take away what a walk added to a memory."""

from pathlib import Path
from typing import Annotated

import tyro


def run(
    memory: Annotated[Path, tyro.conf.Positional],
    walk: Annotated[str, tyro.conf.Positional],
    out: Path | None = None,
) -> int:
    """Take away what a walk added to a memory: what is left is what it would be without the walk.

    The geometry stays, and so do the components and what the first training had learned.

    Args:
        memory: Folder of a saved memory.
        walk: Name of the walk; `m3 info` lists them.
        out: Folder of the memory without the walk; default: it replaces the one with it.
    """
    from dataclasses import replace

    from m3_ros.memory import find_objects, load_memory, remove_walk, save_memory
    from m3_ros.memory.archive import stored_precision
    from m3_ros.query.words import encoder_with_words

    left = remove_walk(load_memory(memory), walk)
    left = replace(left, objects=find_objects(left, [encoder_with_words(left)]))
    save_memory(left, out or memory, stored_precision(memory))
    print(
        f"{out or memory}: walk {walk!r} taken away; {len(left.keyframes)} keyframes left, {int(left.seen.sum())} of "
        f"{len(left.gaussians)} Gaussians seen, {len(left.objects or ())} objects"
    )
    return 0
