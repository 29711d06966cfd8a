"""What came of a demo: answers judged against the truth, pictures, a table and summary.json."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

import numpy as np

from m3_ros.cli.demo import DemoPaths, main_versions
from m3_ros.cli.memory_pictures import draw_map, relevancy_view, renders_beside_truth
from m3_ros.cli.pictures import contact_sheet, save_png
from m3_ros.evaluation import Judgement, Truth, judge_position
from m3_ros.planner import NavigationMap
from m3_ros.query import Finder, Status
from m3_ros.query.phrase import subject
from m3_ros.sim import World, WorldSettings, default_cache_dir

NEEDED = 9
"""So many of the present things must be found for the demo to count as passed."""


@dataclass(frozen=True)
class Outcome:
    """All that a demo leaves behind."""

    paths: DemoPaths
    room: int
    questions: Sequence[tuple[str, str]]
    mission: dict[str, Any]
    setup_s: float
    total_s: float
    peak_rss_mb: float


def report(outcome: Outcome) -> int:
    """Judge, draw, write summary.json and print the table; returns 0 if the demo counts as passed."""
    world = World.generate(WorldSettings(outcome.room, complete=True), default_cache_dir())
    truths = [Truth(i.kind, i.centre) for i in world.instances]
    judgements = [
        _judge(a, kind, truths) for a, (_, kind) in zip(outcome.mission["answers"], outcome.questions, strict=True)
    ]
    summary = summarise(outcome, judgements)
    (outcome.paths.root / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    draw(outcome)
    _print_table(summary)
    print(f"summary:  {outcome.paths.root / 'summary.json'}\npictures: {outcome.paths.pictures}")
    problems = shortcomings(summary)
    for problem in problems:
        print(f"not as it should be: {problem}")
    return 1 if problems else 0


def _judge(answer: dict[str, Any], kind: str, truths: Sequence[Truth]) -> Judgement:
    centre = np.array(answer["candidates"][0]["centre"]) if answer["candidates"] else None
    return judge_position(Status(answer["status"]), centre, kind, truths)


def summarise(outcome: Outcome, judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Return summary.json: metres, seconds, dB and megabytes."""
    mission = outcome.mission
    recorded, trained, goal = mission["record"], mission["train"], mission["goal"]
    robot = goal.get("robot", {})
    counts = recorded["recorder"]["counts"]
    return {
        "queries": [
            {
                "text": answer["text"],
                "expected": judged.expected,
                "status": Status(answer["status"]).name,
                "correct": judged.correct,
                "probability": answer["candidates"][0]["probability"] if answer["candidates"] else 0.0,
                "error_m": None if isnan(judged.error_m) else round(judged.error_m, 3),
                "seconds": round(answer["seconds"], 3),
            }
            for answer, judged in zip(mission["answers"], judgements, strict=True)
        ],
        "goal": {
            "text": goal["text"],
            "collision_free": bool(robot.get("goal_free")) and bool(robot.get("collision_free")),
            "reached": bool(robot.get("reached")),
            "distance_m": robot.get("distance_m"),
        },
        "seconds": {
            "setup": round(outcome.setup_s, 1),
            "record": round(recorded["seconds"], 1),
            "train": round(trained["seconds"], 1),
            "query": round(mission["query_seconds"], 1),
            "drive": round(goal.get("seconds", 0.0), 1),
            "total": round(outcome.total_s, 1),
        },
        "psnr_db": round(trained["psnr_db"], 2),
        "gaussians": trained["gaussians"],
        "frames_published": recorded["robot"]["frames_published"],
        "frames_recorded": counts.get("/camera/image_raw", 0),
        "peak_rss_mb": round(outcome.peak_rss_mb),
        "room_seed": outcome.room,
        "versions": main_versions(),
    }


def shortcomings(summary: dict[str, Any]) -> list[str]:
    """Return what keeps a demo from counting as passed."""
    present = [q for q in summary["queries"] if q["expected"] == "present"]
    right = sum(q["correct"] for q in present)
    problems = []
    if right < min(NEEDED, len(present)):
        problems.append(f"{right} of {len(present)} present things were found, {NEEDED} are wanted")
    problems += [
        f"{q['text']!r} is not there, but was {q['status']}"
        for q in summary["queries"]
        if q["expected"] == "absent" and not q["correct"]
    ]
    if not summary["goal"]["reached"]:
        problems.append("the robot did not arrive")
    if not summary["goal"]["collision_free"]:
        problems.append("the robot or its goal touched something")
    if summary["frames_recorded"] != summary["frames_published"]:
        problems.append(f"{summary['frames_published']} frames were published, {summary['frames_recorded']} recorded")
    return problems


def draw(outcome: Outcome) -> None:
    """Write the contact sheet, the relevancy overlays and the map."""
    from m3_ros.training.pipeline import TrainingSettings, read_keyframes

    folder = outcome.paths.pictures
    finder = Finder.open(outcome.paths.memory)
    settings = TrainingSettings()
    held_out = read_keyframes(outcome.paths.recording, settings)[:: settings.held_out_every]
    save_png(folder / "renders_beside_camera.png", renders_beside_truth(finder.memory, held_out[:12]))
    floor = NavigationMap.from_memory(finder.memory)
    answers = [(finder.find(question), None) for question, _ in outcome.questions]
    overlays = [
        (a.text, [relevancy_view(finder, subject(a.text), view) for view in a.candidates[0].views[:3]])
        for a, _ in answers
        if a.status == Status.FOUND and len(a.candidates[0].views) >= 3
    ]
    if overlays:
        save_png(folder / "relevancy.png", contact_sheet(overlays))
    robot = outcome.mission["goal"].get("robot", {})
    driven = next((a for a in outcome.mission["answers"] if a["text"] == outcome.mission["goal"]["text"]), None)
    stand = driven["candidates"][0]["T_map_base"] if driven else None
    goal = np.array(stand) if stand else None
    path = [(float(x), float(y)) for x, y in robot.get("path", [])]
    save_png(folder / "map.png", draw_map(floor, answers, path, goal))


def _print_table(summary: dict[str, Any]) -> None:
    print(f"\n{'query':30} {'expected':9} {'status':10} {'prob.':>6} {'error [m]':>10} {'seconds':>8}  right")
    for q in summary["queries"]:
        error = nan if q["error_m"] is None else q["error_m"]
        print(
            f"{q['text']:30} {q['expected']:9} {q['status']:10} {q['probability']:6.2f} "
            f"{'-' if isnan(error) else f'{error:.2f}':>10} {q['seconds']:8.2f}  {'yes' if q['correct'] else 'NO'}"
        )
    s = summary["seconds"]
    print(
        f"\nheld-out PSNR {summary['psnr_db']} dB, {summary['gaussians']} Gaussians; "
        f"{summary['frames_recorded']} of {summary['frames_published']} frames recorded; "
        f"peak {summary['peak_rss_mb']} MB\n"
        f"seconds: set-up {s['setup']}, record {s['record']}, train {s['train']}, query {s['query']}, "
        f"drive {s['drive']}, total {s['total']}\n"
        f"goal: {summary['goal']['text']!r}, collision-free {summary['goal']['collision_free']}, "
        f"reached {summary['goal']['reached']}"
    )
