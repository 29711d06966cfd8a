"""Every broken recording ends in one line that says what to do."""

import contextlib
import logging

import numpy as np
import pytest
from recorded_walk import BagBuilder, walk_bag

from m3_ros.errors import RecordingError
from m3_ros.recording import check, describe, read, recover


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def test_wrong_path(tmp_path):
    with pytest.raises(RecordingError, match=r"nowhere does not exist: check the path"):
        read(tmp_path / "nowhere")


def test_unfinished_recording_is_pointed_to(tmp_path):
    (tmp_path / "walk.partial").mkdir()
    with pytest.raises(RecordingError, match=r"read .*walk\.partial"):
        read(tmp_path / "walk")


def test_folder_without_recording(tmp_path):
    with pytest.raises(RecordingError, match="no recording of a known kind"):
        read(tmp_path)


def test_file_of_another_kind(tmp_path):
    (tmp_path / "a.bag").write_bytes(b"#ROSBAG V2.0")
    with pytest.raises(RecordingError, match="rosbags-convert"):
        list(read(tmp_path / "a.bag"))
    (tmp_path / "a.mcap").write_bytes(b"not mcap at all")
    with pytest.raises(RecordingError, match="no MCAP file"):
        list(read(tmp_path / "a.mcap"))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_empty_bag(tmp_path, storage):
    path = BagBuilder().write(tmp_path / "bag", storage, topics=[("/camera/image_raw", "sensor_msgs/msg/Image")])
    with pytest.raises(RecordingError, match="empty bag"):
        list(read(path))


@pytest.mark.parametrize("content", ["{ not yaml", "[1, 2]", "", "rosbag2_bagfile_information: {message_count: many}"])
def test_damaged_metadata_does_not_matter(tmp_path, walk, content, caplog):
    path = walk_bag(walk).write(tmp_path / "bag")
    (path / "metadata.yaml").write_text(content)
    with caplog.at_level(logging.WARNING):
        assert len(list(read(path))) == walk.count
    assert "metadata.yaml is damaged" in caplog.text


def test_metadata_that_disagrees_is_reported(tmp_path, walk, caplog):
    path = walk_bag(walk).write(tmp_path / "bag")
    file = path / "metadata.yaml"
    file.write_text(file.read_text().replace("message_count: 41", "message_count: 77"))
    with caplog.at_level(logging.WARNING):
        list(read(path))
    assert "states 77 messages, the files hold 41" in caplog.text


def test_metadata_without_files(tmp_path, walk):
    path = walk_bag(walk).write(tmp_path / "bag")
    next(path.glob("*.mcap")).unlink()
    with pytest.raises(RecordingError, match="holds no bag files"):
        list(read(path))


def test_truncated_mcap_is_read_as_far_as_it_goes(tmp_path, walk, caplog):
    path = walk_bag(walk).write(tmp_path / "bag")
    file = next(path.glob("*.mcap"))
    whole = list(read(path))
    file.write_bytes(file.read_bytes()[:-100])  # the end with index and magic is gone
    with caplog.at_level(logging.WARNING):
        frames = list(read(path))
    assert "truncated" in caplog.text
    assert [f.stamp_ns for f in frames] == [f.stamp_ns for f in whole]
    np.testing.assert_array_equal(frames[2].rgb, whole[2].rgb)


def test_mcap_truncated_at_once_is_refused(tmp_path, walk):
    path = walk_bag(walk).write(tmp_path / "bag")
    file = next(path.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(RecordingError, match="truncated and no message can be read"):
        list(read(path))
    with pytest.raises(RecordingError, match="no message can be read"):
        recover(file)
    assert not list(path.glob("*.tmp"))


def test_recovered_file_is_whole(tmp_path, walk, caplog):
    path = walk_bag(walk).write(tmp_path / "bag")
    file = next(path.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:-100])
    result = recover(file, tmp_path / "whole.mcap")
    assert result.messages == 41
    caplog.clear()
    assert len(list(read(result.path))) == walk.count
    assert "truncated" not in caplog.text
    with pytest.raises(RecordingError, match="exists already"):
        recover(file, tmp_path / "whole.mcap")


def test_truncated_sqlite_is_refused(tmp_path, walk):
    path = walk_bag(walk).write(tmp_path / "bag", "sqlite3")
    cut(next(path.glob("*.db3")), 0.5)
    with pytest.raises(RecordingError, match="damaged"):
        list(read(path))


@pytest.mark.parametrize("offset", [0.2, 0.5, 0.8])
def test_garbage_in_the_middle_never_escapes_as_another_error(tmp_path, walk, offset):
    path = walk_bag(walk).write(tmp_path / "bag")
    file = next(path.glob("*.mcap"))
    data = bytearray(file.read_bytes())
    start = int(len(data) * offset)
    data[start : start + 400] = b"\xff" * 400
    file.write_bytes(data)
    with contextlib.suppress(RecordingError):
        list(read(path))


def test_preflight_reports_an_unreadable_recording_as_one_error(tmp_path, walk):
    (finding,) = check(walk_bag(walk, info=False).write(tmp_path / "bag"))
    assert finding.severity == "error"
    assert "no camera_info" in finding.what
    assert "record /camera/camera_info" in finding.cure


def test_describe_refuses_as_read_does(tmp_path, walk):
    with pytest.raises(RecordingError, match="no camera_info"):
        describe(walk_bag(walk, info=False).write(tmp_path / "bag"))
