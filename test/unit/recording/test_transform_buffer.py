import numpy as np
import pytest

from m3_ros.geometry.pose import from_yaw, inverse, matrix_to_quat
from m3_ros.recording.transform_buffer import TransformBuffer, TransformError

NO_TURN = (1, 0, 0, 0)


def moving(buffer, parent, child, stamp, T):
    buffer.add(parent, child, stamp, T[:3, 3], matrix_to_quat(T[:3, :3]))


def buffer():
    b = TransformBuffer()
    moving(b, "odom", "base", 100, from_yaw(0, 0, 0))
    moving(b, "odom", "base", 200, from_yaw(2, 0, 1))
    b.add("base", "camera", 0, (0, 0, 1), NO_TURN, static=True)
    return b


def test_between_stamps_it_interpolates():
    np.testing.assert_allclose(buffer().lookup("odom", "base", 150), from_yaw(1, 0, 0.5), atol=1e-12)


def test_static_edges_hold_at_any_time():
    assert buffer().lookup("base", "camera", 10**18)[2, 3] == 1


def test_chain_and_inverse_agree():
    b = buffer()
    T = b.lookup("odom", "camera", 130)
    np.testing.assert_allclose(b.lookup("camera", "odom", 130), inverse(T), atol=1e-12)
    np.testing.assert_allclose(T, b.lookup("odom", "base", 130) @ b.lookup("base", "camera", 130), atol=1e-12)


def test_siblings_meet_at_their_common_parent():
    b = buffer()
    b.add("base", "lidar", 0, (1, 0, 0), NO_TURN, static=True)
    np.testing.assert_allclose(b.lookup("lidar", "camera", 5)[:3, 3], [-1, 0, 1])


@pytest.mark.parametrize("stamp", [99, 201])
def test_it_never_extrapolates(stamp):
    with pytest.raises(TransformError, match="record /tf for as long"):
        buffer().lookup("odom", "base", stamp)


def test_unconnected_frames_are_named_with_what_is_known():
    with pytest.raises(TransformError, match="connects 'camera' to 'map'; known frames: base, camera, odom"):
        buffer().lookup("map", "camera", 150)


def test_out_of_order_and_repeated_stamps_are_sorted_in():
    b = TransformBuffer()
    for stamp, x in ((300, 3), (100, 1), (200, 9), (200, 2)):
        moving(b, "odom", "base", stamp, from_yaw(x, 0, 0))
    assert b.lookup("odom", "base", 250)[0, 3] == pytest.approx(2.5)
    assert b.lookup("odom", "base", 150)[0, 3] == pytest.approx(1.5)


def test_old_transforms_are_forgotten_when_asked_for():
    b = TransformBuffer(keep_s=1.0)
    for second in range(5):
        moving(b, "odom", "base", second * 10**9, from_yaw(second, 0, 0))
    assert b.span("base", "odom") == (3 * 10**9, 4 * 10**9)


def test_loop_is_refused():
    b = TransformBuffer()
    b.add("a", "b", 0, (0, 0, 0), NO_TURN, static=True)
    b.add("b", "a", 0, (0, 0, 0), NO_TURN, static=True)
    with pytest.raises(TransformError, match="loop"):
        b.lookup("x", "a", 0)


@pytest.mark.parametrize(("t", "q"), [((np.nan, 0, 0), NO_TURN), ((0, 0, 0), (0, 0, 0, 0))])
def test_invalid_transform_is_refused(t, q):
    with pytest.raises(TransformError, match="not valid"):
        TransformBuffer().add("a", "b", 0, t, q)
