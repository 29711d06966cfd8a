"""Ask a memory where things are, and where a robot should stand to face them: python 04_ask.py MEMORY "a chair"."""

import sys

from m3_ros.errors import PlanningError
from m3_ros.planner import NavigationMap, approach
from m3_ros.query import Finder, Status


def main(memory: str, *questions: str) -> None:
    """Answer each question with a place and a standing pose, or an honest no."""
    finder = Finder.open(memory)
    floor = NavigationMap.from_memory(finder.memory)
    for question in questions:
        answer = finder.find(question)
        print(f"{question}: {answer.status.name} in {answer.seconds * 1e3:.0f} ms")
        if answer.status != Status.FOUND:
            continue
        best = answer.candidates[0]
        x, y, z = best.centre
        print(f"  at ({x:.2f}, {y:.2f}, {z:.2f}) m, probability {best.probability:.2f}")
        try:
            stand = approach(floor, best)
            print(f"  stand at ({stand.T_map_base[0, 3]:.2f}, {stand.T_map_base[1, 3]:.2f}) m")
        except PlanningError as error:
            print(f"  {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
