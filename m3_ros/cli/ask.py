"""`m3 ask MEMORY QUESTION...`: find things in a memory, in words or by a picture of one, without ROS."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, UInt8
    from numpy.typing import NDArray
    from torch import Tensor

    from m3_ros.planner import Approach, NavigationMap
    from m3_ros.query import Answer, Finder

    Answered = tuple[Answer, Approach | None]


def run(
    memory: Annotated[Path, tyro.conf.Positional],
    questions: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    like: Path | None = None,
    box: tuple[float, float, float, float] | None = None,
    point: tuple[float, float] | None = None,
    encoder: str = "",
    head: Literal["attention", "linear"] = "attention",
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
        like: Picture that shows what to find.
        box: Where it is in that picture: LEFT TOP RIGHT BOTTOM [px]; default: all of the picture.
        point: A pixel on it instead of a box: U V [px].
        encoder: Encoder to ask, as NAME or NAME:SOURCE; default: the first in the memory that has words.
        head: What each Gaussian is read out by: its memory attention, or the linear head if the memory keeps one.
        top_k: Most places wanted for each.
        min_probability: Places below this are no answers; default: the package's threshold.
        negatives: Phrases that it is not.
        picture: Write the map from above with the answers, and beside it the best view of each with its relevancy.
        json_lines: One JSON object a question instead of words.
    """
    from m3_ros.errors import QueryError
    from m3_ros.planner import NavigationMap
    from m3_ros.query import Finder, Status

    if not questions and like is None:
        raise QueryError('ask something: m3 ask MEMORY "find the chair", or show it: m3 ask MEMORY --like PICTURE')
    if like is None and (box is not None or point is not None):
        raise QueryError("--box and --point say where a thing is in a picture: give it with --like PICTURE")
    rgb = None if like is None else read_picture(like)
    finder = Finder.open(memory, encoder, head=head)
    floor = NavigationMap.from_memory(finder.memory)
    answers: list[Answered] = []
    shown = None
    if like is not None and rgb is not None:
        shown = _vector(finder, rgb, box, point)
        answer = finder.find_like(shown, f"the thing in {like.name}", top_k, min_probability)
        answers.append(_told(answer, floor, json_lines))
    for question in questions:
        answer = finder.find(question, negatives, top_k, min_probability)
        answers.append(_told(answer, floor, json_lines))
    if picture is not None:
        _draw(picture, finder, floor, answers, shown)
    return int(any(answer.status != Status.FOUND for answer, _ in answers))


def read_picture(path: Path) -> "UInt8[NDArray[np.uint8], 'H W 3']":
    """Read a picture file, the way up that its camera says.

    Raises:
        QueryError: it is missing, or no picture.
    """
    import numpy as np
    from PIL import Image, ImageOps

    from m3_ros.errors import QueryError

    try:
        with Image.open(path) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise QueryError(f"{path} cannot be read as a picture ({error}): give a PNG or JPEG file") from error


def _vector(
    finder: "Finder",
    rgb: "UInt8[NDArray[np.uint8], 'H W 3']",
    box: tuple[float, float, float, float] | None,
    point: tuple[float, float] | None,
) -> "Float[Tensor, ' D']":
    from m3_ros.features.visual_prompt import encode_prompt

    if box is None and point is None:
        box = (0.0, 0.0, float(rgb.shape[1]), float(rgb.shape[0]))
    return encode_prompt(finder.encoder, rgb, box, point)


def _told(answer: "Answer", floor: "NavigationMap", json_lines: bool) -> "Answered":
    """Print an answer, with where to stand for it."""
    from m3_ros.errors import PlanningError
    from m3_ros.planner import approach
    from m3_ros.query import Status

    stand = None
    if answer.status == Status.FOUND:
        try:
            stand = approach(floor, answer.candidates[0])
        except PlanningError as error:
            print(f"no place to stand for {answer.text!r}: {error}")
    print(json.dumps(as_record(answer, stand)) if json_lines else as_words(answer, stand))
    return answer, stand


def as_words(answer: "Answer", stand: "Approach | None") -> str:
    """Say an answer and where to stand for it."""
    line = f"{answer.text}: {answer.status.name}, {answer.message} ({answer.seconds * 1e3:.0f} ms)"
    if answer.head == "linear":
        line += "; Gaussians read out by the linear head"
    if stand is not None:
        from m3_ros.geometry.pose import yaw_of

        T = stand.T_map_base
        line += f"; stand at ({T[0, 3]:.2f}, {T[1, 3]:.2f}) m facing {yaw_of(T):.2f} rad"
    if answer.candidates and (told := answer.candidates[0].explanation):
        line += "; remembered as " + ", ".join(f"{e.caption!r} ({e.share:.2f})" for e in told)
    return line


def as_record(answer: "Answer", stand: "Approach | None") -> dict[str, object]:
    """Return an answer as plain JSON values: metres, radians, in the map frame."""
    return {
        "text": answer.text,
        "status": answer.status.name,
        "message": answer.message,
        "seconds": round(answer.seconds, 4),
        "head": answer.head,
        "candidates": [
            {
                "probability": round(c.probability, 4),
                "centre": c.centre.round(4).tolist(),
                "T_map_box": c.box.T_map_box.round(6).tolist(),
                "size": c.box.size.round(4).tolist(),
                "views": list(c.views),
                "explanation": [{"caption": e.caption, "share": round(e.share, 4)} for e in c.explanation],
            }
            for c in answer.candidates
        ],
        "T_map_base": None if stand is None else stand.T_map_base.round(6).tolist(),
    }


def _draw(
    path: Path,
    finder: "Finder",
    floor: "NavigationMap",
    answers: "list[Answered]",
    shown: "Float[Tensor, ' D'] | None",
) -> None:
    from m3_ros.cli.memory_pictures import draw_answers

    draw_answers(path, finder, floor, answers, shown)
    print(f"picture: {path}")
