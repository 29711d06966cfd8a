"""`m3`: the entry point. A command is one function in one file and one line in COMMANDS."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from m3_ros.errors import M3Error

COMMANDS = {
    "demo": "the whole path in a simulated room: walk, record, train, ask, drive",
    "sim": "publish a simulated robot over ROS 2, or write its walk to a folder",
    "record": "record camera, odometry and transforms to a bag",
    "check": "say what is wrong with a recording before time is spent on training",
    "train": "build a memory from a recording",
    "add": "add what was seen on another walk to a memory",
    "forget": "take away what a walk added to a memory",
    "ask": "find things in a memory",
    "describe": "say in words what a memory shows at a pose",
    "trace": "show which views and pixels the memory of a pixel came from",
    "info": "say what a recording or a memory holds",
    "export": "write a memory's Gaussians as a file that other programs open",
    "up": "start all ROS 2 nodes where there is no `ros2 launch`",
    "train-encoder": "train the embedded encoder on generated rooms",
    "bench encoder": "measure the embedded encoder on rooms it was not trained on",
    "bench answers": "measure what memories of simulated rooms answer, and refit the probability",
    "bench raster": "measure the rendering kernel against the processor's own limit",
    "bench train": "measure the geometry stage: quality against time",
    "bench memory": "measure what a memory keeps of its encoders' features, and what it costs",
}
"""Names and one-line help; the code of `some name` is m3_ros/cli/some_name.py, function `run`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake ends in one line on stderr and exit code 1."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name, rest = _split(arguments)
    if name not in COMMANDS:
        return _usage(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname).1s %(name)s: %(message)s")
    try:
        return _command(name)(rest)
    except M3Error as error:
        sys.stderr.write(f"m3 {name}: {error}\n")
        return 1
    except BrokenPipeError:  # `m3 info memory | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        sys.stderr.write(f"m3 {name}: stopped\n")
        return 130


def _split(arguments: list[str]) -> tuple[str, list[str]]:
    """Return the command, of one word or two, and what follows it."""
    words = 2 if " ".join(arguments[:2]) in COMMANDS else 1
    return " ".join(arguments[:words]), arguments[words:]


def _command(name: str) -> Callable[[list[str]], int]:
    import tyro

    run = import_module(f"m3_ros.cli.{name.replace('-', '_').replace(' ', '_')}").run

    def call(arguments: list[str]) -> int:
        code = tyro.cli(run, args=arguments, prog=f"m3 {name}", description=run.__doc__.partition("\n")[0])
        return int(code or 0)

    return call


def _usage(arguments: list[str]) -> int:
    wanted_help = bool(arguments) and arguments[0] in ("-h", "--help")
    lines = ["usage: m3 COMMAND [options]; `m3 COMMAND --help` says more", ""]
    lines += [f"  {name:14}{text}" for name, text in COMMANDS.items()]
    if arguments and not wanted_help:
        lines.insert(0, f"m3: there is no command {arguments[0]!r}")
    (sys.stdout if wanted_help else sys.stderr).write("\n".join(lines) + "\n")
    return 0 if wanted_help else 2


if __name__ == "__main__":
    sys.exit(main())
