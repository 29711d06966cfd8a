"""Pictures of a memory: what it looks like from somewhere, where a phrase lights up, where the answers are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.cli.pictures import Image, Marking, contact_sheet, heat_overlay, save_png, to_bytes, top_down
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import Transform
from m3_ros.memory import SpatialMemory
from m3_ros.memory.lift import pinhole
from m3_ros.planner import Approach, NavigationMap
from m3_ros.query import Answer, Finder
from m3_ros.query.phrase import subject
from m3_ros.recording import Frame
from m3_ros.splat import colours, render


def splat(
    memory: SpatialMemory, values: Float[torch.Tensor, "N ch"] | None, camera: Camera, T_map_camera: Transform
) -> Float[NDArray[np.float32], "H W ch"]:
    """Render any per-Gaussian values, or the colours for None, from a pose."""
    g, (viewmat, K) = memory.gaussians, pinhole(camera, T_map_camera)
    features = colours(g, viewmat) if values is None else values
    with torch.inference_mode():
        drawn = render(g.means, g.quats, g.scales, g.opacities, features, viewmat, K, camera.width, camera.height)
    return drawn.features[0].contiguous().numpy()


def renders_beside_truth(memory: SpatialMemory, frames: Sequence[Frame], columns: int = 6) -> Image:
    """Draw frames above the memory's renders of the same views."""
    rows: list[tuple[str, list[Image]]] = []
    for start in range(0, len(frames), columns):
        group = frames[start : start + columns]
        rows.append(("camera", [f.rgb for f in group]))
        rows.append(("memory", [to_bytes(splat(memory, None, f.camera, f.T_map_camera)) for f in group]))
    return contact_sheet(rows)


_PIXELS_PER_CELL = 4
"""In the paper's order: what lies in a cell is blended, then asked."""


def relevancy_view(finder: Finder, question: str | Float[torch.Tensor, " D"], view: int) -> Image:
    """Draw where a phrase, or the vector of a visual prompt, lights up in the memory's render of one keyframe.

    Each Gaussian is asked by itself, as for an answer, and then drawn.
    """
    keyframes = finder.memory.keyframes
    camera, T = keyframes.cameras[view], keyframes.T_map_camera[view]
    relevancy = finder.relevancy(question) if isinstance(question, str) else finder.likeness(question)
    heat = splat(finder.memory, relevancy.probability.float()[:, None], camera, T)[..., 0]
    return heat_overlay(to_bytes(splat(finder.memory, None, camera, T)), heat)


def relevancy_view_by_pixel(finder: Finder, phrase: str, view: int) -> Image:
    """Draw the same in the paper's order: queries are blended into pixels, and then the pixels are asked."""
    keyframes = finder.memory.keyframes
    camera, T = keyframes.cameras[view], keyframes.T_map_camera[view]
    rows, columns = (max(1, size // _PIXELS_PER_CELL) for size in (camera.height, camera.width))
    heat = finder.relevancy_in_view(phrase, camera, T, rows, columns)[None, None]
    whole = torch.nn.functional.interpolate(heat, (camera.height, camera.width), mode="bilinear", align_corners=False)
    return heat_overlay(to_bytes(splat(finder.memory, None, camera, T)), whole[0, 0].numpy())


def draw_map(
    floor: NavigationMap,
    answers: Sequence[tuple[Answer, Approach | None]],
    path: Sequence[tuple[float, float]] = (),
    goal: Transform | None = None,
) -> Image:
    """Draw the floor from above with the places found; the goal is the first answer's unless given."""
    boxes = [(subject(a.text), c.box) for a, _ in answers if a.status.name == "FOUND" for c in a.candidates]
    if goal is None:
        goal = next((stand.T_map_base for _, stand in answers if stand is not None), None)
    patrol = [(float(x), float(y)) for x, y in floor.walked_xy]
    obstacles = floor.obstacles
    marking = Marking(boxes, goal, path, patrol)
    return top_down(obstacles.data, ~floor.unknown, obstacles.origin_xy, obstacles.resolution_m, marking)


def draw_answers(
    path: Path,
    finder: Finder,
    floor: NavigationMap,
    answers: Sequence[tuple[Answer, Approach | None]],
    shown: Float[torch.Tensor, " D"] | None = None,
) -> None:
    """Write the map with the answers, and beside `path` the best view of each found thing with its relevancy.

    Args:
        path: picture of the map.
        finder: gave the answers.
        floor: the map.
        answers: with where to stand for each.
        shown: vector of the visual prompt that the first answer is about; None: that one too was asked in words.
    """
    save_png(path, draw_map(floor, answers))
    for number, (answer, _) in enumerate(answers):
        if answer.candidates and answer.candidates[0].views:
            name = f"{path.stem}_{'_'.join(answer.text.split())}.png"
            save_png(path.with_name(name), _evidence(finder, answer, shown if number == 0 else None))


def _evidence(finder: Finder, answer: Answer, shown: Float[torch.Tensor, " D"] | None) -> Image:
    """Draw the best view of an answer with its relevancy, by Gaussian and, where it was asked in words, by pixel."""
    view, phrase = answer.candidates[0].views[0], subject(answer.text)
    question = phrase if shown is None else shown
    rows = [("Gaussians asked, then drawn (the answer)", [relevancy_view(finder, question, view)])]
    if shown is None:
        rows.append(("drawn, then pixels asked (the paper)", [relevancy_view_by_pixel(finder, phrase, view)]))
    return contact_sheet(rows)
