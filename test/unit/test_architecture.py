"""The rooms keep their borders: who imports whom, who knows ROS, how long a module may get, what the linters say."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "m3_ros"
MODULES = sorted(PACKAGE.rglob("*.py"))
KERNEL = sorted(p for suffix in ("*.cpp", "*.h", "*.hpp") for p in (PACKAGE / "splat/csrc").glob(suffix))
ROS_TOP_LEVEL = {
    "ament_index_python", "builtin_interfaces", "cv_bridge", "launch", "launch_ros", "message_filters",
    "rcl_interfaces", "rclpy", "rosidl_runtime_py", "sensor_msgs_py", "tf2_py", "tf2_ros", "tf_transformations",
}  # fmt: skip


HEAVY = {"torchvision", "mujoco", "rclpy", "gsplat", "open_clip", "transformers"}


def imported_modules(path: Path):
    for node in ast.walk(ast.parse(path.read_text(), path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def names_ros(module: str) -> bool:
    top, *rest = module.split(".")
    generated = top == "m3_ros" and rest[:1] in (["msg"], ["srv"], ["action"])
    return generated or top in ROS_TOP_LEVEL or top.endswith(("_msgs", "_srvs"))


def run_tool(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_run_one_way():
    # In a process of its own: import-linter configures logging and silences every logger that is there already.
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_nodes_and_launch_files_import_ros():
    outside = [p for p in MODULES if (PACKAGE / "nodes") not in p.parents]
    assert [(str(p), m) for p in outside for m in imported_modules(p) if names_ros(m)] == []


def test_no_module_is_above_400_lines():
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in [*MODULES, *KERNEL]}
    assert {name: n for name, n in lengths.items() if n > 400} == {}


def test_every_room_says_what_lives_in_it():
    rooms = {p.parent for p in MODULES}
    doors = [room / "__init__.py" for room in rooms]
    assert [str(d) for d in doors if not d.is_file() or not ast.get_docstring(ast.parse(d.read_text()))] == []


def test_interfaces_are_generated_and_not_written_into_the_sources():
    assert not [name for name in ("msg", "srv", "action") if (PACKAGE / name).exists()]


def test_importing_a_room_does_not_import_torchvision_mujoco_or_rclpy():
    rooms = sorted(p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file() and p.name != "nodes")
    code = f"import sys, {', '.join(f'm3_ros.{room}' for room in rooms)}; print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ruff_is_content():
    run_tool("ruff", "check", "--quiet", ".")


@pytest.mark.timeout(300)
def test_mypy_is_content():
    run_tool("mypy")  # a minute without its cache, a few seconds with it
