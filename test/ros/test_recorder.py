"""Simulator and recorder: nothing published is lost, and bad input is one line and leaves nothing behind."""

import numpy as np
import pytest
from sensor_msgs.msg import Image

from m3_ros.nodes.qos import reliable
from m3_ros.nodes.simulator_settings import SimulatorSettings
from m3_ros.recording import describe, read
from m3_ros.sim import T_map_camera, World, default_cache_dir
from m3_ros.sim.patrol import patrol

FRAMES = 40


@pytest.fixture(scope="module")
def patrolled(module_nodes, client, small_room, tmp_path_factory):
    """A bag of a patrol, the simulator's last status, and the two processes."""
    bag = tmp_path_factory.mktemp("bag") / "walk"
    simulator = module_nodes.start("simulator", **small_room, patrol_frames_max=FRAMES)
    recorder = module_nodes.start("recorder", bag_path=bag)
    status = client.status(lambda s: s["state"] == "idle" and s["frames_published"] > 0)
    recorder_code = recorder.stop()
    return bag, status, recorder_code, recorder, simulator


def test_every_published_frame_is_recorded(patrolled):
    bag, status, code, recorder, _ = patrolled
    assert code == 0, recorder.output
    assert status["frames_published"] == FRAMES
    counts = {topic.name: topic.count for topic in describe(bag).topics}
    assert counts["/camera/image_raw"] == counts["/camera/camera_info"] == counts["/camera/depth/image_raw"] == FRAMES
    assert counts["/tf"] >= FRAMES
    assert counts["/odom"] >= FRAMES
    assert counts["/tf_static"] == 1


def test_recorded_frames_have_the_exact_poses_of_the_walk(patrolled, small_room):
    settings = SimulatorSettings(**small_room)
    walk = patrol(World.generate(settings.world, default_cache_dir()), settings.patrol_settings)
    frames = list(read(patrolled[0]))
    assert len(frames) == FRAMES
    for frame, state in zip(frames, walk, strict=False):
        np.testing.assert_allclose(frame.T_map_camera, T_map_camera(state), atol=1e-6)
    assert frames[0].camera == settings.camera
    assert 0.1 < float(np.median(frames[0].depth)) < 10


def test_the_robot_walks_to_a_goal_and_touches_nothing(patrolled, client, small_room):
    from m3_ros.geometry.pose import from_yaw

    settings = SimulatorSettings(**small_room)
    walk = patrol(World.generate(settings.world, default_cache_dir()), settings.patrol_settings)
    there = walk[FRAMES + 30]
    client.send_goal(from_yaw(there.x, there.y, 1.0))
    status = client.status(lambda s: s["goal"] is not None and s["reached"] is not None)
    assert status["reached"]
    assert status["collision_free"]
    assert status["goal_free"]
    assert status["distance_m"] < 0.05
    assert status["pose"][2] == pytest.approx(1.0, abs=0.05)
    assert len(status["path"]) > 5


def test_a_goal_inside_a_wall_is_not_reached(patrolled, client):
    from m3_ros.geometry.pose import from_yaw

    client.send_goal(from_yaw(50.0, 0.0, 0.0))
    status = client.status(lambda s: s["goal"][0] > 40 and s["reached"] is not None)
    assert not status["reached"]
    assert not status["goal_free"]
    assert "not in free space" in status["message"]


def test_the_simulator_ends_cleanly(patrolled):
    simulator = patrolled[4]
    assert simulator.stop() == 0, simulator.output


def test_silence_is_said_in_plain_words_and_leaves_nothing(nodes, client, tmp_path):
    recorder = nodes.start("recorder", bag_path=tmp_path / "bag", missing_after_s=0.5, image_topic="/nothing/here")
    state = client.status(
        lambda s: s["state"] == "recording" and any("/nothing/here" in w for w in s["warnings"]), "recorder", "status"
    )
    assert "no message on /nothing/here for" in " ".join(state["warnings"])
    assert recorder.stop() == 1
    assert "no recording was kept" in recorder.output
    assert list(tmp_path.glob("bag*")) == []


def test_unknown_encoding_ends_the_recording_in_one_line(nodes, client, tmp_path):
    recorder = nodes.start("recorder", bag_path=tmp_path / "bag", image_topic="/odd/image")
    publisher = client.node.create_publisher(Image, "/odd/image", reliable())
    message = Image(height=2, width=2, step=4, encoding="weird8", data=bytes(8))
    timer = client.node.create_timer(0.05, lambda: publisher.publish(message))
    code = recorder.wait()
    client.node.destroy_timer(timer)
    client.node.destroy_publisher(publisher)
    assert code == 1
    assert recorder.output.count("image encoding 'weird8' is unknown") == 1
    assert list(tmp_path.glob("bag*")) == []


def test_an_existing_bag_is_never_overwritten(nodes, tmp_path):
    (tmp_path / "bag").mkdir()
    recorder = nodes.start("recorder", bag_path=tmp_path / "bag")
    assert recorder.wait() == 1
    assert "exists already" in recorder.output.splitlines()[-1]


def test_a_parameter_out_of_range_is_refused_at_the_start(nodes):
    simulator = nodes.start("simulator", rate_hz=1000.0)
    assert simulator.wait() == 1
    assert "rate_hz" in simulator.output.splitlines()[-1]
