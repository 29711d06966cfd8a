"""`m3 bench answers`: what memories of simulated rooms answer, and the constants of the probability fitted to it."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import tyro

from m3_ros.cli.bench_document import machine, plain
from m3_ros.cli.bench_encoder import parse_seeds


def run(
    seeds: str = "7,8,21,22,23,31,32",
    preset: str = "balanced",
    folder: Path | None = None,
    json_document: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Remember simulated rooms, ask each for every known kind and for foreign words, and fit the probability anew.

    Args:
        seeds: Rooms, as a list "7,8,21" or a range "7-13"; at least two.
        preset: Preset of the trainings.
        folder: Keeps recordings and memories between runs; default: a temporary one.
        json_document: One JSON document instead of a table.
    """
    from m3_ros.evaluation.answer_benchmark import benchmark_answers

    found = benchmark_answers(parse_seeds(seeds), folder, preset, lambda text: print(text, "...", file=sys.stderr))
    if json_document:
        document = {"preset": preset, **machine(), **dataclasses.asdict(found)}
        print(json.dumps(plain(document), indent=1, allow_nan=False))
        return 0
    print(f"{'constants':22}{'right':>8}{'wrong':>8}{'absent answered':>17}{'foreign answered':>18}{'questions':>11}")
    for name, r in (("shipped", found.shipped), ("fitted on other rooms", found.fitted)):
        cells = f"{r.present_right:8.3f}{r.present_wrong:8.3f}{r.absent_answered:17.3f}{r.foreign_answered:18.3f}"
        print(f"{name:22}{cells}{r.questions:11d}")
    fit = found.constants
    print(f"fitted on all: bias {fit.bias:.2f}, relevancy {fit.relevancy:.2f}, log_area {fit.log_area:.2f}")
    return 0
