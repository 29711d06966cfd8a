"""Write a walk as a posed RGB-D sequence on disk: pictures, exact depth, instance masks, poses and the truth."""

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from m3_ros.errors import SimulationError
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import Transform
from m3_ros.sim.camera import Shot, SimCamera
from m3_ros.sim.odometry import Odometry, OdometrySettings
from m3_ros.sim.quadruped import RobotState, T_base_camera, T_map_base
from m3_ros.sim.world import World

DEPTH_UNIT_M = 0.001
AXES = "opencv"
FOLDERS = ("rgb", "depth", "instances")


def write_sequence(
    directory: Path,
    world: World,
    camera: Camera,
    states: Iterable[RobotState | tuple[float, Transform]],
    odometry: OdometrySettings | None = None,
) -> Path:
    """Photograph a walk into a new directory that appears only when it is complete.

    The walk is given as states or, from the physics gait, as times [s] with T_map_base. With noisy odometry a frame's
    `c2w` is the drifting pose and `c2w_true` the exact one.

    Raises:
        SimulationError: the directory exists already, or there are no states.
    """
    directory = Path(directory)
    if directory.exists():
        raise SimulationError(f"a sequence goes into a new folder, but {directory} exists: choose another or remove it")
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        for folder in FOLDERS:
            (temporary / folder).mkdir()
        frames = _write_frames(temporary, world, camera, states, odometry)
        if not frames:
            raise SimulationError("a sequence needs at least one state of the robot; none came: check the patrol")
        (temporary / "transforms.json").write_text(json.dumps(_truth(world, camera, frames), indent=1))
        temporary.chmod(0o755)
        temporary.replace(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return directory


def _write_frames(
    root: Path,
    world: World,
    camera: Camera,
    states: Iterable[RobotState | tuple[float, Transform]],
    odometry: OdometrySettings | None,
) -> list[dict[str, Any]]:
    odometer, frames = Odometry(odometry), []
    with SimCamera(world, camera) as eye:
        for number, state in enumerate(states):
            t, pose = (state.t, T_map_base(state)) if isinstance(state, RobotState) else state
            exact, name = pose @ T_base_camera(), f"{number:06d}.png"
            _write_pictures(root, name, eye.shot(exact))
            reported = odometer.update(pose) @ T_base_camera()
            frame = {"t": t, **{folder: f"{folder}/{name}" for folder in FOLDERS}, "c2w": reported.tolist()}
            if odometry is not None:
                frame["c2w_true"] = exact.tolist()
            frames.append(frame)
    return frames


def _write_pictures(root: Path, name: str, shot: Shot) -> None:
    import cv2

    millimetres = np.clip(np.round(shot.depth / DEPTH_UNIT_M), 0, 65535).astype(np.uint16)
    pictures = {"rgb": shot.rgb[..., ::-1], "depth": millimetres, "instances": shot.instances}
    for folder, picture in pictures.items():
        path = root / folder / name
        if not cv2.imwrite(str(path), picture, [cv2.IMWRITE_PNG_COMPRESSION, 3]):
            raise SimulationError(f"cannot write {path}: is the disk full?")


def _truth(world: World, camera: Camera, frames: list[dict[str, Any]]) -> dict[str, Any]:
    lens = {key: getattr(camera, key) for key in ("width", "height", "fx", "fy", "cx", "cy")}
    instances = [
        {
            "id": i.id,
            "kind": i.kind,
            "name": i.name,
            "colours": list(i.colours),
            "min": i.minimum.tolist(),
            "max": i.maximum.tolist(),
            "centre": i.centre.tolist(),
        }
        for i in world.instances
    ]
    shared = {"depth_unit_m": DEPTH_UNIT_M, "axes": AXES, "up": [0, 0, 1], "pixel_centre": 0.5}
    shared["room_seed"] = world.settings.seed
    return {**lens, **shared, "frames": frames, "instances": instances}
