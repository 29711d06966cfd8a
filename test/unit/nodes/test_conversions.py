import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: run `make setup`")
pytest.importorskip("m3_ros.srv", reason="the interfaces are not built: run `make setup`")

from geometry_msgs.msg import Pose, Quaternion
from sensor_msgs.msg import Image

from m3_ros.errors import M3Error, RecordingError
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import look_at
from m3_ros.nodes import conversions, images
from m3_ros.nodes.locations import local_path


def test_pose_goes_round():
    T = look_at((1.0, 2.0, 0.5), (0.0, 0.3, 1.0))
    np.testing.assert_allclose(conversions.pose_to_matrix(conversions.matrix_to_pose(T)), T, atol=1e-12)
    stamped = conversions.matrix_to_transform(T, "map", "camera", 1_234_567_890_123_456_789)
    np.testing.assert_allclose(conversions.transform_to_matrix(stamped.transform), T, atol=1e-12)
    assert conversions.stamp_to_ns(stamped.header.stamp) == 1_234_567_890_123_456_789


def test_zero_quaternion_is_refused():
    with pytest.raises(ValueError, match="non-zero quaternion"):
        conversions.pose_to_matrix(Pose(orientation=Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)))


def test_principal_point_moves_by_half_a_pixel_and_back():
    camera = Camera(320, 240, 210.0, 211.0, 160.0, 120.5)
    info = conversions.camera_to_info(camera, "optical", 7)
    assert info.k[2] == 159.5
    assert conversions.lens_from_info(info).camera == camera


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8"])
def test_colour_image_goes_round(encoding):
    channels = images.WRITTEN[encoding][1]
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, channels), np.uint8)
    message = images.from_numpy(pixels if channels > 1 else pixels[..., 0], encoding, "optical", 1)
    expected = {"rgb8": pixels, "bgr8": pixels[..., ::-1], "mono8": np.repeat(pixels, 3, axis=2)}[encoding]
    np.testing.assert_array_equal(images.to_rgb(message), expected)


def test_row_padding_is_honoured():
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    padded = np.zeros((2, 16), np.uint8)
    padded[:, :9] = pixels.reshape(2, 9)
    message = Image(height=2, width=3, step=16, encoding="rgb8", data=padded.tobytes())
    np.testing.assert_array_equal(images.to_rgb(message), pixels)


@pytest.mark.parametrize("big_endian", [False, True])
def test_depth_in_millimetres_is_read_in_either_byte_order(big_endian):
    millimetres = np.array([[1000, 0], [65535, 1]], np.uint16)
    data = millimetres.astype(">u2" if big_endian else "<u2").tobytes()
    message = Image(height=2, width=2, step=4, encoding="16UC1", is_bigendian=big_endian, data=data)
    np.testing.assert_allclose(images.to_depth(message), millimetres / np.float32(1000), rtol=1e-6)


def test_depth_goes_round_to_the_millimetre():
    depth = np.array([[0.0, 1.2345], [np.inf, 70.0]], np.float32)
    message = images.from_numpy(images.depth_to_millimetres(depth), "16UC1", "optical", 0)
    np.testing.assert_allclose(images.to_depth(message), [[0, 1.2345], [0, 0]], atol=5.1e-4)


def test_unknown_encoding_names_the_known_ones():
    with pytest.raises(RecordingError, match=r"'weird8' is unknown.*rgb8"):
        images.to_rgb(Image(encoding="weird8"))


def test_array_that_does_not_fit_the_encoding_is_refused():
    with pytest.raises(ValueError, match="rgb8 needs uint8"):
        images.from_numpy(np.zeros((2, 2), np.float32), "rgb8", "optical", 0)


def test_paths_and_urls_name_the_same_place(tmp_path):
    assert local_path(str(tmp_path)) == local_path(f"file://{tmp_path}") == tmp_path
    assert local_path("file:///with%20space").name == "with space"


@pytest.mark.parametrize(
    ("url", "fault"), [("", "empty"), ("http://x/y", "'http'"), ("package://no_such_pkg/a", "no_such_pkg")]
)
def test_other_urls_are_refused(url, fault):
    with pytest.raises(M3Error, match=fault):
        local_path(url)
