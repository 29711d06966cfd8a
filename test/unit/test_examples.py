"""The examples run, one after the other, each on what the one before it wrote."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(number: str, *arguments: object) -> str:
    script = next(p for p in EXAMPLES if p.name.startswith(number))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(180)
def test_examples_lead_from_a_walk_to_an_answer(tmp_path):
    walk, memory = tmp_path / "walk", tmp_path / "walk.m3"
    assert "frames in" in run("01", walk, 3, 0.7)
    assert "keyframes" in run("02", walk)
    assert "Gaussians" in run("03", walk, memory, 3)
    answers = run("04", memory, "the chair", "a bicycle")
    assert "the chair: " in answers
    assert "a bicycle: " in answers


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda p: p.stem)
def test_example_is_short_and_says_what_it_does(script):
    lines = script.read_text().splitlines()
    assert len(lines) < 80
    assert lines[0].startswith('"""')
