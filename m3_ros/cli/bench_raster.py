"""`m3 bench raster`: measure the rendering kernel against the processor's own limit."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from m3_ros.evaluation.raster_benchmark import Comparisons, RasterRow


_HEAD = """\
All times in ms. fwd, f+b: render() without and with gradients. prep, blend f, blend b, gather: what the kernel does in
f+b; the rest is torch. limit: time in which the processor could issue the vector instructions of both blending passes.
xlimit: these passes over the limit; xcall: f+b over the limit. MB: memory that f+b needs. faults: pages it maps anew.
  image Gaussians chan isa      thr     fwd     f+b   prep blend f blend b gather  limit xlimit xcall     MB faults"""


def run(
    isa: tuple[str, ...] = (),
    threads: tuple[int, ...] = (),
    channels: tuple[int, ...] = (),
    width: tuple[int, ...] = (),
    json_document: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Measure the rendering kernel against the processor's own limit.

    Args:
        isa: Instruction sets, e.g. `avx512 avx2`; default: every one that this processor can run.
        threads: Numbers of threads; default: 1 and 2, or only 1 where there is but one processor.
        channels: Only rows with these numbers of channels; default: all.
        width: Only rows with images of these widths; default: all.
        json_document: One JSON document instead of a table.
    """
    from m3_ros.evaluation import raster_benchmark as bench

    wanted = bench.cases(isa or bench.usable_isas(), threads or bench.usable_threads())
    wanted = [c for c in wanted if (not channels or c.channels in channels) and (not width or c.width in width)]
    rows = []
    if not json_document:
        print(_HEAD)
    for row in bench.measure(wanted):
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
        f"{row.width}x{row.height} {row.gaussians:9} {row.channels:4} {row.isa:8} {row.threads:3} "
        f"{row.forward_ms:7.1f} {row.forward_backward_ms:7.1f} {row.prepare_ms:6.2f} {row.blend_forward_ms:7.2f} "
        f"{row.blend_backward_ms:7.2f} {row.gather_ms:6.2f} {row.limit_ms:6.2f} {row.limit_ratio:6.2f} "
        f"{row.call_ratio:5.2f} {row.peak_mb:6.1f} {row.page_faults:6}"
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
