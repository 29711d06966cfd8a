import struct

import cv2
import numpy as np
import pytest
from recorded_walk import compressed_message, image_message, png

from m3_ros.errors import RecordingError
from m3_ros.recording.messages import decode_colour, decode_depth, is_depth_message, peek_header

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("rgba8", np.dstack([RGB, RGB[..., 0]])),
        ("bgra8", np.dstack([RGB[..., ::-1], RGB[..., 0]])),
    ],
)
@pytest.mark.parametrize("padding", [0, 5])
def test_colours_are_exact_whatever_the_row_padding(encoding, pixels, padding):
    np.testing.assert_array_equal(decode_colour(image_message(0, pixels, encoding, padding=padding), "/t"), RGB)


def test_grey_becomes_three_channels():
    grey = RGB[..., 0].copy()
    np.testing.assert_array_equal(decode_colour(image_message(0, grey, "mono8"), "/t"), np.dstack([grey] * 3))


def test_bayer_red_lands_in_red():
    mosaic = np.zeros((8, 8), np.uint8)
    mosaic[::2, ::2] = 200
    rgb = decode_colour(image_message(0, mosaic, "bayer_rggb8"), "/t")
    assert rgb[4, 4].tolist() == [200, 0, 0]


@pytest.mark.parametrize("big", [False, True])
def test_millimetres_become_metres_in_either_byte_order(big):
    depth = np.array([[0, 1500], [65535, 1]], np.uint16)
    got = decode_depth(image_message(0, depth, "16UC1", big=big, padding=2), "/d")
    np.testing.assert_allclose(got, [[0, 1.5], [65.535, 0.001]], rtol=1e-6)


def test_unknown_float_depth_is_zero():
    depth = np.array([[np.nan, 2.5], [np.inf, -1]], np.float32)
    np.testing.assert_array_equal(decode_depth(image_message(0, depth, "32FC1"), "/d"), [[0, 2.5], [0, 0]])


def test_inverse_depth_of_compressed_float_depth_is_undone():
    a, b = 1000.0, -5.0
    depth = np.array([[1.0, 4.0], [0.0, 2.0]], np.float32)
    raw = np.where(depth > 0, a / np.where(depth > 0, depth, 1) + b, 0).astype(np.uint16)
    message = compressed_message(0, struct.pack("<iff", 0, a, b) + png(raw), "32FC1; compressedDepth png")
    np.testing.assert_allclose(decode_depth(message, "/d"), depth, rtol=1e-6)


def test_rvl_and_colour_as_depth_are_refused():
    with pytest.raises(RecordingError, match="RVL"):
        decode_depth(compressed_message(0, b"x" * 40, "16UC1; compressedDepth rvl"), "/d")
    with pytest.raises(RecordingError, match="one channel"):
        decode_depth(compressed_message(0, png(RGB), "png"), "/depth")


def test_jpeg_is_decoded_as_rgb():
    flat = np.full((16, 16, 3), (200, 30, 10), np.uint8)
    data = cv2.imencode(".jpg", flat[..., ::-1])[1].tobytes()
    assert np.abs(decode_colour(compressed_message(0, data, "jpeg"), "/t").astype(int) - flat).max() < 6


def test_short_data_is_refused():
    message = image_message(0, RGB, "rgb8")
    message.data = message.data[:-1]
    with pytest.raises(RecordingError, match="needs 144 bytes; got 143"):
        decode_colour(message, "/t")


def test_depth_is_told_from_colour():
    depth = np.zeros((2, 2), np.uint16)
    assert is_depth_message(image_message(0, depth, "16UC1"), "/x")
    assert is_depth_message(image_message(0, depth, "mono16"), "/depth/image")
    assert not is_depth_message(image_message(0, RGB, "rgb8"), "/depthcam/image")
    assert is_depth_message(compressed_message(0, b"", "16UC1; compressedDepth png"), "/x")


def test_header_is_read_from_raw_bytes():
    from recorded_walk import STORE

    message = image_message(12_000_000_345, RGB, "rgb8", frame="cam")
    cdr = bytes(STORE.serialize_cdr(message, message.__msgtype__))
    assert peek_header(cdr) == (12_000_000_345, "cam")
    with pytest.raises(RecordingError, match="too short"):
        peek_header(cdr[:9])
