"""The demo's mission, as any client of the nodes could run it: record a patrol, train, ask, drive to the first answer.

Says what happens as JSON lines on stdout: {"event": "stage" | "progress" | "answer" | "done", ...}.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m3_ros.action import TrainMemory
from m3_ros.errors import M3Error
from m3_ros.msg import Grounding
from m3_ros.nodes.client import Client
from m3_ros.nodes.conversions import pose_to_matrix
from m3_ros.srv import Query

START_S = 120.0
"""Nodes are up and the simulated room is built within this time [s]."""
PATROL_S = 300.0
"""The patrol ends within this time [s]."""
WALK_S = 120.0
"""The robot reaches its goal within this time [s]."""


def tell(event: str, **fields: Any) -> None:
    """Print one event as a line of JSON."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def record(client: Client) -> dict[str, Any]:
    """Record one patrol of the simulated robot; returns its last state and the recorder's."""
    client.status(lambda s: s["state"] in ("waiting", "patrolling"), timeout_s=START_S)
    tell("stage", name="record")
    start = time.monotonic()
    client.trigger("recorder/start")
    robot = client.status(lambda s: s["state"] == "idle", timeout_s=PATROL_S)
    message = client.trigger("recorder/stop", timeout_s=60.0)
    recorder = client.status(lambda s: s["state"] == "stopped", "recorder", "status", 30.0)
    return {"seconds": time.monotonic() - start, "robot": robot, "recorder": recorder, "message": message}


def train(client: Client, recording: Path, memory: Path, preset: str) -> dict[str, Any]:
    """Train with live progress; returns what the trainer said.

    Raises:
        M3Error: the training failed.
    """
    tell("stage", name="train")
    start = time.monotonic()
    result = client.train(recording, memory, preset, on_feedback=_tell_progress)
    if result.error_code != TrainMemory.Result.NONE:
        raise M3Error(f"the training failed: {result.message}")
    return {
        "seconds": time.monotonic() - start,
        "memory": result.memory_url,
        "psnr_db": result.psnr_db,
        "gaussians": result.gaussians,
    }


def ask(client: Client, question: str) -> dict[str, Any]:
    """Ask one question; returns the response as plain values."""
    start = time.monotonic()
    response = client.query(question)
    answer = {
        "text": question,
        "status": int(response.status),
        "error_code": int(response.error_code),
        "message": response.message,
        "seconds": time.monotonic() - start,
        "candidates": [_plain(c) for c in response.candidates],
    }
    if response.error_code != Query.Response.NONE:
        raise M3Error(f"{question!r} was not answered: {response.message}")
    tell("answer", **answer)
    return answer


def drive(client: Client, question: str) -> dict[str, Any]:
    """Ask, send the robot to the answer and wait; returns its last state."""
    tell("stage", name="drive")
    start = time.monotonic()
    message = client.go(client.query(question))
    robot = client.status(lambda s: s["reached"] is not None, timeout_s=WALK_S)
    return {"text": question, "seconds": time.monotonic() - start, "message": message, "robot": robot}


def run(recording: Path, memory: Path, preset: str, questions: Sequence[str]) -> dict[str, Any]:
    """Run the whole mission; the robot drives to the first thing that was found."""
    with Client("mission") as client:
        recorded = record(client)
        trained = train(client, recording, memory, preset)
        start = time.monotonic()
        tell("stage", name="query")
        loaded = client.load_memory(memory)
        if loaded.error_code != 0:
            raise M3Error(f"the memory was not loaded: {loaded.message}")
        answers = [ask(client, question) for question in questions]
        queried = time.monotonic() - start
        goal: dict[str, Any] = {"text": "", "message": "nothing was found, so there is nowhere to drive to"}
        first = next((a["text"] for a in answers if a["status"] == Query.Response.FOUND), None)
        if first is not None:
            goal = drive(client, first)
    return {"record": recorded, "train": trained, "answers": answers, "query_seconds": queried, "goal": goal}


def _tell_progress(feedback: TrainMemory.Feedback) -> None:
    tell(
        "progress",
        stage=feedback.stage,
        fraction=feedback.fraction,
        eta_s=feedback.eta_s,
        psnr_db=feedback.psnr_db,
        gaussians=feedback.gaussians,
    )


def _plain(candidate: Grounding) -> dict[str, Any]:
    return {
        "probability": candidate.probability,
        "centre": [candidate.centre.x, candidate.centre.y, candidate.centre.z],
        "T_map_base": pose_to_matrix(candidate.approach).tolist() if candidate.has_approach else None,
    }


def main(args: Sequence[str] | None = None) -> int:
    """Run the mission from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recording", type=Path, required=True, help="bag that the recorder writes")
    parser.add_argument("--memory", type=Path, required=True, help="folder of the memory to train")
    parser.add_argument("--preset", default="", help="preset of the training")
    parser.add_argument("questions", nargs="+", help="the robot drives to the first that is found")
    given = parser.parse_args(args)
    try:
        tell("done", **run(given.recording, given.memory, given.preset, given.questions))
    except M3Error as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
