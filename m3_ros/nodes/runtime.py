"""How a node of this package starts and ends: DDS profile, executor, clean exit on signals, one line on failure."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import rclpy
from rclpy.exceptions import (
    InvalidHandle,
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterException,
)
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node

from m3_ros.errors import M3Error

log = logging.getLogger(__name__)
RCLError = rclpy_implementation.RCLError
_LONGEST_WAIT_S = 1.0
"""How late a node can be to see that ROS was shut down."""


def share_file(relative: str) -> Path:
    """Return an installed data file of the package, or the one in the source tree.

    Raises:
        M3Error: it is in neither.
    """
    source = Path(__file__).resolve().parents[2] / relative
    if source.is_file():
        return source
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    for prefix in filter(None, prefixes):
        installed = Path(prefix) / "share" / "m3_ros" / relative
        if installed.is_file():
            return installed
    raise M3Error(
        f"{relative} of m3_ros is not installed; looked in {source.parent} and in share/m3_ros of {prefixes}: "
        "install the package again"
    )


def fastdds_environment() -> dict[str, str]:
    """Return the variables that give Fast DDS shared memory large enough for images; what the user has set stays.

    The default segment (512 KiB) is smaller than a 640x480 picture, and best-effort subscribers then lose half of them.
    The writing process needs the profile: camera drivers and bag players too.
    """
    profile = str(share_file("config/fastdds.xml"))
    names = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # Humble and Jazzy; Kilted and later
    return {name: os.environ.get(name, profile) for name in names}


def local_environment() -> dict[str, str]:
    """Return the environment of a graph on this machine alone: our DDS profile, pip's ament prefix, loopback only."""
    defaults = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "AMENT_PREFIX_PATH": sys.prefix}
    return {
        **os.environ,
        **{name: os.environ.get(name) or value for name, value in defaults.items()},
        **fastdds_environment(),
    }


def run(create: Callable[[], Node], args: Sequence[str] | None = None, threads: int = 1) -> int:
    """Create a node and spin it until SIGINT, SIGTERM or its own error; return the exit code.

    A node may have `close()`, which may raise M3Error: it is called after spinning; ROS may be shut down by then.
    """
    os.environ.update(fastdds_environment())
    rclpy.init(args=list(args) if args is not None else None)
    try:
        node = create()
        try:
            _spin(node, threads)
        finally:
            _close(node)
    except ExternalShutdownException:
        return 0
    except (M3Error, ParameterException, InvalidParameterValueException, InvalidParameterTypeException) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        rclpy.try_shutdown()
    return 0


def _spin(node: Node, threads: int) -> None:
    forward_logging(node)
    executor = MultiThreadedExecutor(threads) if threads > 1 else SingleThreadedExecutor()
    executor.add_node(node)
    try:
        with quiet_after_shutdown(node):
            while node.context.ok():  # executor.spin() waits for ever when a signal comes just before it begins to wait
                executor.spin_once(timeout_sec=_LONGEST_WAIT_S)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        executor.remove_node(node)
        executor.shutdown()


@contextmanager
def quiet_after_shutdown(node: Node) -> Iterator[None]:
    """Swallow what rclpy raises when a signal shuts it down between two of its own steps."""
    try:
        yield
    except (RCLError, InvalidHandle):
        if node.context.ok():
            raise


def _close(node: Node) -> None:
    try:
        close = getattr(node, "close", None)
        if close is not None:
            close()
    finally:
        logging.getLogger("m3_ros").handlers.clear()
        node.destroy_node()


class _ToRclpy(logging.Handler):
    """Passes our log records on to the node's logger, and so to /rosout."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._logger = node.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record."""
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)


def forward_logging(node: Node) -> None:
    """Send what the core logs to the node's logger."""
    root = logging.getLogger("m3_ros")
    root.handlers[:] = [_ToRclpy(node)]
    root.setLevel(logging.INFO)
    root.propagate = False
