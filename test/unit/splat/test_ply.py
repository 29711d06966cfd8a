"""Gaussians to .ply and back, and .ply files that nobody should trust."""

import struct

import numpy as np
import pytest
import torch
from scenes import cameras, cloud

from m3_ros.errors import MemoryFormatError
from m3_ros.splat import Gaussians, colours, render
from m3_ros.splat.ply import read_ply, write_ply

BASE = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
TAIL = ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]


def field(count=200, coefficients=15, seed=0):
    scene = cloud(count, 3, seed)
    g = torch.Generator().manual_seed(seed)
    quats = torch.nn.functional.normalize(scene.quats, dim=-1)
    sh0 = torch.randn(count, 1, 3, generator=g)
    return Gaussians(
        scene.means, quats, scene.scales, scene.opacities, sh0, 0.2 * torch.randn(count, coefficients, 3, generator=g)
    )


def foreign(names, rows, count=None, order="<", kind="binary_little_endian", end=True):
    """Bytes of a PLY file, put together by hand."""
    header = ["ply", f"format {kind} 1.0", f"element vertex {len(rows) if count is None else count}"]
    header += [f"property float {name}" for name in names] + (["end_header"] if end else [])
    text = ("\n".join(header) + "\n").encode()
    if kind == "ascii":
        return text + "\n".join(" ".join(repr(float(v)) for v in row) for row in rows).encode() + b"\n"
    return text + b"".join(struct.pack(f"{order}{len(row)}f", *row) for row in rows)


def row(coefficients=0):
    """Values of one Gaussian in the order of the file; f_rest_i is i."""
    base = [1.0, 2.0, 3.0, 0, 0, 0, 0.1, 0.2, 0.3]
    return [*base, *range(3 * coefficients), 0.0, -1.0, -2.0, -3.0, 2.0, 0.0, 0.0, 0.0]


def names(coefficients=0):
    return [*BASE, *(f"f_rest_{i}" for i in range(3 * coefficients)), *TAIL]


@pytest.mark.parametrize("coefficients", [0, 3, 8, 15])
def test_a_round_trip_renders_the_same(tmp_path, coefficients):
    before = field(coefficients=coefficients)
    before.opacities[:4] = torch.tensor([0.0, 1.0, 1 - 2**-24, 1e-12])
    write_ply(before, tmp_path / "a.ply")
    after = read_ply(tmp_path / "a.ply")
    viewmats, Ks = cameras(80, 60)
    images = [
        render(g.means, g.quats, g.scales, g.opacities, colours(g, viewmats.float()), viewmats, Ks, 80, 60).features
        for g in (before, after)
    ]
    assert images[0].max() > 0.2
    psnr_db = -10 * torch.log10((images[0] - images[1]).square().mean())
    assert psnr_db >= 60  # what an exported field owes its memory
    assert torch.equal(before.means, after.means)
    assert torch.equal(before.sh0, after.sh0)
    assert torch.equal(before.shN, after.shN)
    assert torch.allclose(before.opacities, after.opacities, atol=1e-6, rtol=0)
    assert torch.allclose(before.scales, after.scales, rtol=1e-6)  # float32 of a logarithm near 4


def test_the_bytes_are_those_of_the_original_layout(tmp_path):
    g = field(3, 3)
    write_ply(g, tmp_path / "a.ply")
    header, body = (tmp_path / "a.ply").read_bytes().split(b"end_header\n", 1)
    lines = [line for line in header.decode("ascii").splitlines() if not line.startswith("comment ")]
    properties = [f"property float {name}" for name in names(3)]
    assert lines == ["ply", "format binary_little_endian 1.0", "element vertex 3", *properties]
    assert len(body) == 3 * 4 * len(properties)
    values = struct.unpack(f"<{len(properties)}f", body[4 * len(properties) : 8 * len(properties)])
    value = dict(zip(names(3), values, strict=True))
    assert [value[k] for k in ("x", "y", "z")] == g.means[1].tolist()
    assert [value[k] for k in ("nx", "ny", "nz")] == [0, 0, 0]
    assert [value[f"f_dc_{c}"] for c in range(3)] == g.sh0[1, 0].tolist()
    rest = [[value[f"f_rest_{3 * channel + k}"] for channel in range(3)] for k in range(3)]
    assert rest == g.shN[1].tolist()
    assert value["opacity"] == pytest.approx(float(torch.logit(g.opacities[1])), rel=1e-5)
    assert [value[f"scale_{i}"] for i in range(3)] == pytest.approx(g.scales[1].log().tolist(), rel=1e-5)
    assert [value[f"rot_{i}"] for i in range(4)] == pytest.approx(g.quats[1].tolist(), abs=1e-6)


@pytest.mark.parametrize(("kind", "order"), [("ascii", ""), ("binary_big_endian", ">"), ("binary_little_endian", "<")])
def test_files_of_other_programs_are_read(tmp_path, kind, order):
    (tmp_path / "a.ply").write_bytes(foreign(names(3), [row(3), row(3)], order=order, kind=kind))
    g = read_ply(tmp_path / "a.ply")
    assert g.means.tolist() == [[1, 2, 3]] * 2
    assert g.shN[0].tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert g.opacities.tolist() == [0.5, 0.5]
    assert torch.allclose(g.scales[0], torch.exp(torch.tensor([-1.0, -2, -3])))
    assert g.quats[0].tolist() == [1, 0, 0, 0]  # of any length in the file, wxyz
    assert all(x.dtype == torch.float32 for x in (g.means, g.quats, g.scales, g.opacities, g.sh0, g.shN))


def test_normals_other_columns_and_their_order_do_not_matter(tmp_path):
    shuffled = [*TAIL, "confidence", "f_dc_2", "f_dc_1", "f_dc_0", "z", "y", "x"]
    values = dict(zip(names(), row(), strict=True)) | {"confidence": 9.0}
    (tmp_path / "a.ply").write_bytes(foreign(shuffled, [[values[name] for name in shuffled]]))
    g = read_ply(tmp_path / "a.ply")
    assert g.means.tolist() == [[1, 2, 3]]
    assert torch.allclose(g.sh0[0, 0], torch.tensor([0.1, 0.2, 0.3]))
    assert g.shN.shape == (1, 0, 3)


def test_no_gaussians_go_both_ways(tmp_path):
    write_ply(field(0, 8), tmp_path / "a.ply")
    assert read_ply(tmp_path / "a.ply").shN.shape == (0, 8, 3)


@pytest.mark.parametrize("missing", ["x", "f_dc_2", "opacity", "scale_1", "rot_3"])
def test_a_missing_property_is_named(tmp_path, missing):
    left = [name for name in names() if name != missing]
    (tmp_path / "a.ply").write_bytes(foreign(left, [row()[1:]]))
    with pytest.raises(MemoryFormatError, match=f"`{missing}`"):
        read_ply(tmp_path / "a.ply")


@pytest.mark.parametrize("count", [1, 7, 72])
def test_harmonics_of_another_degree_are_refused(tmp_path, count):
    wide = [*BASE, *(f"f_rest_{i}" for i in range(count)), *TAIL]
    (tmp_path / "a.ply").write_bytes(foreign(wide, [[0.5] * len(wide)]))
    with pytest.raises(MemoryFormatError, match=f"{count} properties f_rest"):
        read_ply(tmp_path / "a.ply")


@pytest.mark.parametrize(
    ("column", "value"),
    [("x", np.nan), ("f_dc_1", np.inf), ("opacity", np.nan), ("scale_0", 200.0), ("scale_2", -np.inf), ("rot_0", 0.0)],
)
def test_values_that_no_gaussian_has_are_refused(tmp_path, column, value):
    broken = row()
    broken[names().index(column)] = value
    (tmp_path / "a.ply").write_bytes(foreign(names(), [row(), broken]))
    with pytest.raises(MemoryFormatError, match=r"1 of 2 Gaussians.*number 1"):
        read_ply(tmp_path / "a.ply")


def test_extreme_logits_are_fully_opaque_and_fully_clear(tmp_path):
    rows = []
    for logit in (-1e4, 1e4):
        rows.append(row())
        rows[-1][names().index("opacity")] = logit
    (tmp_path / "a.ply").write_bytes(foreign(names(), rows))
    assert read_ply(tmp_path / "a.ply").opacities.tolist() == [0, 1]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ply\n",
        b"PK\x03\x04 no ply at all",
        foreign(names(), [row()] * 3)[:-5],
        foreign(names(), [row()], count=10**9),
        foreign(names(), [row()], count=-4),
        foreign(names(), [row()], kind="ascii")[:-30],
        foreign(names(), [row()], count=2, kind="ascii"),
        foreign(names(), [row()], end=False),
        foreign(names(), [row()], kind="middle_endian"),
    ],
    ids=["empty", "bare", "zip", "cut", "count", "negative", "cut-text", "count-text", "header", "format"],
)
def test_a_broken_file_is_a_clear_error(tmp_path, data):
    (tmp_path / "a.ply").write_bytes(data)
    with pytest.raises(MemoryFormatError, match=r"a\.ply"):
        read_ply(tmp_path / "a.ply")


def test_other_kinds_of_ply_are_told_apart(tmp_path):
    (tmp_path / "cloud.ply").write_bytes(foreign(["x", "y", "z"], [[1, 2, 3]]))
    with pytest.raises(MemoryFormatError, match="point cloud"):
        read_ply(tmp_path / "cloud.ply")
    (tmp_path / "faces.ply").write_bytes(foreign(names(), [row()]).replace(b"element vertex", b"element face"))
    with pytest.raises(MemoryFormatError, match="no element `vertex`"):
        read_ply(tmp_path / "faces.ply")
    (tmp_path / "packed.ply").write_bytes(foreign(["min_x"], [[1.0]]).replace(b"element vertex", b"element chunk"))
    with pytest.raises(MemoryFormatError, match="uncompressed"):
        read_ply(tmp_path / "packed.ply")
    text = "ply\nformat ascii 1.0\nelement vertex 1\nproperty list uchar float x\n"
    text += "".join(f"property float {name}\n" for name in names()[1:]) + "end_header\n1 1 " + "1 " * 16 + "\n"
    (tmp_path / "list.ply").write_text(text)
    with pytest.raises(MemoryFormatError, match="list"):
        read_ply(tmp_path / "list.ply")
    with pytest.raises(MemoryFormatError, match="check the path"):
        read_ply(tmp_path / "nowhere.ply")
    with pytest.raises(MemoryFormatError):
        read_ply(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("means", float("nan")), ("sh0", float("inf")), ("quats", 0.0)])
def test_a_broken_field_is_never_written(tmp_path, name, value):
    g = field(5)
    getattr(g, name)[2] = value
    (tmp_path / "a.ply").write_text("older")
    with pytest.raises(MemoryFormatError, match="1 of 5"):
        write_ply(g, tmp_path / "a.ply")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["older"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MemoryFormatError, match="cannot be written"):
        write_ply(field(2), tmp_path / "nowhere" / "a.ply")
