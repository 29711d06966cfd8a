import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from m3_ros.errors import EncoderError
from m3_ros.features.encoder import FeatureMap
from m3_ros.features.extraction import extract
from m3_ros.features.feature_cache import cache_path
from m3_ros.geometry.camera import Camera
from m3_ros.recording.frame import Frame


class CountingEncoder:
    """Gives each 8x8 cell its mean colour and counts how often it was asked."""

    name, dim, background_phrases, known_names = "counting", 3, (), ()

    def __init__(self, version="1", regions=False):
        self.version, self.regions, self.calls = version, regions, 0

    def encode_image(self, rgb):
        self.calls += 1
        H, W = rgb.shape[:2]
        cells = torch.from_numpy(rgb.reshape(H // 8, 8, W // 8, 8, 3).mean((1, 3))).float() / 255
        valid = torch.ones(cells.shape[:2], dtype=torch.bool)
        if not self.regions:
            return FeatureMap(cells, valid, (W, H))
        index = torch.zeros(cells.shape[:2], dtype=torch.long)
        index[0, 0] = -1
        return FeatureMap(cells.reshape(-1, 3)[:2], valid, (W, H), index)


def walk(count=3):
    rng = np.random.default_rng(0)
    camera = Camera.from_fov(32, 24, 1.2)
    return [Frame(i, rng.integers(0, 255, (24, 32, 3), dtype=np.uint8), camera, np.eye(4)) for i in range(count)]


@pytest.fixture
def frames():
    return walk()


def test_without_a_cache_every_frame_is_encoded(frames):
    encoder, told = CountingEncoder(), []
    maps = list(extract(frames, encoder, progress=told.append))
    assert encoder.calls == len(maps) == 3
    assert [so_far.done for so_far in told] == [1, 2, 3]


@pytest.mark.parametrize("regions", [False, True])
def test_a_second_run_reads_the_cache_and_gives_the_same_bits(frames, tmp_path, regions):
    first = list(extract(frames, CountingEncoder(regions=regions), tmp_path))
    again = CountingEncoder(regions=regions)
    second = list(extract(frames, again, tmp_path))
    assert again.calls == 0
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.features, b.features)
        assert torch.equal(a.valid, b.valid)
        assert a.image_size == b.image_size
        assert (a.index is None and b.index is None) or torch.equal(a.index, b.index)


def test_another_version_or_picture_misses_the_cache(frames, tmp_path):
    list(extract(frames, CountingEncoder(), tmp_path))
    other = CountingEncoder(version="2")
    list(extract(frames, other, tmp_path))
    brighter = CountingEncoder()
    list(extract([replace(frames[0], rgb=frames[0].rgb // 2)], brighter, tmp_path))
    assert (other.calls, brighter.calls) == (3, 1)


def _flip(data):
    middle = len(data) - 20
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"nonsense", lambda data: data[:-5], _flip])
def test_a_broken_cache_file_is_encoded_anew(frames, tmp_path, damage, caplog):
    encoder = CountingEncoder()
    first = list(extract(frames, encoder, tmp_path))
    path = cache_path(tmp_path, encoder, frames[1])
    path.write_bytes(damage(path.read_bytes()))
    second = list(extract(frames, encoder, tmp_path))
    assert encoder.calls == 4
    assert torch.equal(first[1].features, second[1].features)
    assert "encoding the frame anew" in caplog.text


def test_an_interrupted_run_goes_on_where_it_stopped(frames, tmp_path):
    encoder = CountingEncoder()
    half = extract(frames, encoder, tmp_path)
    next(half)
    next(half)
    half.close()
    list(extract(frames, encoder, tmp_path))
    assert encoder.calls == 3
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".safetensors"] * 3


KILLED = """
import os, signal, sys
from pathlib import Path
from m3_ros.features.extraction import extract
from test_extraction import CountingEncoder, walk

class Mortal(CountingEncoder):
    def encode_image(self, rgb):
        if self.calls == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_image(rgb)

list(extract(walk(), Mortal(), Path(sys.argv[1])))
"""


def test_a_killed_run_goes_on_where_it_was_killed(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    assert subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False).returncode == -signal.SIGKILL
    encoder = CountingEncoder()
    assert len(list(extract(walk(), encoder, tmp_path))) == 3
    assert encoder.calls == 1


@pytest.mark.parametrize("batch", [1, 2])
def test_a_recording_is_read_as_it_is_needed(batch, tmp_path):
    encoder, taken = BatchingEncoder(), []
    encoder.batch_size = batch
    stream = extract((taken.append(frame) or frame for frame in walk(6)), encoder, tmp_path)
    next(stream)
    assert len(taken) == batch


class Clock:
    """Stands still but for what an encoder takes."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr("m3_ros.features.extraction.monotonic", lambda: self.now)

    def slow(self, encoder, seconds):
        inner = encoder.encode_image

        def encode_image(rgb):
            self.now += seconds
            return inner(rgb)

        encoder.encode_image = encode_image
        return encoder


def test_the_time_left_is_that_of_the_frames_to_be_encoded_not_of_those_in_the_cache(tmp_path, monkeypatch):
    clock, frames = Clock(monkeypatch), walk(10)
    list(extract(frames[:6], CountingEncoder(), tmp_path))
    clock.now, told = 100.0, []
    list(extract(frames, clock.slow(CountingEncoder(), 2.0), tmp_path, told.append))
    left = [so_far.eta_s(10) for so_far in told]
    assert all(np.isnan(left[:6]))  # nothing was encoded yet
    assert left[6:] == [6.0, 4.0, 2.0, 0.0]


def test_a_run_that_the_cache_answers_whole_ends_with_nothing_left(tmp_path):
    told = []
    list(extract(walk(), CountingEncoder(), tmp_path))
    list(extract(walk(), CountingEncoder(), tmp_path, told.append))
    assert told[-1].eta_s(3) == 0


class BatchingEncoder(CountingEncoder):
    """Encodes two images at once and notes how many came together."""

    batch_size = 2

    def __init__(self, **options):
        super().__init__(**options)
        self.batches = []

    def encode_text(self, texts):
        return torch.zeros(len(texts), self.dim)

    def encode_images(self, images):
        self.batches.append(len(images))
        return [self.encode_image(rgb) for rgb in images]


def test_frames_are_encoded_in_batches_and_only_as_far_as_needed(frames, tmp_path):
    encoder = BatchingEncoder()
    together = extract(frames, encoder, tmp_path)
    next(together)
    assert encoder.batches == [2]
    assert len(list(together)) == 2
    assert encoder.batches == [2, 1]
    list(extract(frames, encoder, tmp_path))
    assert encoder.batches == [2, 1]


def test_of_a_batch_only_what_the_cache_lacks_is_encoded(frames, tmp_path):
    list(extract(frames[1:2], CountingEncoder(), tmp_path))
    encoder = BatchingEncoder()
    maps = list(extract(frames, encoder, tmp_path))
    assert encoder.batches == [1, 1]
    expected = list(extract(frames, CountingEncoder()))
    assert all(torch.allclose(a.features, b.features, atol=1e-3) for a, b in zip(maps, expected, strict=True))


def test_a_name_with_a_path_in_it_stays_in_the_cache_folder(frames, tmp_path):
    encoder = CountingEncoder()
    encoder.name = "dinov2:/models/../dinov2-base"
    path = cache_path(tmp_path, encoder, frames[0])
    assert path.parent.parent == tmp_path
    assert path.resolve() == path


def test_features_too_large_for_half_precision_are_refused(frames, tmp_path):
    encoder = CountingEncoder()
    whole = encoder.encode_image
    encoder.encode_image = lambda rgb: replace(whole(rgb), features=whole(rgb).features * 1e6)
    with pytest.raises(EncoderError, match="not finite in half precision"):
        list(extract(frames, encoder, tmp_path))


def test_a_cache_that_cannot_be_written_is_an_error_that_names_the_folder(frames, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EncoderError, match="features cannot be kept in"):
        list(extract(frames, CountingEncoder(), tmp_path / "file"))
