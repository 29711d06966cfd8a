"""Child processes: how the command line starts ROS nodes, watches their memory and ends them."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

STOP_SECONDS = 15.0
"""A process that has not ended this long after SIGTERM is killed [s]."""


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of this package with this Python."""
    return [sys.executable, "-m", module, *arguments]


def node_command(node: str, parameters: Mapping[str, object] | None = None, *ros_arguments: str) -> list[str]:
    """Return the command line of one of our nodes with parameters."""
    settings = [part for name, value in (parameters or {}).items() for part in ("-p", f"{name}:={_yaml(value)}")]
    extra = ["--ros-args", *settings, *ros_arguments] if settings or ros_arguments else []
    return module_command(f"m3_ros.nodes.{node}", *extra)


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def node_environment(domain_id: int | None = None, log_dir: Path | None = None) -> dict[str, str]:
    """Return the environment for nodes: loopback discovery, DDS profile for big images, this Python's ament prefix."""
    environment = dict(os.environ)
    environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    environment.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    environment.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    environment.setdefault("OMP_WAIT_POLICY", "passive")
    profile = dds_profile()
    if profile is not None:
        environment.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(profile))
        environment.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(profile))
    if domain_id is not None:
        environment["ROS_DOMAIN_ID"] = str(domain_id)
    if log_dir is not None:
        environment["ROS_LOG_DIR"] = str(log_dir)
    return environment


def dds_profile() -> Path | None:
    """Return the Fast DDS profile shipped with the package, from the source tree or the installed share."""
    for root in (Path(__file__).parents[2], Path(sys.prefix, "share", "m3_ros")):
        profile = root / "config" / "fastdds.xml"
        if profile.is_file():
            return profile
    return None


def run_foreground(command: list[str]) -> int:
    """Run a command until it ends; Ctrl-C reaches it and it may finish its work."""
    process = subprocess.Popen(command, env=node_environment())
    try:
        return process.wait()
    except KeyboardInterrupt:
        stop([process])
        return process.returncode or 0


def stop(processes: Iterable[subprocess.Popen[Any]]) -> None:
    """End processes with SIGTERM, all at once; those that hang are killed."""
    alive = [p for p in processes if p.poll() is None]
    for process in alive:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for process in alive:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class MemoryWatch:
    """Samples the resident memory of this process and all its children [MB]; `peak_mb` is the highest sum seen."""

    def __init__(self, interval_s: float = 0.5) -> None:
        self.peak_mb = 0.0
        self._interval = interval_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self._interval):
            self.peak_mb = max(self.peak_mb, tree_rss_mb(os.getpid()))


def tree_rss_mb(root: int) -> float:
    """Return the resident memory [MB] of a process and its descendants; shared pages count for each."""
    parents: dict[int, int] = {}
    resident: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            pages = int((entry / "statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            continue  # it ended meanwhile
        parents[int(entry.name)] = int(fields[1])
        resident[int(entry.name)] = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    total = 0.0
    for pid, megabytes in resident.items():
        ancestor = pid
        while ancestor not in (root, 0) and ancestor in parents:
            ancestor = parents[ancestor]
        if ancestor == root:
            total += megabytes
    return total
