"""`m3 bench encoder`: what the embedded encoder sees in rooms it was not trained on, and how fast."""

import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from m3_ros.cli.bench_document import machine, plain
from m3_ros.errors import M3Error

if TYPE_CHECKING:
    from m3_ros.evaluation.encoder_benchmark import Rows


def run(
    seeds: str = "1000-1009",
    views: int = 40,
    checkpoint: Path | None = None,
    json_document: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Measure the embedded encoder on generated rooms: patches, places, what is absent, and speed.

    Args:
        seeds: Rooms, as a range "1000-1009" or a list "1000,1003".
        views: Pictures of each room.
        checkpoint: What to measure; default: the encoder of the package.
        json_document: One JSON document instead of a table.
    """
    from m3_ros.evaluation.encoder_benchmark import bench_encoder
    from m3_ros.features.checkpoint import EMBEDDED_CHECKPOINT

    logging.getLogger("m3_ros.sim").setLevel(logging.WARNING)
    measured = checkpoint or EMBEDDED_CHECKPOINT
    rows = bench_encoder(parse_seeds(seeds), views, measured, progress=lambda row: print(row, "...", file=sys.stderr))
    if json_document:
        print(json.dumps(as_document(rows), indent=1, allow_nan=False))
        return 0
    for row, figures in rows.items():
        print(row)
        for name, figure in figures.items():
            print(f"  {name:34}{figure.value:10.4g}{figure.count:10d}")
    return 0


def as_document(rows: "Rows") -> dict[str, Any]:
    """Return the figures of unseen rooms by name, {"value", "count"} each, and the further rows beside them."""
    from m3_ros.training.encoder_training import UNSEEN

    records = {row: {n: dataclasses.asdict(m) for n, m in figures.items()} for row, figures in rows.items()}
    document: dict[str, Any] = plain({**machine(), **records.pop(UNSEEN), "rows": records})
    return document


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read "1000-1009" or "1000,1003".

    Raises:
        M3Error: it is neither.
    """
    try:
        first, dash, last = text.partition("-")
        seeds = tuple(range(int(first), int(last) + 1)) if dash else tuple(int(part) for part in text.split(","))
    except ValueError:
        seeds = ()
    if not seeds:
        raise M3Error(f"seeds are a range such as 1000-1009 or a list such as 1000,1003; got {text!r}")
    return seeds
