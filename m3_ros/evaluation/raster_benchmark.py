"""What the CPU rasteriser costs, and how near that is to what the processor can issue.

The scene is a furnished room (5 x 4 x 2.7 m) covered with flat Gaussians, as a trained room is, seen by three cameras.
Every row is measured in a fresh process, because the instruction set is chosen once a process and memory is counted.
"""

import contextlib
import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.errors import BackendError
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import inverse, look_at, matrix_to_quat
from m3_ros.splat import kernel
from m3_ros.splat.render import render

ROOM = (5.0, 4.0, 2.7)
_BOXES = (  # corner and size of the furniture [m]: bed, table, cupboard, shelf, low table, and a thing on each table
    ((0.5, 0.4, 0.0), (1.6, 0.8, 0.45)),
    ((3.2, 2.6, 0.0), (1.4, 0.8, 0.75)),
    ((0.2, 3.4, 0.0), (0.9, 0.5, 1.9)),
    ((4.3, 0.3, 0.0), (0.5, 0.5, 1.1)),
    ((2.2, 1.9, 0.0), (0.7, 0.7, 0.4)),
    ((3.4, 2.8, 0.75), (0.3, 0.2, 0.25)),
    ((2.4, 2.1, 0.4), (0.15, 0.15, 0.2)),
)
_CAMERAS = 3
_FIELD_OF_VIEW = np.radians(65)

# Vector instructions for one entry (a Gaussian on a row of sixteen pixels), counted in the inner loops of csrc: loads,
# stores and scalar work go to other units. A multiply-add is one instruction where the processor has them.
# blend_entries: dx, dx * slope, max and 3 squarings of the exponential, times opacity, min with 0.999, compare and
# clear below 1/255, weight, T; multiply-adds: 1 of the exponent, 5 of the polynomial.
_CHAIN_PLAIN, _CHAIN_FUSED = 12, 6
# add_moments: dx, weight * slope, 1 - alpha, estimate and last product of its reciprocal, alpha over it, compare and
# clear above 0.999, G dx, sums of G, of G dx and of what lies behind; multiply-adds: Newton's step, G, sums of G dy,
# G dx^2, G dx dy and G dy^2.
_MOMENTS_PLAIN, _MOMENTS_FUSED = 12, 6


@dataclass(frozen=True)
class Case:
    """One thing to measure."""

    width: int
    height: int
    gaussians: int
    channels: int
    isa: str
    threads: int


@dataclass(frozen=True)
class RasterRow:
    """What one case cost; times are the best of several runs, averaged over the cameras."""

    width: int
    """Image width [px]."""
    height: int
    """Image height [px]."""
    gaussians: int
    """Gaussians in the room; a camera sees about a fifth of them."""
    channels: int
    """Channels blended, beside depth and alpha."""
    isa: str
    """Instruction set of the kernel."""
    threads: int
    """Threads it was given."""
    forward_ms: float
    """render() without gradients [ms]."""
    forward_backward_ms: float
    """render() and the gradients by all its inputs [ms]."""
    prepare_ms: float
    """Project, sort, bin, bring the channels together [ms]."""
    blend_forward_ms: float
    """The forward pass over the tiles [ms]."""
    blend_backward_ms: float
    """The backward pass over the tiles [ms]."""
    gather_ms: float
    """From the sums of the tiles to the gradients of Gaussians and camera [ms]; torch is not in any of these four."""
    limit_ms: float
    """Time in which the processor could issue the vector instructions of both passes over the tiles [ms]."""
    limit_ratio: float
    """Both passes over the tiles over limit_ms: what the inner loops lose."""
    call_ratio: float
    """forward_backward_ms over limit_ms: what the whole call costs, with everything that the limit does not count."""
    peak_mb: float
    """Memory beyond Gaussians and the image's gradient that a forward and backward pass needs [MB]."""
    page_faults: int
    """Pages mapped anew in one forward and backward pass after the first; buffers that are reused need none."""


@dataclass(frozen=True)
class Comparisons:
    """What the rows say together; None where the rows for it are missing."""

    two_threads_speedup: float | None
    """Forward and backward with one thread over two; 320x240, 19 channels, best instruction set."""
    avx2_over_avx512: float | None
    """Forward and backward with AVX2 over AVX-512, of the same case."""
    ms_per_channel: float | None
    """What one more channel costs at 320x240 [ms]: slope of the line through the rows that differ only in channels."""
    deviation_from_line: float | None
    """Largest distance of those rows from that line, as a share of their time."""


_MAIN = (320, 240, 100_000, 19)
_LARGE = (640, 480, 100_000, 67)


def usable_isas() -> list[str]:
    """Return the instruction sets that this processor can run and that are built, best first."""
    return [isa for isa in kernel.candidates() if kernel.find(isa)]


def usable_threads() -> list[int]:
    """Return the numbers of threads to compare."""
    return [1, 2] if (os.cpu_count() or 1) > 1 else [1]


def cases(isas: Sequence[str], threads: Sequence[int]) -> list[Case]:
    """Return the table: every shape for the first instruction set and the most threads, two shapes for the others."""
    shapes = [(320, 240, 20_000, c) for c in (3, 19)]
    shapes += [(*_MAIN[:3], c) for c in (3, 19, 35, 67, 131)]
    shapes += [(640, 480, 100_000, 19), _LARGE]
    table = []
    for isa in isas:
        for count in sorted(threads, reverse=True):
            whole = isa == isas[0] and count == max(threads)
            table += [Case(*shape, isa, count) for shape in (shapes if whole else [_MAIN, _LARGE])]
    return table


def compare(rows: Sequence[RasterRow]) -> Comparisons:
    """Compare rows with each other."""
    time = {(r.width, r.height, r.gaussians, r.channels, r.isa, r.threads): r.forward_backward_ms for r in rows}
    isa, threads = (rows[0].isa, rows[0].threads) if rows else ("", 0)

    def ratio(above: tuple[str, int], below: tuple[str, int]) -> float | None:
        a, b = time.get((*_MAIN, *above)), time.get((*_MAIN, *below))
        return None if a is None or b is None else round(a / b, 2)

    line = [(key[3], ms) for key, ms in time.items() if key[:3] == _MAIN[:3] and key[4:] == (isa, threads)]
    slope, deviation = _fit(line) if len(line) > 2 else (None, None)
    return Comparisons(ratio((isa, 1), (isa, 2)), ratio(("avx2", threads), ("avx512", threads)), slope, deviation)


def _fit(points: list[tuple[int, float]]) -> tuple[float, float]:
    """Slope of the line through (channels, ms), and the largest relative distance from it."""
    x, y = np.array(points, np.float64).T
    slope, start = np.polyfit(x, y, 1)
    return round(float(slope), 4), round(float(np.abs((slope * x + start) / y - 1).max()), 3)


def measure(wanted: Sequence[Case]) -> Iterator[RasterRow]:
    """Measure case after case, each in a process of its own.

    Raises:
        BackendError: an instruction set cannot be used here, or the kernel is not built.
    """
    for case in wanted:
        yield _in_child(case)


def room(count: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Return means, quats, scales, opacities of a room whose surfaces are evenly covered with flat Gaussians."""
    r = np.random.default_rng(seed)
    origin, u, v = _rectangles()
    area = np.linalg.norm(np.cross(u, v), axis=1)
    face = r.choice(len(area), count, p=area / area.sum())
    place = r.random((2, count, 1))
    means = origin[face] + u[face] * place[0] + v[face] * place[1] + r.normal(0, 0.01, (count, 3))
    spacing = np.sqrt(area.sum() / max(count, 1))
    scales = np.exp(r.normal(np.log(0.9 * spacing), 0.5, (count, 3)))
    scales[:, 2] = 0.25 * scales[:, :2].min(axis=1)  # thin along the surface's normal
    opacities = 1 / (1 + np.exp(-r.normal(0, 1.5, count)))
    quats = _spun(_face_quats(u, v)[face], r.random(count) * 2 * np.pi)
    return tuple(torch.tensor(x, dtype=torch.float32) for x in (means, quats, scales, opacities))


def _rectangles() -> tuple[NDArray[np.float64], ...]:
    """Corners and edge vectors of every wall and of every side of the furniture."""
    sides = []
    for corner, size in (((0.0, 0.0, 0.0), ROOM), *_BOXES):
        o, (x, y, z) = np.array(corner), np.diag(size)
        sides += [(o, x, y), (o + z, x, y), (o, x, z), (o + y, x, z), (o, y, z), (o + x, y, z)]
    origin, u, v = (np.array(part) for part in zip(*sides, strict=True))
    return origin, u, v


def _face_quats(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quaternions of the frames whose third axis is the rectangle's normal."""
    e0, e1 = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, v))
    return np.array([matrix_to_quat(frame) for frame in np.stack([e0, e1, np.cross(e0, e1)], -1)])


def _spun(q: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn quaternions wxyz about their own third axis [rad]."""
    (w, x, y, z), c, s = q.T, np.cos(angle / 2), np.sin(angle / 2)
    return np.stack([w * c - z * s, x * c + y * s, y * c - x * s, z * c + w * s], axis=1)


def room_cameras(width: int, height: int, seed: int = 0) -> tuple[Float[Tensor, "C 4 4"], Float[Tensor, "C 3 3"]]:
    """Return viewmats and Ks of cameras that look across the room."""
    r = np.random.default_rng(seed)
    K = Camera.from_fov(width, height, float(_FIELD_OF_VIEW)).K
    viewmats = []
    for angle in np.arange(_CAMERAS) / _CAMERAS * 2 * np.pi:
        eye = np.array([2.5 + 1.1 * np.cos(angle), 2 + 0.7 * np.sin(angle), 1.3]) + r.normal(0, 0.1, 3)
        towards = angle + r.normal(0, 0.6)
        target = [2.5 - 2 * np.cos(towards), 2 - 2 * np.sin(towards), 0.9 + r.normal(0, 0.25)]
        viewmats.append(inverse(look_at(eye, target)))
    return torch.tensor(np.array(viewmats)), torch.tensor(np.array([K] * _CAMERAS))


def instructions_per_entry(channels: int, registers_per_row: int, instructions_per_multiply_add: int) -> int:
    """Count the vector instructions that forward and backward issue for one entry; the depth is one more channel.

    Forward blends each channel with a multiply-add; backward blends anew the weights, and each channel costs a
    multiply-add for the gradient of the weights and one for the gradient of the features.
    """
    plain = 2 * _CHAIN_PLAIN + _MOMENTS_PLAIN
    fused = 2 * _CHAIN_FUSED + _MOMENTS_FUSED + 3 * (channels + 1)
    return registers_per_row * (plain + instructions_per_multiply_add * fused)


def measure_here(case: Case, seconds: float = 0.5) -> RasterRow:
    """Measure one case in this process, whose kernel must be the wanted one; `seconds` for each best time."""
    library = kernel.load().library
    torch.set_num_threads(case.threads)
    inputs = [*room(case.gaussians), torch.randn(case.gaussians, case.channels)]
    viewmats, Ks = room_cameras(case.width, case.height)
    d_image = torch.randn(1, case.channels, case.height, case.width).permute(0, 2, 3, 1)
    for x in inputs:
        x.requires_grad_()
    gc.collect()

    def draw(i: int) -> Tensor:
        means, quats, scales, opacities, features = inputs
        view = viewmats[i : i + 1], Ks[i : i + 1], case.width, case.height
        return render(means, quats, scales, opacities, features, *view).features

    def forward(i: int) -> None:
        with torch.no_grad():
            draw(i)

    def forward_backward(i: int) -> None:
        torch.autograd.grad(draw(i), inputs, d_image)

    with _PeakMemory() as memory:
        forward_backward(0)
    forward_ms, forward_backward_ms = _best(forward, seconds), _best(forward_backward, seconds)
    faults = _page_faults()
    forward_backward(0)
    faults = _page_faults() - faults
    instructions = instructions_per_entry(
        case.channels, library.m3_registers_per_row(), library.m3_instructions_per_multiply_add()
    )
    entries, stages = _best_stages([x.detach() for x in inputs], viewmats, Ks, d_image, case, seconds)
    limit_ms = 1e3 * entries * instructions / library.m3_issue_rate(case.threads)
    return RasterRow(
        **asdict(case),
        forward_ms=round(forward_ms, 2),
        forward_backward_ms=round(forward_backward_ms, 2),
        prepare_ms=round(stages.prepare, 2),
        blend_forward_ms=round(stages.forward, 2),
        blend_backward_ms=round(stages.backward, 2),
        gather_ms=round(stages.gather, 2),
        limit_ms=round(limit_ms, 2),
        limit_ratio=round((stages.forward + stages.backward) / limit_ms, 2),
        call_ratio=round(forward_backward_ms / limit_ms, 2),
        peak_mb=round(memory.megabytes, 1),
        page_faults=faults,
    )


def _best_stages(
    inputs: list[Tensor], viewmats: Tensor, Ks: Tensor, d_image: Tensor, case: Case, seconds: float
) -> tuple[float, kernel.Stages]:
    """Entries of a view, and the best time of each stage [ms]; both averaged over the cameras."""
    *geometry, features = inputs
    planes, d_planes = torch.empty(case.channels, case.height, case.width), d_image[0].permute(2, 0, 1)
    depth, alpha = torch.empty(2, case.height, case.width)
    targets: list[Tensor | None] = [*(torch.zeros_like(x) for x in inputs), torch.zeros(4, 4, dtype=torch.float64)]
    best, entries = np.full((_CAMERAS, 4), np.inf), np.zeros(_CAMERAS)
    deadline = time.perf_counter() + seconds
    while not entries.all() or time.perf_counter() < deadline:
        for i in range(_CAMERAS):
            view = kernel.View(tuple(geometry), viewmats[i], Ks[i], (case.width, case.height), 0.05)
            view.forward(features, planes, depth, alpha, None)
            view.backward(tuple(geometry), case.channels, (d_planes, None, None), targets)
            best[i], entries[i] = np.minimum(best[i], astuple(view.stages)), max(view.entries, 1)
    return float(entries.mean()), kernel.Stages(*(1e3 * best.mean(axis=0)).tolist())


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _best(call: Callable[[int], None], seconds: float) -> float:
    """Best time of a call [ms], averaged over the cameras, after a warm-up."""
    best = np.full(_CAMERAS, np.inf)
    deadline = time.perf_counter() + seconds
    runs = 0
    while runs < 5 or time.perf_counter() < deadline:
        for i in range(_CAMERAS):
            begin = time.perf_counter()
            call(i)
            best[i] = min(best[i], time.perf_counter() - begin)
        runs += 1
    return 1e3 * float(best.mean())


class _PeakMemory:
    """Growth of the resident memory at its highest [MB]; Linux forgets the old peak when asked."""

    megabytes = 0.0

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):  # not allowed in some sandboxes: then only growth beyond the old peak counts
            Path("/proc/self/clear_refs").write_text("5")
        self._before = _status_kilobytes("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.megabytes = (_status_kilobytes("VmHWM") - self._before) / 1024


def _status_kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _in_child(case: Case) -> RasterRow:
    env = os.environ | {"M3_SPLAT_ISA": case.isa}
    command = [sys.executable, "-m", "m3_ros.evaluation.raster_benchmark", json.dumps(asdict(case))]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines() or ["no message"]
        raise BackendError(f"measuring {case} failed: {reason[-1]}")
    return RasterRow(**json.loads(done.stdout))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(measure_here(Case(**json.loads(sys.argv[1]))))))
