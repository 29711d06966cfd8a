from pathlib import Path

import pytest

from m3_ros.files import write_whole


@pytest.mark.parametrize("lasting", [True, False])
def test_a_file_is_replaced_and_can_be_read_by_others(tmp_path, lasting):
    path = tmp_path / "notes"
    for text in (b"first", b"second"):
        write_whole(path, text, lasting=lasting)
        assert path.read_bytes() == text
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there_and_no_trace(tmp_path, monkeypatch):
    path = tmp_path / "notes"
    path.write_bytes(b"first")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
