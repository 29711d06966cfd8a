"""`m3 bench raster`: measure the rendering kernel against the processor's own limit."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from m3_ros.evaluation.raster_benchmark import Comparisons, RasterRow


def run(
    isa: tuple[str, ...] = (),
    threads: tuple[int, ...] = (),
    channels: tuple[int, ...] = (),
    json_document: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Measure the rendering kernel against the processor's own limit.

    Args:
        isa: Instruction sets, e.g. `avx512 avx2`; default: every one that this processor can run.
        threads: Numbers of threads; default: 1 and 2, or only 1 where there is but one processor.
        channels: Only rows with these numbers of channels; default: all.
        json_document: One JSON document instead of a table.
    """
    from m3_ros.evaluation import raster_benchmark as bench

    wanted = bench.cases(isa or bench.usable_isas(), threads or bench.usable_threads())
    rows = []
    if not json_document:
        print("image, Gaussians, channels, isa, threads: forward, forward + backward; x the limit; memory; page faults")
    for row in bench.measure([case for case in wanted if not channels or case.channels in channels]):
        rows.append(row)
        if not json_document:
            print(_line(row), flush=True)
    comparisons = bench.compare(rows)
    if json_document:
        print(json.dumps({"rows": [asdict(row) for row in rows], "comparisons": asdict(comparisons)}, indent=1))
    else:
        print(_words(comparisons))
    return 0


def _line(row: "RasterRow") -> str:
    return (
        f"{row.width}x{row.height} {row.gaussians:7} {row.channels:4} {row.isa:8} {row.threads}: "
        f"{row.forward_ms:7.1f} ms {row.forward_backward_ms:7.1f} ms; {row.limit_ratio:5.2f}x; "
        f"{row.peak_mb:6.1f} MB; {row.page_faults}"
    )


def _words(found: "Comparisons") -> str:
    lines = []
    if found.two_threads_speedup is not None:
        lines.append(f"two threads are {found.two_threads_speedup:.2f}x as fast as one")
    if found.avx2_over_avx512 is not None:
        lines.append(f"AVX2 takes {found.avx2_over_avx512:.2f}x the time of AVX-512")
    if found.ms_per_channel is not None and found.deviation_from_line is not None:
        lines.append(
            f"one more channel costs {1e3 * found.ms_per_channel:.0f} us; "
            f"no row is further than {100 * found.deviation_from_line:.0f} % from that line"
        )
    return "\n".join(lines)
