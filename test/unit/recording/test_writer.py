import threading

import numpy as np
import pytest
from recorded_walk import STORE, walk_bag
from rosbags.rosbag2 import Reader, Writer

from m3_ros.errors import RecordingError
from m3_ros.recording import RecordingWriter, TopicQos, read, recover


def record(walk, writer):
    """Write a whole walk as the recorder node does."""
    for log_ns, topic, message in sorted(walk_bag(walk).messages, key=lambda entry: entry[0]):
        writer.add_topic(topic, message.__msgtype__, TopicQos(transient_local=topic == "/tf_static"))
        assert writer.write(topic, log_ns, bytes(STORE.serialize_cdr(message, message.__msgtype__)))


def test_what_was_written_is_read_back(tmp_path, walk):
    with RecordingWriter(tmp_path / "out") as writer:
        record(walk, writer)
    stats = writer.close()
    others = ("/tf", "/odom", "/camera/camera_info", "/camera/image_raw", "/camera/depth/image_raw")
    assert stats.written == {"/tf_static": 1, **dict.fromkeys(others, 8)}
    assert not stats.dropped
    assert {p.name for p in tmp_path.iterdir()} == {"out"}
    frames = list(read(tmp_path / "out"))
    assert len(frames) == walk.count
    np.testing.assert_array_equal(frames[7].rgb, walk.rgb[7])
    np.testing.assert_allclose(frames[7].T_map_camera, walk.poses[7], atol=1e-9)


def test_qos_and_metadata_are_those_of_rosbag2(tmp_path, walk):
    with RecordingWriter(tmp_path / "out") as writer:
        record(walk, writer)
    with Reader(tmp_path / "out") as reader:  # by folder: metadata.yaml and file agree
        assert reader.message_count == 41
        qos = {c.topic: c.ext.offered_qos_profiles[0].durability.name for c in reader.connections}
        assert sum(1 for _ in reader.messages()) == 41
    assert qos["/tf_static"] == "TRANSIENT_LOCAL"
    assert qos["/tf"] == "VOLATILE"
    assert "version: 8" in (tmp_path / "out" / "metadata.yaml").read_text()


def test_killed_recording_is_readable_and_recoverable(tmp_path, walk):
    writer = RecordingWriter(tmp_path / "out")
    record(walk, writer)
    writer.close()
    # what kill -9 leaves: the partial folder, the file without its end, no metadata
    partial = tmp_path / "killed.partial" / "killed"
    partial.mkdir(parents=True)
    data = next((tmp_path / "out").glob("*.mcap")).read_bytes()
    (partial / "killed.mcap").write_bytes(data[:-300])
    assert len(list(read(tmp_path / "killed.partial"))) == walk.count
    result = recover(tmp_path / "killed.partial")
    assert result.path == tmp_path / "killed.recovered.mcap"
    assert len(list(read(result.path))) == walk.count


def test_an_existing_recording_is_never_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(RecordingError, match="exists already"):
        RecordingWriter(tmp_path / "out")
    (tmp_path / "other.partial").mkdir()
    with pytest.raises(RecordingError, match=r"other\.partial exists already"):
        RecordingWriter(tmp_path / "other")


def test_unwritable_place_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="choose a writable folder"):
        RecordingWriter(tmp_path / "file" / "out")


def test_unknown_type_and_undeclared_topic_are_refused(tmp_path):
    with RecordingWriter(tmp_path / "out") as writer:
        with pytest.raises(RecordingError, match="no standard type"):
            writer.add_topic("/x", "my_msgs/msg/Thing")
        with pytest.raises(RecordingError, match="not declared"):
            writer.write("/y", 0, b"")
    with pytest.raises(RecordingError, match="is closed"):
        writer.write("/y", 0, b"")


def test_slow_disk_drops_are_counted(tmp_path, monkeypatch):
    gate = threading.Event()
    write = Writer.write

    def slow(self, *args):
        gate.wait(10)
        write(self, *args)

    monkeypatch.setattr(Writer, "write", slow)
    writer = RecordingWriter(tmp_path / "out", queue_size=2, patience_s=0.01)
    writer.add_topic("/t", "std_msgs/msg/String")
    results = [writer.write("/t", i, b"\0\1\0\0\1\0\0\0\0") for i in range(8)]
    gate.set()
    stats = writer.close()
    assert stats.written["/t"] == sum(results)
    assert stats.dropped["/t"] == 8 - sum(results) > 0


def test_full_disk_is_an_error_and_leaves_no_named_recording(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "write", full)
    writer = RecordingWriter(tmp_path / "out")
    writer.add_topic("/t", "std_msgs/msg/String")
    writer.write("/t", 0, b"\0\1\0\0\1\0\0\0\0")
    with pytest.raises(RecordingError, match="No space left"):
        writer.close()
    assert not (tmp_path / "out").exists()
