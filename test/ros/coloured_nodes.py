"""Runs a node that knows the encoder `colours` of the unit tests: `coloured_nodes.py memory --ros-args ...`."""

import importlib.util
import sys
from importlib import import_module
from pathlib import Path

from m3_ros.features import registry


def unit_conftest():
    """Import the unit tests' room of coloured things."""
    path = Path(__file__).parents[1] / "unit" / "conftest.py"
    spec = importlib.util.spec_from_file_location("coloured_room", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["coloured_room"] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    registry.ENCODERS["colours"] = lambda source, compute: unit_conftest().ColourEncoder()
    sys.exit(import_module(f"m3_ros.nodes.{sys.argv[1]}").main(sys.argv[1:]))
