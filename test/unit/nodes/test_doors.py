"""The stand-ins for ROS's helpers: the same cases on ours and, where ROS is installed, on the genuine ones."""

from importlib import import_module

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: run `make setup`")
pytest.importorskip("m3_ros.srv", reason="the interfaces are not built: run `make setup`")

from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from m3_ros.geometry.pose import from_yaw, transform
from m3_ros.nodes import clouds, quaternions, sync, tf
from m3_ros.nodes.conversions import matrix_to_transform, ns_to_stamp, stamp_to_ns
from m3_ros.recording.transform_buffer import TransformError


def both(module, genuine):
    """Return our stand-in module and, if ROS has it, the genuine one."""
    options = [pytest.param(module, id="ours")]
    try:
        options.append(pytest.param(import_module(genuine), id="genuine"))
    except (ImportError, AttributeError):
        options.append(pytest.param(None, id="genuine", marks=pytest.mark.skip(f"{genuine} comes with ROS only")))
    return options


class OurQuaternions:
    quaternion_matrix = staticmethod(quaternions._quaternion_matrix)
    quaternion_from_matrix = staticmethod(quaternions._quaternion_from_matrix)


class OurSync:
    SimpleFilter = sync._SimpleFilter
    ApproximateTimeSynchronizer = sync._ApproximateTimeSynchronizer


@pytest.mark.parametrize("module", both(OurQuaternions, "tf_transformations"))
def test_quaternions_are_xyzw_and_go_round(module):
    half = np.sqrt(0.5)
    np.testing.assert_allclose(module.quaternion_matrix([0, 0, half, half])[:3, 0], [0, 1, 0], atol=1e-12)
    q = np.array([0.1, -0.5, 0.3, 0.8])
    q /= np.linalg.norm(q)
    np.testing.assert_allclose(module.quaternion_from_matrix(module.quaternion_matrix(q)), q, atol=1e-9)


class Stamped:
    def __init__(self, milliseconds):
        self.header = Header(stamp=ns_to_stamp(milliseconds * 1_000_000))

    @property
    def ms(self):
        return stamp_to_ns(self.header.stamp) // 1_000_000


def matches(module, slop, *streams):
    """Feed streams of stamps [ms] in order of time; returns the matched stamps."""
    filters = [module.SimpleFilter() for _ in streams]
    found = []
    matcher = module.ApproximateTimeSynchronizer(filters, 10, slop)
    matcher.registerCallback(lambda *messages: found.append(tuple(m.ms for m in messages)))
    for ms, source in sorted((ms, i) for i, stream in enumerate(streams) for ms in stream):
        filters[source].signalMessage(Stamped(ms))
    return found


@pytest.mark.parametrize("module", both(OurSync, "message_filters"))
def test_messages_within_the_slop_are_matched_once(module):
    assert matches(module, 0.02, [0, 100, 200], [5, 103, 250]) == [(0, 5), (100, 103)]


@pytest.mark.parametrize("module", both(OurSync, "message_filters"))
def test_a_dropped_message_costs_one_match(module):
    assert matches(module, 0.02, [0, 100, 200], [0, 200], [1, 101, 201]) == [(0, 0, 1), (200, 200, 201)]


@pytest.mark.parametrize("module", both(OurSync, "message_filters"))
def test_old_messages_are_forgotten(module):
    assert matches(module, 0.01, range(0, 2000, 100), [1]) == [(0, 1)]


def test_cloud_goes_round_through_its_reader():
    points = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    message = clouds.write_cloud(points, ("x", "y", "z", "intensity"), "map", 5)
    assert (message.width, message.point_step, len(message.data)) == (100, 16, 1600)
    np.testing.assert_array_equal(clouds.read_cloud(message, ("x", "y", "z", "intensity")), points.astype(float))
    np.testing.assert_array_equal(clouds.read_cloud(message, ("intensity",))[:, 0], points[:, 3].astype(float))


def test_a_field_that_a_cloud_lacks_is_named():
    message = clouds.write_cloud(np.zeros((1, 3), np.float32), ("x", "y", "z"), "map", 0)
    with pytest.raises(ValueError, match=r"missing \['rgb'\]"):
        clouds.read_cloud(message, ("x", "rgb"))


class Subscriber:
    """Collects the callbacks that a listener subscribes with."""

    def __init__(self):
        self.callbacks = {}

    def create_subscription(self, _, topic, callback, __):
        self.callbacks[topic] = callback


@pytest.fixture
def listening():
    node = Subscriber()
    lookup = tf.BufferLookup(node)
    node.callbacks["/tf_static"](TFMessage(transforms=[matrix_to_transform(from_yaw(1, 0, 0), "map", "odom", 0)]))
    for second in (1, 2):
        T = transform(np.eye(3), [second, 0, 0])
        step = matrix_to_transform(T, "odom", "base_link", second * 10**9)
        node.callbacks["/tf"](TFMessage(transforms=[step]))
    return lookup


def test_transforms_are_interpolated_at_the_stamp_and_newest_without_one(listening):
    assert listening.lookup("map", "base_link", 1_500_000_000)[0, 3] == pytest.approx(2.5)
    assert listening.lookup("map", "base_link")[0, 3] == pytest.approx(3.0)
    assert listening.lookup("base_link", "map")[0, 3] == pytest.approx(-3.0)
    assert listening.lookup("odom", "map")[0, 3] == pytest.approx(-1.0)


@pytest.mark.parametrize(("target", "stamp_ns"), [("moon", None), ("map", 5 * 10**9)])
def test_an_unknown_frame_or_time_is_an_error(listening, target, stamp_ns):
    with pytest.raises(TransformError):
        listening.lookup(target, "base_link", stamp_ns)
