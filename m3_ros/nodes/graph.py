"""All nodes from one command, for machines without `ros2 launch`: one dies, all end, and it says which and why."""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import FrameType

from m3_ros.nodes.runtime import local_environment, share_file

NODES = ("recorder", "trainer", "memory", "navigator")
"""What `m3 up` starts."""
STOP_S = 10.0
"""A node that has not ended so long after SIGTERM is killed [s]; less than `m3 demo` grants the whole graph."""


@dataclass(frozen=True)
class GraphSettings:
    """What to start and how."""

    nodes: tuple[str, ...] = NODES
    """Modules of m3_ros.nodes."""
    params_file: Path | None = None
    """Parameters of all nodes; None: config/memory.yaml of the package."""
    memory: Path | None = None
    """Memory to load at the start; None: what the parameter file says."""
    namespace: str = "m3"
    """Namespace of the nodes."""
    use_sim_time: bool = False
    """Follow /clock."""
    log_level: str = "info"
    """debug, info, warn, error or fatal."""


def node_command(node: str, settings: GraphSettings) -> list[str]:
    """Return the command line of one node."""
    params = settings.params_file or share_file("config/memory.yaml")
    command = [sys.executable, "-m", f"m3_ros.nodes.{node}", "--ros-args", "--params-file", str(params)]
    command += ["-r", f"__ns:=/{settings.namespace.strip('/')}", "--log-level", f"{node}:={settings.log_level}"]
    command += ["-p", f"use_sim_time:={str(settings.use_sim_time).lower()}"]
    if node == "memory" and settings.memory is not None:
        command += ["-p", f"memory_path:='{settings.memory}'"]
    return command


def up(settings: GraphSettings) -> int:
    """Start the nodes and wait; a signal or the end of any node ends them all. Returns the exit code."""
    events: SimpleQueue[tuple[str, int]] = SimpleQueue()

    def on_signal(number: int, _: FrameType | None) -> None:
        events.put(("", number))

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    for node in settings.nodes:
        # A session of its own: Ctrl-C reaches only us, and each node gets one signal, from us.
        processes[node] = subprocess.Popen(
            node_command(node, settings), env=local_environment(), start_new_session=True
        )
        Thread(target=_watch, args=(node, processes[node], events), daemon=True).start()
    sys.stderr.write(f"m3 up: {', '.join(settings.nodes)} are running; Ctrl-C stops them\n")
    node, code = events.get()
    if node:
        sys.stderr.write(
            f"m3 up: the {node} ended with {_exit(code)} (its own message is above); stopping the others\n"
        )
    failed = _stop(processes)
    return 1 if node or failed else 0


def _watch(node: str, process: subprocess.Popen[bytes], events: "SimpleQueue[tuple[str, int]]") -> None:
    events.put((node, process.wait()))


def _exit(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _stop(processes: dict[str, subprocess.Popen[bytes]]) -> list[str]:
    """End all nodes; returns those that had to be killed or failed on the way out."""
    running = {node: process for node, process in processes.items() if process.poll() is None}
    deadline = time.monotonic() + STOP_S
    _ask_to_end(running, deadline - STOP_S / 2)
    _ask_to_end(running, deadline)  # rclpy now and then sleeps through the first signal
    failed = []
    for node, process in running.items():
        if process.poll() is None:
            process.kill()
        code = process.wait()
        if code not in (0, -signal.SIGTERM):  # the second: it was still starting
            sys.stderr.write(f"m3 up: the {node} ended with {_exit(code)}\n")
            failed.append(node)
    return failed


def _ask_to_end(processes: dict[str, subprocess.Popen[bytes]], deadline: float) -> None:
    """Send SIGTERM to all that still run and wait for them until the deadline (monotonic clock) [s]."""
    alive = [process for process in processes.values() if process.poll() is None]
    for process in alive:
        process.send_signal(signal.SIGTERM)
    for process in alive:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))


def main(args: Sequence[str] | None = None) -> int:
    """Start all nodes from the command line."""
    parser = argparse.ArgumentParser(prog="m3 up", description=__doc__)
    parser.add_argument("--nodes", nargs="+", default=list(NODES), help="modules of m3_ros.nodes to start")
    parser.add_argument(
        "--params-file", type=Path, help="ROS parameter file; default: config/memory.yaml of the package"
    )
    parser.add_argument("--memory", type=Path, help="memory to load at the start")
    parser.add_argument("--namespace", default="m3", help="namespace of the nodes")
    parser.add_argument("--use-sim-time", action="store_true", help="follow /clock")
    parser.add_argument("--log-level", default="info", help="debug, info, warn, error or fatal")
    given = parser.parse_args(args)
    if given.params_file is not None and not given.params_file.is_file():
        parser.error(f"there is no parameter file {given.params_file}")
    memory = given.memory.resolve() if given.memory is not None else None
    return up(
        GraphSettings(
            tuple(given.nodes), given.params_file, memory, given.namespace, given.use_sim_time, given.log_level
        )
    )


if __name__ == "__main__":
    sys.exit(main())
