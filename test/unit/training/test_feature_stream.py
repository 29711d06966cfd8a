from dataclasses import replace

import pytest
import torch

from m3_ros.training import feature_stream
from m3_ros.training.feature_stream import FeatureStream
from m3_ros.training.progress import never_cancelled


@pytest.fixture
def stream(room_frames, coloured_room, tmp_path):
    return FeatureStream(room_frames[:6], coloured_room.encoder, tmp_path, never_cancelled)


@pytest.fixture
def reads(monkeypatch):
    """Numbers of frames that were encoded or read from the cache."""
    asked = []

    def extract(frames, *args, **kwargs):
        asked.append(len(frames))
        return feature_stream_extract(frames, *args, **kwargs)

    feature_stream_extract = feature_stream.extract
    monkeypatch.setattr(feature_stream, "extract", extract)
    return asked


def test_what_is_held_is_not_read_again_and_has_the_same_bits(stream, reads):
    first, second = list(stream.maps()), list(stream.maps())
    assert reads == [6, 0]
    for a, b, number in zip(first, second, range(6), strict=True):
        assert torch.equal(a.features, b.features)
        assert torch.equal(a.features, stream.map(number).features)
    assert reads == [6, 0]


def test_features_beyond_the_room_are_read_each_time(stream, reads):
    one = 2 * next(iter(stream.maps())).features.numel()
    small = replace(stream, kept_bytes=2 * one + 1)
    everything = [x.features for x in stream.maps()]
    reads.clear()
    for _ in range(2):
        assert all(torch.equal(x.features, y) for x, y in zip(small.maps(), everything, strict=True))
    assert reads == [6, 4]
    assert torch.equal(small.map(5).features, everything[5])


def test_passes_that_run_side_by_side_hold_each_map_once(stream):
    for a, b in zip(stream.maps(), stream.maps(), strict=True):
        assert torch.equal(a.features, b.features)
    assert len(stream.held) == 6


def test_a_stream_over_other_frames_holds_nothing_yet(stream):
    list(stream.maps())
    assert replace(stream, frames=stream.frames[::-1]).held == []


def test_a_stream_along_directions_gives_projections_of_what_is_held_and_of_what_is_not(stream, reads):
    directions = torch.linalg.qr(torch.randn(48, 5, generator=torch.Generator().manual_seed(1)))[0].T
    everything = [x.features for x in stream.maps()]
    small = replace(stream, kept_bytes=2 * everything[0].numel() + 1)
    list(small.maps())
    reads.clear()
    along = small.along(directions)
    for number, whole in enumerate(everything):
        torch.testing.assert_close(along.map(number).features.float(), whole.float() @ directions.T, atol=2e-3, rtol=0)
    assert reads == [1] * 5
    for seen, whole in zip(along.maps(), everything, strict=True):
        torch.testing.assert_close(seen.features.float(), whole.float() @ directions.T, atol=2e-3, rtol=0)
