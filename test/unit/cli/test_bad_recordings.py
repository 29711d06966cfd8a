"""Every unusable recording ends `m3 train` with one line that names the fault and the cure, and nothing on disk."""

import logging

import pytest
from recorded_walk import BagBuilder, make_walk, walk_bag

from m3_ros.cli.main import main


def empty(path):
    BagBuilder().write(path, topics=[("/camera/image_raw", "sensor_msgs/msg/Image")])


def truncated(path):
    walk_bag(make_walk()).write(path)
    (file,) = path.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:200])


FAULTS = {
    "wrong path": (lambda path: None, "does not exist"),
    "empty bag": (empty, "empty bag"),
    "truncated MCAP": (truncated, "mcap"),
    "missing topic": (lambda path: walk_bag(make_walk(), image=False).write(path), "image"),
    "no camera_info": (lambda path: walk_bag(make_walk(), info=False).write(path), "camera_info"),
    "image without pose": (lambda path: walk_bag(make_walk(), tf=False, odometry=False).write(path), "pose"),
    "unknown encoding": (lambda path: walk_bag(make_walk(), encoding="rgb565").write(path), "rgb565"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named_in_one_line_and_nothing_is_written(fault, tmp_path, capsys, caplog):
    make, word = FAULTS[fault]
    recordings, out = tmp_path / "recordings", tmp_path / "out"
    recordings.mkdir()
    out.mkdir()
    make(recordings / "walk")
    before = sorted(recordings.rglob("*"))
    with caplog.at_level(logging.CRITICAL):
        assert main(["train", str(recordings / "walk"), "--out", str(out / "memory")]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("m3 train:")]
    assert len(said) == 1
    assert word in said[0]
    assert ": " in said[0][len("m3 train: ") :]
    assert list(out.iterdir()) == []
    assert sorted(recordings.rglob("*")) == before
