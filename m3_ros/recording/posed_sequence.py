"""Posed sequences: a folder with transforms.json and pictures.

Two flavours are read.

- Ours: `width, height, fx, fy, cx, cy, frames[{t?, rgb, depth?, c2w}]`, with camera-to-world poses in OpenCV axes [m],
  and optionally `depth_unit_m` (0.001), `up` (the world axis that points up), `axes` ("opencv" or "opengl") and
  `pixel_centre` (where the first pixel's centre lies: 0 is OpenCV's convention and the default; or 0.5).
- nerfstudio's and instant-ngp's: `fl_x, fl_y, cx, cy, w, h, k1..`, `frames[{file_path, transform_matrix,
  depth_file_path?}]`, with OpenGL axes and pixel centres at 0.5.

Either may name a file of points in the world of its poses, `ply_file_path` (PLY).

A frame is stamped `t` [s]; without it, with its index, as if one frame came a second. The world is turned so that z is
up.
"""

import json
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.errors import RecordingError
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import Transform, is_rigid, matrix_to_quat, quat_to_matrix, transform
from m3_ros.recording.frame import Frame
from m3_ros.recording.lens import OPENCV_CENTRE, Lens
from m3_ros.recording.messages import decode_depth_picture, decode_picture, metres
from m3_ros.recording.summary import RecordingSummary

log = logging.getLogger(__name__)

FILE_NAME = "transforms.json"
OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
"""Turns camera axes right-up-back into right-down-forward."""
POSE_TOLERANCE = 0.02
"""How far a stated rotation may be from orthonormal before it is taken for an error."""


@dataclass(frozen=True)
class Shot:
    """One listed picture, not yet loaded."""

    stamp_ns: int
    """Time of exposure [ns]."""
    rgb: Path
    """Picture file."""
    depth: Path | None
    """Depth file."""
    T_map_camera: Transform
    """Pose, OpenCV axes, z up [m]."""
    lens: Lens
    """Calibration."""


@dataclass(frozen=True)
class PosedSequence:
    """A parsed transforms.json."""

    path: Path
    """Its file."""
    shots: tuple[Shot, ...]
    """The frames in the listed order."""
    depth_unit_m: float
    """Metres of one unit of a depth picture."""
    timed: bool
    """Whether the frames state their times."""
    points: Path | None
    """PLY file with points of the place, in the world of the poses; it may be missing."""
    R_map_world: Float[NDArray[np.float64], "3 3"]
    """Turns the world of the file so that z is up."""


def is_posed_sequence(path: Path) -> bool:
    """Tell whether a path is a transforms.json or a folder with one."""
    return (path / FILE_NAME).is_file() or (path.is_file() and path.suffix == ".json")


def read_posed_sequence(path: Path) -> Iterator[Frame]:
    """Yield the frames of a posed sequence in the listed order.

    Raises:
        RecordingError: the JSON is not valid, or a picture is missing or damaged.
    """
    yield from load(parse(path))


def load(sequence: PosedSequence) -> Iterator[Frame]:
    """Yield the frames of a parsed sequence.

    Raises:
        RecordingError: a picture is missing or damaged.
    """
    _check_files(sequence)
    for shot in sequence.shots:
        rgb = decode_picture(shot.rgb.read_bytes(), str(shot.rgb))
        lens = _fitted_lens(shot, rgb.shape[1], rgb.shape[0])
        depth = None
        if shot.depth is not None:
            raw = decode_depth_picture(shot.depth.read_bytes(), str(shot.depth))
            depth = lens.undistort_depth(_resized(metres(raw, sequence.depth_unit_m), lens.camera))
        yield Frame(shot.stamp_ns, lens.undistort(rgb), lens.pinhole, shot.T_map_camera, depth)


def describe_posed_sequence(path: Path) -> RecordingSummary:
    """Summarise a posed sequence without loading its pictures.

    Raises:
        RecordingError: the JSON is not valid, or a picture is missing.
    """
    sequence = parse(path)
    _check_files(sequence)
    stamps = [shot.stamp_ns for shot in sequence.shots]
    camera = sequence.shots[0].lens.camera
    return RecordingSummary(
        path=path,
        kind="transforms.json",
        frames=len(stamps),
        skipped=0,
        duration_s=(max(stamps) - min(stamps)) / 1e9 if sequence.timed else math.nan,
        width=camera.width,
        height=camera.height,
        has_depth=any(shot.depth for shot in sequence.shots),
        fixed_frame="map",
    )


def parse(path: Path) -> PosedSequence:
    """Read and check a transforms.json.

    Raises:
        RecordingError: it is not valid, and which frame or key is wrong.
    """
    file = path / FILE_NAME if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RecordingError(f"{file} is no valid JSON ({error}): write it again") from error
    if not isinstance(content, dict) or not isinstance(content.get("frames"), list) or not content["frames"]:
        raise RecordingError(f"{file} needs a list `frames` with at least one frame; it has none: write it again")
    try:
        return _sequence(file, content)
    except KeyError as error:
        raise RecordingError(
            f"{file} lacks the key {error}: add it (see the list of keys in the documentation)"
        ) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise RecordingError(f"{file} holds a wrong value: {error}: correct it") from error


def upright(up: Float[NDArray[np.float64], "3"]) -> Float[NDArray[np.float64], "3 3"]:
    """Return the rotation that turns the world axis nearest to `up` into z; the identity if that is +z already."""
    axis = int(np.abs(up).argmax())
    z = np.zeros(3)
    z[axis] = 1.0 if up[axis] > 0 else -1.0
    x = np.roll(np.abs(z), 1)
    return np.stack([x, np.cross(z, x), z])


def _sequence(file: Path, content: dict[str, Any]) -> PosedSequence:
    listed: list[dict[str, Any]] = content["frames"]
    nerf = "file_path" in listed[0]
    poses = [_pose(file, i, frame, _opengl(content, nerf)) for i, frame in enumerate(listed)]
    stated_up = content.get("up")
    up = np.mean([-T[:3, 1] for T in poses], axis=0) if stated_up is None else np.array(stated_up, np.float64)
    if up.shape != (3,) or not np.isfinite(up).all() or not np.any(up):
        raise ValueError(f"`up` must be three numbers like [0, 0, 1], got {stated_up}")
    R_map_world = upright(up)
    shots = tuple(
        _shot(file, i, {**content, **frame}, frame, transform(R_map_world @ T[:3, :3], R_map_world @ T[:3, 3]), nerf)
        for i, (frame, T) in enumerate(zip(listed, poses, strict=True))
    )
    unit = float(content.get("depth_unit_m", 0.001))
    if not 0 < unit < math.inf:
        raise ValueError(f"`depth_unit_m` must be positive, got {unit}")
    ply = content.get("ply_file_path")
    points = file.parent / str(ply) if ply else None
    return PosedSequence(file, shots, unit, all("t" in frame for frame in listed), points, R_map_world)


def _opengl(content: Mapping[str, Any], nerf: bool) -> bool:
    axes = str(content.get("axes", "opengl" if nerf else "opencv")).lower()
    if axes not in ("opencv", "opengl"):
        raise ValueError(f"`axes` must be opencv or opengl, got {axes!r}")
    return axes == "opengl"


def _pose(file: Path, index: int, frame: Mapping[str, Any], opengl: bool) -> Transform:
    """Return T_world_camera in OpenCV axes, its rotation made exactly orthonormal."""
    T = np.array(frame["c2w"] if "c2w" in frame else frame["transform_matrix"], np.float64)
    if T.shape == (3, 4):
        T = np.vstack([T, [0, 0, 0, 1]])
    if not is_rigid(T, POSE_TOLERANCE):
        raise RecordingError(
            f"{file}: the pose of frame {index} is no 4x4 rotation plus translation: correct it or remove the frame"
        )
    if opengl:
        T = T @ OPENGL_TO_OPENCV
    return transform(quat_to_matrix(matrix_to_quat(T[:3, :3])), T[:3, 3])


def _shot(
    file: Path, index: int, merged: Mapping[str, Any], frame: Mapping[str, Any], T: Transform, nerf: bool
) -> Shot:
    rgb = file.parent / str(frame["file_path"] if nerf else frame["rgb"])
    if nerf and not rgb.suffix:
        rgb = rgb.with_suffix(".png")
    depth = frame.get("depth_file_path" if nerf else "depth")
    stamp = round(float(frame["t"]) * 1e9) if "t" in frame else index * 1_000_000_000
    return Shot(stamp, rgb, file.parent / str(depth) if depth else None, T, _lens(merged, nerf, rgb))


def _lens(keys: Mapping[str, Any], nerf: bool, rgb: Path) -> Lens:
    """Build the calibration; a frame's own keys come before the file's."""
    if not nerf:
        shift = OPENCV_CENTRE - float(keys.get("pixel_centre", 0.0))
        camera = Camera(
            int(keys["width"]), int(keys["height"]), float(keys["fx"]), float(keys["fy"]),
            float(keys["cx"]) + shift, float(keys["cy"]) + shift,
        )  # fmt: skip
        return Lens(camera)
    width, height = (int(keys["w"]), int(keys["h"])) if "w" in keys and "h" in keys else _size_of(rgb)
    fx = float(keys["fl_x"]) if "fl_x" in keys else width / 2 / math.tan(float(keys["camera_angle_x"]) / 2)
    camera = Camera(
        width,
        height,
        fx,
        float(keys.get("fl_y", fx)),
        float(keys.get("cx", width / 2)),
        float(keys.get("cy", height / 2)),
    )
    if "FISHEYE" in str(keys.get("camera_model", "")).upper():
        return Lens(camera, "equidistant", tuple(float(keys.get(k, 0)) for k in ("k1", "k2", "k3", "k4")))
    return Lens(camera, "plumb_bob", tuple(float(keys.get(k, 0)) for k in ("k1", "k2", "p1", "p2", "k3")))


def _size_of(picture: Path) -> tuple[int, int]:
    if not picture.is_file():
        raise RecordingError(f"picture {picture} is missing: copy it there or remove its frame from {FILE_NAME}")
    height, width = decode_picture(picture.read_bytes(), str(picture)).shape[:2]
    return width, height


def _check_files(sequence: PosedSequence) -> None:
    """Refuse a sequence of which pictures are missing before any work is done."""
    files = [file for shot in sequence.shots for file in (shot.rgb, shot.depth) if file is not None]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise RecordingError(
            f"{sequence.path} lists {len(missing)} of {len(files)} pictures that are missing, the first {missing[0]}: "
            "copy them there or remove their frames"
        )


def _fitted_lens(shot: Shot, width: int, height: int) -> Lens:
    """Return the lens at the picture's real size: nerfstudio downscales pictures without touching the JSON."""
    camera = shot.lens.camera
    if (camera.width, camera.height) == (width, height):
        return shot.lens
    if abs(camera.width * height - camera.height * width) > camera.width + camera.height:
        raise RecordingError(
            f"{shot.rgb} is {width}x{height}, {FILE_NAME} says {camera.width}x{camera.height}: correct the size there"
        )
    return shot.lens.resized(width, height)


def _resized(depth: Float[NDArray[np.float32], "h w"], camera: Camera) -> Float[NDArray[np.float32], "H W"]:
    if depth.shape == (camera.height, camera.width):
        return depth
    import cv2

    return np.asarray(
        cv2.resize(depth, (camera.width, camera.height), interpolation=cv2.INTER_NEAREST_EXACT), np.float32
    )
