from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 is not installed: run `make setup`")
pytest.importorskip("m3_ros.srv", reason="the interfaces are not built: run `make setup`")

from m3_ros.nodes.answering import MemorySettings
from m3_ros.nodes.navigator import NavigatorSettings
from m3_ros.nodes.parameters import Live, Parameters, field_docs
from m3_ros.nodes.recorder import RecorderSettings
from m3_ros.nodes.simulator_settings import SimulatorSettings
from m3_ros.nodes.trainer_settings import TrainerSettings

SETTINGS = {
    "recorder": RecorderSettings,
    "trainer": TrainerSettings,
    "memory": MemorySettings,
    "navigator": NavigatorSettings,
    "simulator": SimulatorSettings,
}
EXCEPTIONS = {("recorder", "auto_start")}  # a graph that records as soon as it is started would surprise


@dataclass(frozen=True)
class Example:
    """Some parameters."""

    gain: Annotated[float, "0..1", Live()] = 0.5
    """How much
    of it."""
    count: Annotated[int, "1.."] = 2
    """How many."""
    names: tuple[str, ...] = ("a", "b")
    """Which."""


class Declarer:
    """Keeps what is declared, as a node does."""

    def __init__(self):
        self.values, self.descriptors = {}, {}

    def declare_parameter(self, name, value, descriptor):
        self.values[name], self.descriptors[name] = value, descriptor

    def get_parameter(self, name):
        return type("Parameter", (), {"value": self.values[name]})


def test_a_settings_class_becomes_parameters_and_back():
    node = Declarer()
    parameters = Parameters(node, Example)
    assert parameters.current == Example()
    node.values["gain"] = 0.25
    assert parameters.current.gain == 0.25
    gain, count = node.descriptors["gain"], node.descriptors["count"]
    assert (gain.description, gain.read_only, count.read_only) == ("How much of it.", False, True)
    assert (gain.floating_point_range[0].from_value, gain.floating_point_range[0].to_value) == (0.0, 1.0)
    assert count.integer_range[0].from_value == 1


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_every_parameter_has_a_description(settings):
    docs = field_docs(settings)
    assert all(docs.get(field.name) for field in fields(settings))


@pytest.mark.parametrize("node", SETTINGS)
def test_the_yaml_file_names_known_parameters_with_their_defaults(node):
    text = (Path(__file__).parents[3] / "config" / "memory.yaml").read_text()
    given = yaml.safe_load(text)[f"/**/{node}"]["ros__parameters"]
    defaults = SETTINGS[node]()
    for name, value in given.items():
        if (node, name) not in EXCEPTIONS:
            expected = getattr(defaults, name)
            assert value == (list(expected) if isinstance(expected, tuple) else expected), name
