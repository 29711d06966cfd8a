"""The client as commands: `python -m m3_ros.nodes.ask query "find the chair" --json`; query, load, train, go."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from m3_ros.action import TrainMemory
from m3_ros.errors import M3Error
from m3_ros.geometry.pose import yaw_of
from m3_ros.nodes.client import Client
from m3_ros.nodes.conversions import pose_to_matrix
from m3_ros.srv import LoadMemory, Query

STATUS = ("FOUND", "NOT_FOUND", "UNOBSERVED", "AMBIGUOUS")


def query(client: Client, given: argparse.Namespace) -> int:
    """Ask one question."""
    response = client.query(given.text, top_k=given.top_k, frame_id=given.frame)
    if response.error_code != Query.Response.NONE:
        raise M3Error(response.message)
    if given.json:
        sys.stdout.write(json.dumps(as_record(response)) + "\n")
    else:
        sys.stdout.write(f"{STATUS[response.status]}: {response.message} ({response.latency_s:.2f} s)\n")
    return 0 if response.status == Query.Response.FOUND else 1


def as_record(response: Query.Response) -> dict[str, Any]:
    """Return an answer as plain JSON values: metres, radians."""
    goal = response.goal_pose
    T = pose_to_matrix(goal.pose)
    return {
        "status": STATUS[response.status],
        "message": response.message,
        "latency_s": response.latency_s,
        "candidates": [
            {"probability": c.probability, "centre": [c.centre.x, c.centre.y, c.centre.z]} for c in response.candidates
        ],
        "goal": [T[0, 3], T[1, 3], yaw_of(T)] if goal.header.frame_id else None,
        "frame": goal.header.frame_id,
    }


def load(client: Client, given: argparse.Namespace) -> int:
    """Load a memory."""
    response = client.load_memory(given.memory)
    if response.error_code != LoadMemory.Response.NONE:
        raise M3Error(response.message)
    sys.stdout.write(f"{response.message}: {response.gaussians} Gaussians\n")
    return 0


def train(client: Client, given: argparse.Namespace) -> int:
    """Train a memory, with a line of progress a stage and tenth."""
    seen: set[str] = set()

    def show(feedback: Any) -> None:
        line = f"{feedback.stage} {feedback.fraction:.0%}"
        if f"{feedback.stage} {feedback.fraction:.1f}" not in seen:
            seen.add(f"{feedback.stage} {feedback.fraction:.1f}")
            sys.stdout.write(f"{line}, {feedback.eta_s:.0f} s left, {feedback.gaussians} Gaussians\n")
            sys.stdout.flush()

    result = client.train(given.recording, given.memory, given.preset, resume=given.resume, on_feedback=show)
    if result.error_code != TrainMemory.Result.NONE:
        raise M3Error(result.message)
    sys.stdout.write(f"{result.message}, held-out PSNR {result.psnr_db:.2f} dB\n")
    return 0


def go(client: Client, _: argparse.Namespace) -> int:
    """Send the robot to the last answer."""
    sys.stdout.write(client.trigger("navigator/go") + "\n")
    return 0


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; a failure is one line on stderr and exit code 2."""
    parser = argparse.ArgumentParser(prog="m3_ros.nodes.ask", description=__doc__)
    parser.add_argument("--namespace", default="m3", help="namespace of the nodes")
    commands = parser.add_subparsers(required=True)
    for run in (query, load, train, go):
        command = commands.add_parser(run.__name__, help=run.__doc__)
        command.set_defaults(run=run)
        if run is query:
            command.add_argument("text", help='what to find, as in "find the chair"')
            command.add_argument("--top-k", type=int, default=1, help="most candidates wanted")
            command.add_argument("--frame", default="", help="frame of the answer; default: the memory's own")
            command.add_argument("--json", action="store_true", help="one JSON object instead of words")
        if run is load:
            command.add_argument("memory", help="folder of the memory, or file:// or package:// URL")
        if run is train:
            command.add_argument("recording", help="bag or posed sequence")
            command.add_argument(
                "memory", nargs="?", default="", help="folder to write; default: next to the recording"
            )
            command.add_argument("--preset", default="", help="seconds, balanced or best")
            command.add_argument("--resume", action="store_true", help="go on from a training that was stopped")
    given = parser.parse_args(args)
    try:
        with Client(namespace=given.namespace) as client:
            return int(given.run(client, given))
    except M3Error as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
