"""`m3 trace MEMORY`: which views and pixels the memory of a pixel came from, as a picture."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from m3_ros.cli.pictures import Image
    from m3_ros.evaluation.pixel_trace import PixelTrace
    from m3_ros.memory import SpatialMemory


def run(
    memory: Annotated[Path, tyro.conf.Positional],
    pixel: tuple[float, float],
    keyframe: int = 0,
    encoder: str = "",
    top: int = 5,
    recording: Path | None = None,
    output: Path = Path("trace.png"),
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Trace a pixel: the components that it attends to, and the views and pixels that they came from.

    Args:
        memory: Folder of a saved memory.
        pixel: U V [px] in the keyframe.
        keyframe: Number of the keyframe that the pixel is in.
        encoder: Encoder whose memory to trace; default: the first.
        top: Most components to show.
        recording: Recording of the memory: show its true pictures, not the memory's renders.
        output: Picture to write.
        as_json: One JSON object instead of words.
    """
    from m3_ros.cli.pictures import save_png
    from m3_ros.errors import QueryError
    from m3_ros.evaluation.pixel_trace import trace_pixel
    from m3_ros.memory import SpatialMemory

    loaded = SpatialMemory.load(memory)
    frames = loaded.keyframes
    if not 0 <= keyframe < len(frames):
        raise QueryError(f"the memory has keyframes 0 to {len(frames) - 1}; got {keyframe}")
    entry = loaded.queries_of(encoder or loaded.principal_queries[0].encoder_name)
    camera, pose = frames.cameras[keyframe], frames.T_map_camera[keyframe]
    trace = trace_pixel(loaded, entry, camera, pose, *pixel, most=top)
    shown = {keyframe, *(o.keyframe for o in trace.origins if o.keyframe is not None)}
    pictures = _renders(loaded, shown) if recording is None else _photographs(loaded, shown, recording)
    save_png(output, draw_trace(trace, keyframe, pictures))
    print(json.dumps(dataclasses.asdict(trace)) if as_json else f"{_words(trace)}\n{output}")
    return 0


def draw_trace(trace: "PixelTrace", keyframe: int, pictures: "Mapping[int, Image]") -> "Image":
    """Draw the pixel in its view, and below it each component in the view that it came from.

    Args:
        trace: what was traced.
        keyframe: view of the pixel.
        pictures: of that view and of those that the components came from.
    """
    from m3_ros.cli.pictures import contact_sheet

    here = _marked(pictures[keyframe], trace.u, trace.v, f"({trace.u:g}, {trace.v:g}) in view {keyframe}")
    origins = [
        _marked(pictures[o.keyframe], o.u, o.v, f"{o.weight:.0%} view {o.keyframe}, no. {o.component}")
        for o in trace.origins
        if o.keyframe is not None
    ]
    share = sum(o.weight for o in trace.origins if o.keyframe is not None)
    rows = [(trace.encoder, [here])]
    if origins:
        rows.append((f"came from ({share:.0%} of its attention)", origins))
    return contact_sheet(rows)


def _marked(image: "Image", u: float, v: float, text: str) -> "Image":
    import cv2

    from m3_ros.cli.pictures import write

    marked = image.copy()
    at = (round(u - 0.5), round(v - 0.5))
    cv2.drawMarker(marked, at, (255, 255, 255), cv2.MARKER_CROSS, 22, 4, cv2.LINE_AA)
    cv2.drawMarker(marked, at, (220, 30, 30), cv2.MARKER_CROSS, 20, 2, cv2.LINE_AA)
    write(marked, text, (6, marked.shape[0] - 8))
    return marked


def _renders(memory: "SpatialMemory", numbers: set[int]) -> "dict[int, Image]":
    from m3_ros.cli.memory_pictures import splat
    from m3_ros.cli.pictures import to_bytes

    frames = memory.keyframes
    return {i: to_bytes(splat(memory, None, frames.cameras[i], frames.T_map_camera[i])) for i in numbers}


def _photographs(memory: "SpatialMemory", numbers: set[int], recording: Path) -> "dict[int, Image]":
    import cv2

    from m3_ros.errors import QueryError
    from m3_ros.recording import read

    frames = memory.keyframes
    wanted = {int(frames.stamps_ns[i]): i for i in numbers}
    found: dict[int, Image] = {}
    for frame in read(recording):
        if (number := wanted.get(frame.stamp_ns)) is not None:
            size = (frames.cameras[number].width, frames.cameras[number].height)
            found[number] = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA)
    if missing := numbers - set(found):
        raise QueryError(
            f"{recording} lacks the pictures of keyframes {sorted(missing)}: is it the recording of this memory?"
        )
    return found


def _words(trace: "PixelTrace") -> str:
    lines = [f"{trace.encoder}: pixel ({trace.u:g}, {trace.v:g}) came from"]
    lines += [
        f"  {o.weight:5.1%}  component {o.component} of keyframe {_or_lost(o.keyframe)}, pixel ({o.u:g}, {o.v:g})"
        for o in trace.origins
    ]
    return "\n".join(lines)


def _or_lost(keyframe: int | None) -> str:
    return "(removed)" if keyframe is None else str(keyframe)
