"""The memory node with a small memory: answers, refusals, lifecycle; and the navigator behind it."""

import numpy as np
import pytest
import rclpy
from coloured_nodes import unit_conftest
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from m3_ros.geometry.pose import from_yaw
from m3_ros.msg import Grounding
from m3_ros.nodes.clouds import read_cloud
from m3_ros.nodes.conversions import matrix_to_transform, pose_to_matrix
from m3_ros.nodes.qos import latched, reliable
from m3_ros.srv import LoadMemory, Query

CHAIR, PLANT = (1.4, 0.8, 0.4), (-1.6, 1.2, 0.5)


@pytest.fixture(scope="module")
def memory_path(tmp_path_factory):
    room = unit_conftest()
    encoder = room.ColourEncoder()
    path = tmp_path_factory.mktemp("memory") / "room.m3"
    room.coloured_room.__wrapped__(encoder).memory.save(path)
    return path


@pytest.fixture(scope="module")
def memory_node(module_nodes, client, memory_path):
    node = module_nodes.start("coloured_nodes", "memory", memory_path=memory_path)
    client.status(lambda s: s["state"] == "active" and s["memory"], "memory", "status")
    return node


@pytest.fixture
def latest(client):
    """Wait for the next message of a topic that fulfils a condition."""
    from threading import Event

    subscriptions = []

    def wait(kind, topic, until=lambda _: True):
        found, done = [], Event()

        def take(message):
            if until(message) and not found:
                found.append(message)
                done.set()

        subscriptions.append(client.node.create_subscription(kind, topic, take, latched()))
        assert done.wait(20), f"nothing on {topic}"
        return found[0]

    yield wait
    for subscription in subscriptions:
        client.node.destroy_subscription(subscription)


def test_present_thing_is_found_with_a_pose_to_stand_at(memory_node, client, latest):
    response = client.query("find the chair")
    assert (response.error_code, response.status) == (Query.Response.NONE, Query.Response.FOUND), response.message
    (candidate,) = response.candidates
    centre = np.array([candidate.centre.x, candidate.centre.y, candidate.centre.z])
    assert np.linalg.norm(centre - CHAIR) < 0.1
    assert candidate.has_approach
    assert response.goal_pose.header.frame_id == "map"
    T = pose_to_matrix(response.goal_pose.pose)
    towards = np.array(CHAIR)[:2] - T[:2, 3]
    assert 0.4 < np.linalg.norm(towards) < 2.5
    assert T[:2, 0] @ towards / np.linalg.norm(towards) > 0.99
    assert 0 < response.latency_s < 10
    assert latest(Grounding, "grounding").text == "find the chair"
    drawn = latest(MarkerArray, "markers")
    assert {m.ns for m in drawn.markers} >= {"object", "label", "approach"}


def test_absent_thing_is_not_found(memory_node, client):
    response = client.query("find the sofa")
    assert (response.error_code, response.status) == (Query.Response.NONE, Query.Response.NOT_FOUND)
    assert list(response.candidates) == []
    assert response.goal_pose.header.frame_id == ""


def test_empty_question_is_an_error_code(memory_node, client):
    response = client.query("  ")
    assert response.error_code == Query.Response.EMPTY_TEXT
    assert "find the chair" in response.message


def test_unknown_frame_is_a_tf_error(memory_node, client):
    response = client.query("find the chair", frame_id="nowhere")
    assert response.error_code == Query.Response.TF_ERROR
    assert "nowhere" in response.message


def test_answer_comes_in_the_frame_asked_for(memory_node, client):
    T_map_dock = from_yaw(1.0, 2.0, np.pi / 2)
    publisher = client.node.create_publisher(TFMessage, "/tf_static", latched())
    publisher.publish(TFMessage(transforms=[matrix_to_transform(T_map_dock, "map", "dock", 0)]))
    for _ in range(50):
        response = client.query("find the chair", frame_id="dock")
        if response.error_code == Query.Response.NONE:
            break
    (candidate,) = response.candidates
    assert candidate.header.frame_id == response.goal_pose.header.frame_id == "dock"
    centre = T_map_dock @ [candidate.centre.x, candidate.centre.y, candidate.centre.z, 1]
    assert np.linalg.norm(centre[:3] - CHAIR) < 0.1
    client.node.destroy_publisher(publisher)


def test_text_topic_answers_on_the_grounding_topic(memory_node, client, latest):
    publisher = client.node.create_publisher(String, "query_text", reliable())
    timer = client.node.create_timer(0.2, lambda: publisher.publish(String(data="the ball")))
    grounding = latest(Grounding, "grounding", lambda g: g.text == "the ball")
    client.node.destroy_timer(timer)
    client.node.destroy_publisher(publisher)
    assert grounding.probability >= 0.5


def test_relevancy_is_a_cloud_of_the_matter_that_fits(memory_node, client, latest):
    subscribed = client.node.create_subscription(PointCloud2, "relevancy", lambda _: None, latched())
    publisher = client.node.create_publisher(String, "query_text", reliable())
    timer = client.node.create_timer(0.2, lambda: publisher.publish(String(data="the plant")))
    cloud = latest(PointCloud2, "relevancy")
    client.node.destroy_timer(timer)
    client.node.destroy_publisher(publisher)
    client.node.destroy_subscription(subscribed)
    points = read_cloud(cloud, ("x", "y", "z", "intensity"))
    best = points[points[:, 3] > 0.5, :3]
    assert np.linalg.norm(np.median(best, axis=0) - PLANT) < 0.15


def test_loading_what_is_not_there_keeps_the_memory_in_use(memory_node, client, tmp_path):
    missing = client.load_memory(tmp_path / "none")
    assert missing.error_code == LoadMemory.Response.DOES_NOT_EXIST
    (tmp_path / "junk").mkdir()
    broken = client.load_memory(f"file://{tmp_path}/junk")
    assert broken.error_code == LoadMemory.Response.INVALID_MEMORY
    assert broken.gaussians > 0
    assert client.query("find the chair").status == Query.Response.FOUND


def test_parameter_out_of_range_is_refused(memory_node, client):
    request = SetParameters.Request(parameters=[Parameter("min_probability", value=2.0).to_parameter_msg()])
    (result,) = client._call(SetParameters, "memory/set_parameters", request, 20).results
    assert not result.successful
    assert "range" in result.reason


def test_the_navigator_moves_the_robot_only_when_told(memory_node, module_nodes, client, latest):
    navigator = module_nodes.start("navigator")
    message = client.go(client.query("find the ball"))
    assert "the ball" in message
    goal = latest(PoseStamped, "goal_pose")
    assert goal.header.frame_id == "map"
    assert navigator.stop() == 0, navigator.output


def test_inactive_node_says_so(memory_node, client):
    for transition, expected in (
        (Transition.TRANSITION_DEACTIVATE, Query.Response.MEMORY_NOT_LOADED),
        (Transition.TRANSITION_ACTIVATE, Query.Response.NONE),
    ):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert client._call(ChangeState, "memory/change_state", request, 20).success
        assert client.query("find the chair").error_code == expected


def test_the_memory_node_ends_cleanly(memory_node):
    assert memory_node.stop() == 0, memory_node.output


def test_a_wrong_memory_path_leaves_a_node_that_says_why(nodes, client, tmp_path):
    node = nodes.start("memory", memory_path=tmp_path / "none")
    client.status(lambda s: s["state"] == "active" and not s["memory"], "memory", "status")
    assert client.query("find the chair").error_code == Query.Response.MEMORY_NOT_LOADED
    assert node.stop() == 0
    assert "the memory was not loaded" in node.output
    assert rclpy.ok() is False  # the client has a context of its own; the default one is never started
