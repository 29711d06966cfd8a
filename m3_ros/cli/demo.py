"""`m3 demo`: the whole path in a simulated room, over real DDS: walk, record, train, ask, drive, and judge it all."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from m3_ros.cli.processes import MemoryWatch, module_command, node_command, node_environment, stop
from m3_ros.cli.progress_line import ProgressLine
from m3_ros.errors import M3Error

QUESTIONS = (
    ("find the chair", "chair"),
    ("find the sofa", "sofa"),
    ("find the bookshelf", "bookshelf"),
    ("find the potted plant", "plant"),
    ("find the floor lamp", "lamp"),
    ("find the television", "tv"),
    ("find the traffic cone", "traffic cone"),
    ("find the soccer ball", "soccer ball"),
    ("find the fire extinguisher", "fire extinguisher"),
    ("find the cardboard box", "cardboard box"),
    ("find the trash bin", "trash bin"),
    ("find the bicycle", "bicycle"),
)
"""What is asked, and the kind of thing that is meant; no room has a bicycle."""

OUR_FILES = ("recording", "memory.m3", "log", "pictures", "params.yaml", "summary.json")


@dataclass(frozen=True)
class DemoPaths:
    """Where the demo's files lie."""

    root: Path

    @property
    def recording(self) -> Path:
        """The bag."""
        return self.root / "recording"

    @property
    def memory(self) -> Path:
        """The memory."""
        return self.root / "memory.m3"

    @property
    def pictures(self) -> Path:
        """The pictures."""
        return self.root / "pictures"

    @property
    def log(self) -> Path:
        """Logs of the nodes."""
        return self.root / "log"


def run(
    out: Path = Path("runs/demo"), seed: int | None = None, preset: str = "balanced", time_scale: float = 1.0
) -> int:
    """Let a simulated robot walk, record, remember, answer and drive to the answer; exit code 0 if all went well.

    Args:
        out: Folder of the results; those of an earlier demo there are replaced.
        seed: Room; default: the demo room.
        preset: Training preset.
        time_scale: Simulated seconds per second.
    """
    from m3_ros.cli.demo_report import Outcome, report
    from m3_ros.sim.layout import DEMO_SEED

    room = DEMO_SEED if seed is None else seed
    paths = _fresh(out)
    start = time.monotonic()
    with MemoryWatch() as watch, _nodes(paths, room, time_scale) as environment:
        ready = time.monotonic()
        mission = _mission(paths, preset, environment)
    setup = float(os.environ.get("M3_SETUP_SECONDS", "0")) + ready - start
    total = float(os.environ.get("M3_SETUP_SECONDS", "0")) + time.monotonic() - start
    return report(Outcome(paths, room, QUESTIONS, mission, setup, total, watch.peak_mb))


def _fresh(root: Path) -> DemoPaths:
    """Empty the folder of an earlier demo; refuses one that holds anything else."""
    root = root.resolve()
    if root.exists() and (foreign := sorted({p.name for p in root.iterdir()} - set(OUR_FILES))):
        raise M3Error(f"{root} holds {foreign[0]!r}, which no demo wrote: choose another folder with --out")
    shutil.rmtree(root, ignore_errors=True)
    paths = DemoPaths(root)
    paths.log.mkdir(parents=True)
    return paths


@contextmanager
def _nodes(paths: DemoPaths, seed: int, time_scale: float) -> Iterator[dict[str, str]]:
    """Run the simulated robot and the nodes, on a ROS domain of their own; yields the environment of their clients."""
    environment = node_environment(random.randint(1, 100), paths.log)
    params = paths.root / "params.yaml"
    params.write_text(f"/**/recorder:\n  ros__parameters:\n    auto_start: false\n    bag_path: {paths.recording}\n")
    commands = {
        "simulator": node_command("simulator", {"seed": seed, "time_scale": time_scale}),
        "graph": module_command("m3_ros.nodes.graph", "--params-file", str(params)),
    }
    processes = []
    try:
        for name, command in commands.items():
            with (paths.log / f"{name}.log").open("wb") as log:
                processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        yield environment
    finally:
        stop(processes)


def _mission(paths: DemoPaths, preset: str, environment: dict[str, str]) -> dict[str, Any]:
    """Run the mission and show it live; returns its last word."""
    questions = [question for question, _ in QUESTIONS]
    arguments = ["--recording", str(paths.recording), "--memory", str(paths.memory), "--preset", preset, *questions]
    process = subprocess.Popen(
        module_command("m3_ros.nodes.mission", *arguments), env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        result = _follow(process.stdout) if process.stdout else None
        if process.wait() != 0 or result is None:
            raise M3Error(f"the demo did not get to its end; the logs of the nodes are in {paths.log}")
    finally:
        stop([process])
    return result


def _follow(lines: IO[str]) -> dict[str, Any] | None:
    done: dict[str, Any] | None = None
    with ProgressLine() as line:
        for text in lines:
            event = json.loads(text)
            if event["event"] == "stage":
                line.say(STAGE_WORDS[event["name"]])
            elif event["event"] == "progress":
                line.update(event["stage"], event["fraction"], event["psnr_db"], event["gaussians"], event["eta_s"])
            elif event["event"] == "answer":
                line.say(f"  {event['text']}: {event['message']}")
            elif event["event"] == "done":
                done = event
    return done


STAGE_WORDS = {
    "record": "the robot patrols the room, the recorder records it (a minute or so) ...",
    "train": "training the memory ...",
    "query": "asking ...",
    "drive": "driving to the first answer ...",
}


def main_versions() -> dict[str, str]:
    """Return the versions that a summary states."""
    from importlib import metadata

    names: Sequence[str] = ("torch", "numpy", "mujoco", "ros-rclpy", "rosbags")
    versions = {name: metadata.version(name) for name in names}
    return {"python": sys.version.split()[0], **versions}
