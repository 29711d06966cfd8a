"""`m3 describe MEMORY`: what a memory shows at a pose, in words."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from m3_ros.geometry.pose import Transform
    from m3_ros.memory import SpatialMemory
    from m3_ros.query.description import Describer
    from m3_ros.recording import Frame


def run(
    memory: Annotated[Path, tyro.conf.Positional],
    prompt: Annotated[str, tyro.conf.Positional] = "Describe what you see in one sentence.",
    at: tuple[float, float, float, float] | None = None,
    keyframe: int = 0,
    compare: Path | None = None,
    encoder: str = "",
    max_tokens: int = 64,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Describe a view of a memory in words, or answer a question about it; needs a multimodal encoder in the memory.

    Args:
        memory: Folder of a saved memory.
        prompt: What to say about the view, or a question.
        at: Pose of a level camera in the map: X Y Z [m] YAW [rad].
        keyframe: Number of the keyframe to look from where no pose is given.
        compare: Recording of the memory: also read the keyframe's true picture, and say how far the two agree.
        encoder: Multimodal encoder to use; default: the one in the memory.
        max_tokens: Most tokens to say.
        as_json: One JSON object instead of words.
    """
    from m3_ros.errors import QueryError

    describer = _open(memory, encoder)
    frames = describer.memory.keyframes
    if not 0 <= keyframe < len(frames):
        raise QueryError(f"the memory has keyframes 0 to {len(frames) - 1}; got {keyframe}")
    if at is not None and compare is not None:
        raise QueryError("only a keyframe has a true picture to compare with: leave out --at, or --compare")
    pose = frames.T_map_camera[keyframe] if at is None else level_pose(*at)
    camera = frames.cameras[keyframe]
    if compare is not None:
        frame = find_frame(compare, int(frames.stamps_ns[keyframe]))
        agreement = describer.compare(frame.rgb, camera, pose, prompt, max_tokens)
        print(json.dumps(dataclasses.asdict(agreement)) if as_json else _words(dataclasses.asdict(agreement)))
        return 0
    said = describer.describe(camera, pose, prompt, max_tokens)
    print(json.dumps(dataclasses.asdict(said)) if as_json else said.text)
    return 0


def level_pose(x: float, y: float, z: float, yaw: float) -> "Transform":
    """Return the pose of a camera that looks level in the direction of a yaw."""
    import numpy as np

    from m3_ros.geometry.pose import look_at

    eye = np.array([x, y, z])
    return look_at(eye, eye + np.array([np.cos(yaw), np.sin(yaw), 0.0]))


def find_frame(recording: Path, stamp_ns: int) -> "Frame":
    """Return the frame of a recording with a time stamp.

    Raises:
        QueryError: there is none.
    """
    from m3_ros.errors import QueryError
    from m3_ros.recording import read

    for frame in read(recording):
        if frame.stamp_ns == stamp_ns:
            return frame
    raise QueryError(f"{recording} has no picture of {stamp_ns} ns: is it the recording that this memory was made of?")


def _open(path: Path, name: str) -> "Describer":
    from m3_ros.errors import QueryError
    from m3_ros.features import load_encoder
    from m3_ros.features.multimodal import MultimodalEncoder
    from m3_ros.memory import SpatialMemory
    from m3_ros.query.description import Describer

    memory = SpatialMemory.load(path)
    encoder = load_encoder(name or _multimodal_name(memory))
    if not isinstance(encoder, MultimodalEncoder):
        raise QueryError(f"{encoder.name} has no language model to read its features: name a multimodal encoder")
    return Describer(memory, encoder)


def _multimodal_name(memory: "SpatialMemory") -> str:
    from m3_ros.errors import QueryError

    names = [entry.encoder_name for entry in memory.principal_queries]
    for name in names:
        if name.startswith("multimodal:"):
            return name
    raise QueryError(
        f"only a memory with multimodal tokens can be put into words; this one has {', '.join(names)}: "
        "train it with the encoder multimodal:SOURCE too"
    )


def _words(agreement: dict[str, object]) -> str:
    return (
        f"memory:  {agreement['rendered_text']}\npicture: {agreement['true_text']}\n"
        f"token cosine {agreement['cosine']:.3f} over {agreement['cells']} cells, same next word "
        f"{agreement['same_words']:.0%}, divergence {agreement['divergence']:.3f} nat"
    )
