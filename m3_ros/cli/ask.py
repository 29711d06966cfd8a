"""`m3 ask MEMORY QUESTION...`: find things in a memory, without ROS."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from m3_ros.planner import Approach, NavigationMap
    from m3_ros.query import Answer, Finder


def run(
    memory: Annotated[Path, tyro.conf.Positional],
    questions: Annotated[tuple[str, ...], tyro.conf.Positional],
    top_k: int = 1,
    min_probability: float | None = None,
    negatives: tuple[str, ...] = (),
    picture: Path | None = None,
    json_lines: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Find things in a memory; exit code 1 if any of them is not there.

    Args:
        memory: Folder of a saved memory.
        questions: What to find, in words; quote each.
        top_k: Most places wanted for each.
        min_probability: Places below this are no answers; default: the package's threshold.
        negatives: Phrases that it is not.
        picture: Write the map from above with the answers, and the best view of the first with its relevancy, here.
        json_lines: One JSON object a question instead of words.
    """
    from m3_ros.errors import PlanningError, QueryError
    from m3_ros.planner import NavigationMap, approach
    from m3_ros.query import Finder, Status

    if not questions:
        raise QueryError('ask something: m3 ask MEMORY "find the chair"')
    finder = Finder.open(memory)
    floor = NavigationMap.from_memory(finder.memory)
    answers: list[tuple[Answer, Approach | None]] = []
    for question in questions:
        answer = finder.find(question, negatives, top_k, min_probability)
        stand = None
        if answer.status == Status.FOUND:
            try:
                stand = approach(floor, answer.candidates[0])
            except PlanningError as error:
                print(f"no place to stand for {question!r}: {error}")
        answers.append((answer, stand))
        print(json.dumps(as_record(answer, stand)) if json_lines else as_words(answer, stand))
    if picture is not None:
        _draw(picture, finder, floor, answers)
    return int(any(answer.status != Status.FOUND for answer, _ in answers))


def as_words(answer: "Answer", stand: "Approach | None") -> str:
    """Say an answer and where to stand for it."""
    line = f"{answer.text}: {answer.status.name}, {answer.message} ({answer.seconds * 1e3:.0f} ms)"
    if stand is not None:
        from m3_ros.geometry.pose import yaw_of

        T = stand.T_map_base
        line += f"; stand at ({T[0, 3]:.2f}, {T[1, 3]:.2f}) m facing {yaw_of(T):.2f} rad"
    return line


def as_record(answer: "Answer", stand: "Approach | None") -> dict[str, object]:
    """Return an answer as plain JSON values: metres, radians, in the map frame."""
    return {
        "text": answer.text,
        "status": answer.status.name,
        "message": answer.message,
        "seconds": round(answer.seconds, 4),
        "candidates": [
            {
                "probability": round(c.probability, 4),
                "centre": c.centre.round(4).tolist(),
                "T_map_box": c.box.T_map_box.round(6).tolist(),
                "size": c.box.size.round(4).tolist(),
                "views": list(c.views),
            }
            for c in answer.candidates
        ],
        "T_map_base": None if stand is None else stand.T_map_base.round(6).tolist(),
    }


def _draw(
    path: Path, finder: "Finder", floor: "NavigationMap", answers: "list[tuple[Answer, Approach | None]]"
) -> None:
    from m3_ros.cli.memory_pictures import draw_answers

    draw_answers(path, finder, floor, answers)
    print(f"picture: {path}")
