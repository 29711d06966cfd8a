"""`m3 add MEMORY RECORDING`: add what was seen on another walk to a memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from m3_ros.cli.progress_line import ProgressLine

if TYPE_CHECKING:
    from m3_ros.memory import SpatialMemory
    from m3_ros.recording import Frame

_PROBES = 8
"""Pictures of the walk that are compared with the memory's own renders."""
_ALIKE_DB = 14.0
"""Pictures of unrelated views, or from more than half a metre beside, are less alike than this (in the demo room)."""


def run(
    memory: Annotated[Path, tyro.conf.Positional],
    recording: Annotated[Path, tyro.conf.Positional],
    name: str = "",
    out: Path | None = None,
    max_width: int = 640,
    cache_dir: Path | None = None,
) -> int:
    """Add what was seen on another walk to a memory, whose geometry stays as it is; `m3 forget` takes it away again.

    The poses of the walk have to be in the memory's map, such as those of a localisation in it.

    Args:
        memory: Folder of a saved memory.
        recording: Bag or posed sequence of the walk.
        name: What to call the walk; default: the name of the recording.
        out: Folder of the memory with the walk; default: it replaces the one without.
        max_width: Wider pictures are scaled down to this [px]; as the memory was trained with.
        cache_dir: Keep features here between runs.
    """
    from dataclasses import replace

    from m3_ros.features import load_encoder
    from m3_ros.memory import find_objects, load_memory, save_memory
    from m3_ros.memory.archive import stored_precision
    from m3_ros.memory.walks import check_has_sums
    from m3_ros.training.pipeline import TrainingSettings, read_keyframes
    from m3_ros.training.walks import add_walk

    known = load_memory(memory)
    check_has_sums(known)
    encoders = [load_encoder(entry.encoder_name) for entry in known.principal_queries]
    called = name or recording.stem
    with ProgressLine() as line:
        frames = read_keyframes(recording, TrainingSettings(max_width=max_width), line.show)
        line.say("gathering what was seen")
        grown = add_walk(known, frames, encoders, called, cache_dir=cache_dir)
        grown = replace(grown, objects=find_objects(grown, encoders))
    save_memory(grown, out or memory, stored_precision(memory))
    print(
        f"{out or memory}: walk {called!r} of {len(frames)} keyframes added; {int(grown.seen.sum())} of "
        f"{len(grown.gaussians)} Gaussians seen (were {int(known.seen.sum())}), {len(grown.objects or ())} objects"
    )
    if (likeness_db := _likeness_db(known, frames)) < _ALIKE_DB:
        print(
            f"warning: the walk's pictures are unlike the memory's renders from the same poses ({likeness_db:.1f} dB): "
            f"is it posed in the memory's map? Take it away again with `m3 forget {out or memory} {called}`"
        )
    return 0


def _likeness_db(memory: "SpatialMemory", frames: "Sequence[Frame]") -> float:
    """Return the mean PSNR of the memory's renders of some frames [dB]."""
    import numpy as np

    from m3_ros.cli.memory_pictures import splat
    from m3_ros.evaluation.image_quality import psnr

    found = []
    for frame in frames[:: max(1, len(frames) // _PROBES)]:
        render = splat(memory, None, frame.camera, frame.T_map_camera)
        found.append(psnr(render, frame.rgb.astype(np.float32) / np.float32(255)))
    return float(np.mean(found))
