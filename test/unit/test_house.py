"""What surrounds the code agrees with itself: manifest, version, interfaces, requirements, files and documents."""

import ast
import importlib.metadata
import re
import sys
from configparser import ConfigParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = ET.parse(ROOT / "package.xml").getroot()
INTERFACES = sorted(p for kind in ("msg", "srv", "action") for p in (ROOT / kind).iterdir())
NODES = ("recorder", "trainer", "memory", "navigator", "simulator")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "doc").glob("*.md"))]
DISTRIBUTION_OF = {
    "open_clip": "open_clip_torch",
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "ruamel": "ruamel.yaml",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()


def requirements() -> dict[str, list[str]]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = {name: text.split() for name, text in config["options.extras_require"].items()}
    return {"": config["options"]["install_requires"].split(), **extras}


def pins() -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    return {normal(name): version for name, version in (line.split("==") for line in lines if line)}


def test_manifest_is_of_format_3_with_licence_maintainer_and_url():
    assert MANIFEST.get("format") == "3"
    assert MANIFEST.findtext("license") == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert MANIFEST.find("maintainer").get("email")
    assert MANIFEST.findtext("url")
    assert MANIFEST.findtext("member_of_group") == "rosidl_interface_packages"
    assert MANIFEST.findtext("export/build_type") == "ament_cmake"


def test_manifest_is_valid_to_catkin_pkg():
    package = pytest.importorskip("catkin_pkg.package", reason="comes with the ROS wheels")
    warnings: list[str] = []
    package.parse_package(str(ROOT / "package.xml"), warnings=warnings)
    assert warnings == []


def test_version_is_the_same_in_manifest_changelog_and_installation():
    version = MANIFEST.findtext("version")
    newest = re.search(r"^(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == version
    assert importlib.metadata.version("m3_ros") == version


@pytest.mark.parametrize("path", INTERFACES, ids=lambda p: p.name)
def test_every_interface_field_has_a_comment(path):
    lines = [line for line in path.read_text().splitlines() if line.strip() and line.strip() != "---"]
    assert lines[0].startswith("# ")
    assert [line for line in lines if not re.search(r"# \S", line)] == []


def test_every_interface_is_generated():
    listed = set(re.findall(r'"((?:msg|srv|action)/\w+\.\w+)"', (ROOT / "CMakeLists.txt").read_text()))
    assert listed == {str(p.relative_to(ROOT)) for p in INTERFACES}


def test_generated_interfaces_are_found_beside_the_sources():
    from m3_ros.action import TrainMemory
    from m3_ros.msg import Grounding
    from m3_ros.srv import LoadMemory, Query

    assert all((Grounding, Query.Request, LoadMemory.Request, TrainMemory.Goal))


@pytest.mark.parametrize("node", NODES)
def test_every_executable_has_a_main(node):
    tree = ast.parse((ROOT / "m3_ros/nodes" / f"{node}.py").read_text())
    assert "main" in {f.name for f in tree.body if isinstance(f, ast.FunctionDef)}
    assert node in re.search(r"foreach\(_node ([\w ]+)\)", (ROOT / "CMakeLists.txt").read_text())[1].split()


def test_every_command_has_a_module():
    from m3_ros.cli.main import COMMANDS

    modules = {name: f"{name.replace('-', '_').replace(' ', '_')}.py" for name in COMMANDS}
    assert [name for name, module in modules.items() if not (ROOT / "m3_ros/cli" / module).is_file()] == []


def test_launch_and_config_files_are_there_and_readable():
    for path in (ROOT / "launch").glob("*.py"):
        assert "def generate_launch_description" in path.read_text(), path
    assert (ROOT / "launch/memory.launch.py").is_file()
    assert yaml.safe_load((ROOT / "config/memory.yaml").read_text())
    assert ET.parse(ROOT / "config/fastdds.xml").getroot().tag.endswith("dds")


def test_every_requirement_is_pinned_with_all_it_brings():
    pinned, unpinned, seen = pins(), set(), set()
    todo = [normal(r) for group in requirements().values() for r in group]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        if name not in pinned:
            unpinned.add(name)
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that this machine does not have
        todo += [normal(r) for r in needed if ";" not in r]
    assert unpinned == set()


def imported_distributions() -> set[str]:
    modules = set()
    for path in (p for p in (ROOT / "m3_ros").rglob("*.py") if "nodes" not in p.parts):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            modules |= {n.split(".")[0] for n in names}
    return {normal(DISTRIBUTION_OF.get(m, m)) for m in modules - sys.stdlib_module_names - {"m3_ros"}}


def test_what_is_imported_is_required_and_the_core_requires_nothing_else():
    declared = requirements()
    assert imported_distributions() <= {normal(r) for group in declared.values() for r in group}
    assert {normal(r) for r in declared[""]} <= imported_distributions()


def test_documents_name_only_commands_and_files_that_exist():
    from m3_ros.cli.main import COMMANDS

    words = {name.split()[0] for name in COMMANDS}
    for document in DOCUMENTS:
        text = document.read_text()
        code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))
        assert set(re.findall(r"(?:^|[`\s])m3 ([a-z][a-z-]*)", code)) <= words, document
        links = (link for link in re.findall(r"\]\(([^)#\s]+)\)", text) if "://" not in link)
        assert [link for link in links if not (document.parent / link).exists()] == [], document


def test_every_parameter_of_a_node_is_documented():
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "doc/nodes.md").read_text(), re.MULTILINE))
    declared = set()
    for path in (ROOT / "m3_ros/nodes").glob("*.py"):
        for cls in (c for c in ast.parse(path.read_text()).body if isinstance(c, ast.ClassDef)):
            if (ast.get_docstring(cls) or "").startswith("Parameters of the"):
                declared |= {field.target.id for field in cls.body if isinstance(field, ast.AnnAssign)}
    assert declared
    assert declared <= documented
