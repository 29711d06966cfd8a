"""`m3 export`: a memory as a file for other programs."""

import torch

from m3_ros.cli.main import main
from m3_ros.splat.ply import read_ply


def test_a_memory_becomes_a_ply(coloured_room, tmp_path, capsys):
    coloured_room.memory.save(tmp_path / "room.m3")
    assert main(["export", str(tmp_path / "room.m3"), str(tmp_path / "room.PLY")]) == 0
    assert "room.PLY" in capsys.readouterr().out
    written = read_ply(tmp_path / "room.PLY")
    assert torch.equal(written.means, coloured_room.memory.gaussians.means)
    assert main(["export", str(tmp_path / "room.PLY"), str(tmp_path / "again.ply")]) == 0
    assert (tmp_path / "again.ply").read_bytes() == (tmp_path / "room.PLY").read_bytes()


def test_an_unknown_format_is_one_line_before_anything_is_read(tmp_path, capsys):
    assert main(["export", str(tmp_path / "nowhere"), str(tmp_path / "room.obj")]) == 1
    assert "ends in .ply" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "nowhere"), str(tmp_path / "room.ply")]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
