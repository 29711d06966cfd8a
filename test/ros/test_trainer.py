"""The trainer node: feedback, cancel, one goal at a time, and faults as error codes."""

from threading import Event, Thread

import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from m3_ros.action import TrainMemory
from m3_ros.errors import Cancelled, M3Error
from m3_ros.memory import SpatialMemory
from m3_ros.nodes.simulator_settings import SimulatorSettings
from m3_ros.sim import World, default_cache_dir
from m3_ros.sim.patrol import patrol
from m3_ros.sim.sequence import write_sequence

ENCODERS = ("colours",)


@pytest.fixture(scope="module")
def recording(tmp_path_factory, small_room):
    """A few pictures from all over a small room."""
    settings = SimulatorSettings(**{**small_room, "width_px": 80, "height_px": 60})
    world = World.generate(settings.world, default_cache_dir())
    states = patrol(world, settings.patrol_settings)[::12][:16]
    return write_sequence(tmp_path_factory.mktemp("walk") / "walk", world, settings.camera, states)


@pytest.fixture(scope="module")
def trainer(module_nodes, client):
    node = module_nodes.start("coloured_nodes", "trainer", max_seconds=60.0)
    client.status(lambda s: s["state"] == "idle", "trainer", "status")
    return node


def test_a_missing_recording_is_an_error_code(trainer, client, tmp_path):
    result = client.train(tmp_path / "none", tmp_path / "m3", encoders=ENCODERS, timeout_s=60)
    assert result.error_code == TrainMemory.Result.BAD_RECORDING
    assert "there is no recording" in result.message
    assert not (tmp_path / "m3").exists()


def test_a_cancelled_training_leaves_no_memory_and_a_second_goal_is_refused_meanwhile(
    trainer, client, recording, tmp_path
):
    cancel, begun, refusals, stages = Event(), Event(), [], []

    def on_feedback(feedback):
        stages.append(feedback.stage)
        begun.set()

    def interfere():
        if begun.wait(60):
            with pytest.raises(M3Error, match="refused"):
                client.train(recording, tmp_path / "second", encoders=ENCODERS, timeout_s=60)
            refusals.append(True)
        cancel.set()

    helper = Thread(target=interfere)
    helper.start()
    result = client.train(recording, tmp_path / "m3", "best", ENCODERS, on_feedback, cancel, timeout_s=90)
    helper.join()
    assert result.error_code == TrainMemory.Result.CANCELLED, result.message
    assert refusals == [True]
    assert stages[0] == "read"
    assert {path.name for path in tmp_path.iterdir()} <= {".m3.checkpoint"}


def test_a_training_reports_its_way_and_writes_a_memory(trainer, client, recording, tmp_path):
    request = SetParameters.Request(parameters=[Parameter("max_seconds", value=3.0).to_parameter_msg()])
    assert client._call(SetParameters, "trainer/set_parameters", request, 20).results[0].successful
    fractions = []
    result = client.train(
        recording, tmp_path / "m3", "seconds", ENCODERS, lambda f: fractions.append(f.fraction), timeout_s=90
    )
    assert result.error_code == TrainMemory.Result.NONE, result.message
    assert result.gaussians > 100
    assert result.seconds > 0
    assert fractions == sorted(fractions)
    assert SpatialMemory.load(tmp_path / "m3").principal_queries[0].encoder_name == "colours"


def test_the_trainer_ends_cleanly_in_the_middle_of_a_training(trainer, client, recording, tmp_path):
    def train():
        with pytest.raises(Cancelled):
            client.train(recording, tmp_path / "m3", "best", ENCODERS, lambda _: begun.set(), timeout_s=4)

    begun = Event()
    helper = Thread(target=train)
    helper.start()
    assert begun.wait(30)
    assert trainer.stop() == 0, trainer.output
    helper.join()
    assert not (tmp_path / "m3").exists()
