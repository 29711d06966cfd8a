import dataclasses

import pytest
import torch

from m3_ros.cli import bench_raster
from m3_ros.evaluation import raster_benchmark as bench
from m3_ros.splat import kernel


def row(channels=19, isa="avx512", threads=2, ms=10.0, gaussians=100_000):
    stages = (0.1 * ms, 0.2 * ms, 0.4 * ms, 0.1 * ms)
    return bench.RasterRow(
        320, 240, gaussians, channels, isa, threads, ms / 3, ms, *stages,
        limit_ms=0.3 * ms, limit_ratio=2.0, call_ratio=3.3, peak_mb=10.0, page_faults=0,
    )  # fmt: skip


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_room_is_covered_with_flat_gaussians():
    means, quats, scales, opacities = bench.room(3000)
    assert (means.amin(0) > -0.1).all()
    assert (means.amax(0) < torch.tensor(bench.ROOM) + 0.1).all()
    assert torch.allclose(quats.norm(dim=1), torch.tensor(1.0), atol=1e-5)
    assert (scales[:, 2] <= 0.25 * scales[:, :2].amin(1) + 1e-7).all()
    assert ((opacities > 0) & (opacities < 1)).all()


def test_the_room_is_the_same_for_the_same_seed():
    assert all(torch.equal(a, b) for a, b in zip(bench.room(100, 3), bench.room(100, 3), strict=True))
    assert not torch.equal(bench.room(100, 3)[0], bench.room(100, 4)[0])


def test_a_floor_gaussian_lies_flat():
    means, quats, _, _ = bench.room(3000)
    floor = (means[:, 2].abs() < 1e-3).nonzero()[0, 0]
    _, x, y, _ = quats[floor]
    assert float(1 - 2 * (x * x + y * y)) == pytest.approx(1, abs=1e-5)  # its third axis is the vertical


def test_every_channel_adds_three_multiply_adds():
    assert bench.instructions_per_entry(20, 1, 1) - bench.instructions_per_entry(19, 1, 1) == 3
    assert bench.instructions_per_entry(19, 2, 1) == 2 * bench.instructions_per_entry(19, 1, 1)
    assert bench.instructions_per_entry(19, 1, 2) > bench.instructions_per_entry(19, 1, 1)


@pytest.mark.usefixtures("torch_threads")
def test_a_case_is_measured():
    isa = kernel.load().isa
    measured = bench.measure_here(bench.Case(48, 32, 2000, 5, isa, 1), seconds=0)
    assert (measured.width, measured.height, measured.gaussians, measured.channels) == (48, 32, 2000, 5)
    assert 0 < measured.forward_ms < measured.forward_backward_ms
    assert measured.limit_ratio > 0
    assert measured.call_ratio > 0
    assert min(measured.prepare_ms, measured.gather_ms) >= 0
    assert measured.peak_mb >= 0


def test_rows_are_compared():
    rows = [row(c, ms=5 + 0.5 * c) for c in (3, 19, 67)]
    rows += [row(threads=1, ms=1.8 * (5 + 9.5)), row(isa="avx2", ms=1.2 * (5 + 9.5))]
    found = bench.compare(rows)
    assert found.two_threads_speedup == 1.8
    assert found.avx2_over_avx512 == 1.2
    assert found.ms_per_channel == pytest.approx(0.5)
    assert found.deviation_from_line == pytest.approx(0, abs=1e-6)


def test_missing_rows_are_not_compared():
    assert set(dataclasses.asdict(bench.compare([row()])).values()) == {None}
    assert set(dataclasses.asdict(bench.compare([])).values()) == {None}


def test_the_table_has_what_the_comparisons_need():
    table = bench.cases(["avx512", "avx2"], [1, 2])
    assert bench.Case(320, 240, 100_000, 19, "avx512", 1) in table
    assert bench.Case(320, 240, 100_000, 19, "avx2", 2) in table
    assert {c.channels for c in table if (c.width, c.gaussians, c.threads) == (320, 100_000, 2)} >= {3, 19, 35, 67, 131}
    assert len(set(table)) == len(table)


def test_the_command_prints_rows_json_document(monkeypatch, capsys):
    monkeypatch.setattr(bench, "measure", lambda cases: iter([row(c.channels) for c in cases]))
    assert bench_raster.run(isa=("avx512",), threads=(2,), channels=(19,), json_document=True) == 0
    assert '"forward_backward_ms": 10.0' in capsys.readouterr().out


def test_the_command_filters_rows_by_width(monkeypatch, capsys):
    monkeypatch.setattr(bench, "measure", lambda cases: iter([row(c.channels, ms=c.width) for c in cases]))
    assert bench_raster.run(isa=("avx512",), threads=(2,), width=(640,), json_document=True) == 0
    out = capsys.readouterr().out
    assert '"forward_backward_ms": 640' in out
    assert '"forward_backward_ms": 320' not in out


def test_the_command_prints_a_table(monkeypatch, capsys):
    monkeypatch.setattr(bench, "measure", lambda cases: iter([row(c.channels, threads=c.threads) for c in cases]))
    assert bench_raster.run(isa=("avx512",), threads=(1, 2)) == 0
    out = capsys.readouterr().out
    assert "320x240" in out
    assert "two threads are 1.00x" in out
