"""`m3 describe MEMORY`: what a memory shows at a pose, in words."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from numpy.typing import NDArray

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
        compare: Recording of the memory: also read the true picture of the keyframe, or of the one nearest to the pose
            given, and say how far the two agree.
        encoder: Multimodal encoder to use; default: the one in the memory.
        max_tokens: Most tokens to say.
        as_json: One JSON object instead of words.
    """
    from m3_ros.errors import QueryError

    describer = _open(memory, encoder)
    frames = describer.memory.keyframes
    if not 0 <= keyframe < len(frames):
        raise QueryError(f"the memory has keyframes 0 to {len(frames) - 1}; got {keyframe}")
    pose = frames.T_map_camera[keyframe] if at is None else level_pose(*at)
    if compare is not None:
        number, metres, radians = nearest(frames.T_map_camera, pose)
        frame = find_frame(compare, int(frames.stamps_ns[number]))
        agreement = describer.compare(
            frame.rgb, frames.cameras[number], frames.T_map_camera[number], prompt, max_tokens
        )
        told = {"keyframe": number, "away_m": metres, "turned_rad": radians, **dataclasses.asdict(agreement)}
        print(json.dumps(told) if as_json else _words(told))
        return 0
    said = describer.describe(frames.cameras[keyframe], pose, prompt, max_tokens)
    print(json.dumps(dataclasses.asdict(said)) if as_json else said.text)
    return 0


def level_pose(x: float, y: float, z: float, yaw: float) -> "Transform":
    """Return the pose of a camera that looks level in the direction of a yaw."""
    import numpy as np

    from m3_ros.geometry.pose import look_at

    eye = np.array([x, y, z])
    return look_at(eye, eye + np.array([np.cos(yaw), np.sin(yaw), 0.0]))


def nearest(poses: "Float[NDArray[np.float64], 'N 4 4']", pose: "Transform") -> tuple[int, float, float]:
    """Return which pose is nearest, how far it is [m] and how much turned [rad]; one radian counts as one metre."""
    import numpy as np

    metres = np.linalg.norm(poses[:, :3, 3] - pose[:3, 3], axis=1)
    cosines = (np.einsum("nij,ij->n", poses[:, :3, :3], pose[:3, :3]) - 1) / 2
    radians = np.arccos(cosines.clip(-1, 1))
    number = int((metres + radians).argmin())
    return number, float(metres[number]), float(radians[number])


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
        f"keyframe {agreement['keyframe']}, {agreement['away_m']:.2f} m and {agreement['turned_rad']:.2f} rad away\n"
        f"memory:  {agreement['rendered_text']}\npicture: {agreement['true_text']}\n"
        f"token cosine {agreement['cosine']:.3f} over {agreement['cells']} cells, same next word "
        f"{agreement['same_words']:.0%}, divergence {agreement['divergence']:.3f} nat"
    )
