"""Real nodes in real processes over real DDS: a domain of their own, this machine only."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: run `make setup`")
pytest.importorskip("m3_ros.srv", reason="the interfaces are not built: run `make setup`")

HERE = Path(__file__).parent
DEADLINE_S = 60.0


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in Path(item.fspath).parents:
            item.add_marker(pytest.mark.ros)


@dataclass
class Process:
    """A node in a process of its own."""

    process: subprocess.Popen
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text()

    def stop(self, number=signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(DEADLINE_S)


@dataclass
class Nodes:
    """Starts nodes and ends those that a test left behind."""

    folder: Path
    started: list[Process] = field(default_factory=list)

    def start(self, node: str, *arguments: str, **parameters) -> Process:
        """Start a module of m3_ros.nodes, or a script of this folder, with parameters."""
        script = HERE / f"{node}.py"
        command = [sys.executable, str(script)] if script.exists() else [sys.executable, "-m", f"m3_ros.nodes.{node}"]
        settings = [part for key, value in parameters.items() for part in ("-p", f"{key}:={as_yaml(value)}")]
        log = self.folder / f"{len(self.started)}_{node}.log"
        with log.open("wb") as sink:
            ros = ["--ros-args", *settings] if settings else []
            process = subprocess.Popen([*command, *arguments, *ros], stdout=sink, stderr=subprocess.STDOUT)
        self.started.append(Process(process, log))
        return self.started[-1]

    def end(self) -> None:
        for process in self.started:
            process.process.poll() is None and process.process.kill()
            process.wait()


def as_yaml(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str | Path) else str(value)


@pytest.fixture(scope="session", autouse=True)
def own_graph(tmp_path_factory):
    """Give all processes of this session a DDS domain that nobody else uses, and folders of their own."""
    from m3_ros.nodes.runtime import local_environment

    home = tmp_path_factory.mktemp("ros")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        patch.setenv("ROS_LOG_DIR", str(home / "log"))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]))
        for name, value in local_environment().items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def nodes(tmp_path):
    starter = Nodes(tmp_path)
    yield starter
    starter.end()


@pytest.fixture(scope="module")
def module_nodes(tmp_path_factory):
    starter = Nodes(tmp_path_factory.mktemp("nodes"))
    yield starter
    starter.end()


@pytest.fixture(scope="module")
def client():
    from m3_ros.nodes.client import Client

    with Client("test") as one:
        yield one


@pytest.fixture(scope="session")
def small_room() -> dict:
    """Parameters of a simulator that is quick: a coarse room and small pictures."""
    return {"seed": 8, "complete": False, "texel_m": 0.06, "width_px": 160, "height_px": 120, "time_scale": 4.0}
