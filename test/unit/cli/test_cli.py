"""The command line: help, one-line errors, exit codes, pictures."""

import os
import subprocess
import sys

import numpy as np
import pytest

from m3_ros.cli.main import COMMANDS, main
from m3_ros.cli.pictures import Marking, contact_sheet, heat_overlay, top_down
from m3_ros.cli.processes import MemoryWatch, node_command, stop, tree_rss_mb
from m3_ros.errors import TrainingError
from m3_ros.geometry.box import OrientedBox
from m3_ros.geometry.pose import from_yaw
from m3_ros.training import pipeline


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0
    assert f"m3 {command}" in capsys.readouterr().out


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)


def test_an_unknown_command_is_named(capsys):
    assert main(["fly"]) == 2
    assert "'fly'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "check", "info", "ask"])
def test_a_wrong_path_is_one_line_and_an_exit_code(command, capsys, tmp_path):
    arguments = [command, str(tmp_path / "nowhere"), *(["find the chair"] if command == "ask" else [])]
    assert main(arguments) == 1
    captured = capsys.readouterr()
    said = (captured.err + captured.out).strip().splitlines()
    assert any("nowhere" in line for line in said)
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_what_is_to_be_kept_reaches_the_training(monkeypatch):
    asked = []

    def train(recording, memory_path, settings, progress):
        asked.append(settings)
        raise TrainingError("that is all")

    monkeypatch.setattr(pipeline, "train", train)
    assert main(["train", "walk", "--query-precision", "int8", "--code-length", "8"]) == 1
    assert (asked[0].query_precision, asked[0].memory.code_length) == ("int8", 8)
    assert main(["train", "walk"]) == 1
    assert (asked[1].query_precision, asked[1].memory.code_length) == ("float16", 0)


def test_asking_without_a_question_says_how(capsys, tmp_path):
    assert main(["ask", str(tmp_path)]) == 1
    assert "ask something" in capsys.readouterr().err


def test_a_demo_does_not_clear_a_foreign_folder(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main(["demo", "--out", str(tmp_path)]) == 1
    assert "thesis.tex" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


def test_node_parameters_survive_the_shell():
    command = node_command("recorder", {"bag_path": "it's here", "auto_start": False, "rate": 2.0})
    assert "bag_path:='it''s here'" in command
    assert "auto_start:=false" in command
    assert "rate:=2.0" in command


def test_memory_of_children_is_counted():
    code = "import time; x = bytearray(80_000_000); print('up', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"up\n"
        with MemoryWatch(0.01) as watch:
            while watch.peak_mb == 0:
                pass
        assert tree_rss_mb(child.pid) > 80
        assert watch.peak_mb > 80
    finally:
        stop([child])
        child.stdout.close()
    assert child.returncode != 0


def test_a_contact_sheet_holds_its_rows():
    image = np.zeros((10, 20, 3), np.uint8)
    sheet = contact_sheet([("two", [image, image]), ("one", [image])])
    assert sheet.shape == (2 * (24 + 16), 2 * 26, 3)


def test_images_of_a_row_may_differ_in_size():
    sheet = contact_sheet([("mixed", [np.zeros((10, 20, 3), np.uint8), np.zeros((4, 8, 3), np.uint8)])])
    assert sheet.shape == (24 + 16, 26 + 14, 3)


def test_heat_of_zero_leaves_grey():
    image = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    grey = heat_overlay(image, np.zeros((6, 8), np.float32))
    assert np.ptp(grey.astype(int), axis=2).max() == 0


def test_the_map_is_drawn_with_y_up():
    occupied = np.zeros((10, 10), bool)
    occupied[9] = True
    image = top_down(occupied, ~occupied, np.zeros(2), 0.1, Marking(), cell_px=2)
    assert image[0].max() < image[-1].min()


def test_goal_and_boxes_are_drawn():
    empty = np.zeros((40, 40), bool)
    box = OrientedBox(from_yaw(2.0, 2.0, 0.3, 0.5), np.ones(3))
    marking = Marking([("chair", box)], from_yaw(1.0, 1.0, 0.0), [(0.5, 0.5), (1.0, 1.0)])
    plain = top_down(empty, ~empty, np.zeros(2), 0.1, Marking())
    assert (top_down(empty, ~empty, np.zeros(2), 0.1, marking) != plain).any()


def test_a_reader_that_goes_away_is_no_error(coloured_room, tmp_path):
    coloured_room.memory.save(tmp_path / "memory")
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        command = [sys.executable, "-u", "-m", "m3_ros.cli.main", "info", str(tmp_path / "memory")]
        done = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 141
    assert "Traceback" not in done.stderr
