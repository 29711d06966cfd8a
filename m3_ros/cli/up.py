"""`m3 up`: all nodes from one command, for machines where ROS came from pip and there is no `ros2`."""

from pathlib import Path

from m3_ros.cli.processes import module_command, run_foreground


def run(memory: Path | None = None, params_file: Path | None = None) -> int:
    """Start recorder, trainer, memory and navigator; Ctrl-C stops them all.

    Args:
        memory: Memory to load at the start; default: what the parameter file says.
        params_file: ROS parameter file; default: config/memory.yaml of the package.
    """
    arguments: list[str] = []
    if params_file is not None:
        arguments += ["--params-file", str(params_file)]
    if memory is not None:
        arguments += ["--memory", str(memory.resolve())]
    return run_foreground(module_command("m3_ros.nodes.graph", *arguments))
