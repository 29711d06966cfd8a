"""The main job, as `make demo` does it, in a hurry: real processes, real DDS, a real training."""

import json
import subprocess
import sys

import pytest

from m3_ros.cli.processes import node_environment

LEAST_FOUND = 6
"""Of eleven things with the shortest training; `make demo` with the balanced preset wants nine."""


@pytest.mark.ros
@pytest.mark.timeout(420)
def test_from_a_walk_to_an_answer_to_a_goal(tmp_path):
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "m3_ros.cli.main", "demo", "--out", str(out), "--preset", "seconds"]
    ended = subprocess.run(
        [*command, "--time-scale", "3"],
        env=node_environment(),
        timeout=400,
        capture_output=True,
        text=True,
        check=False,
    )
    logs = "\n".join(f"== {f.name}\n{f.read_text()[-3000:]}" for f in sorted(out.glob("log/*.log")))
    assert (out / "summary.json").exists(), f"{ended.stderr[-3000:]}\n{logs}"
    summary = json.loads((out / "summary.json").read_text())
    assert summary["frames_recorded"] == summary["frames_published"] > 500
    present = [q for q in summary["queries"] if q["expected"] == "present"]
    assert sum(q["correct"] for q in present) >= LEAST_FOUND, ended.stdout
    assert [q["status"] for q in summary["queries"] if q["expected"] == "absent"] == ["NOT_FOUND"]
    assert summary["goal"]["reached"], logs
    assert summary["goal"]["collision_free"]
    pictures = {p.name for p in (out / "pictures").iterdir()}
    assert {"renders_beside_camera.png", "map.png"} <= pictures
