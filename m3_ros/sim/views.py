"""Random views of a room, as a robot or a person might see it: pictures to train encoders on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import Transform, transform
from m3_ros.sim.camera import Shot, SimCamera
from m3_ros.sim.world import World

TRIES_PER_VIEW = 30
SHELL = ("floor", "ceiling", "wall", "ceiling light")


@dataclass(frozen=True)
class ViewSettings:
    """From where random views look."""

    width: int = 320
    """Picture width [px]."""
    height: int = 240
    """Picture height [px]."""
    field_of_view: tuple[float, float] = (1.08, 1.54)
    """Range of the horizontal field of view [rad]."""
    eye_height: tuple[float, float] = (0.3, 1.3)
    """Range of the camera's height [m]."""
    aimed: float = 0.6
    """Share of the views that look at a thing, chosen evenly among the kinds in the room."""
    nearest_aim: tuple[float, float] = (0.5, 3.5)
    """Range of distances from which a thing is looked at [m]; small things are looked at from nearer."""
    most_of_one: float = 0.88
    """Largest share of the picture that one instance may fill."""


def random_views(
    world: World, rng: np.random.Generator, count: int, settings: ViewSettings | None = None
) -> Iterator[Shot]:
    """Yield up to `count` pictures from free places; views of little but one surface are dropped."""
    view = settings or ViewSettings()
    free = world.free_space(robot_radius_m=0.12)
    places = free.cell_to_world(np.argwhere(~free.data))
    with SimCamera(world, Camera.from_fov(view.width, view.height, view.field_of_view[0])) as camera:
        taken = 0
        for _ in range(count * TRIES_PER_VIEW):
            if taken == count:
                return
            x, y = places[int(rng.integers(len(places)))]
            pose = _draw_pose(world, rng, view, np.array([x, y, rng.uniform(*view.eye_height)]))
            if pose is None:
                continue
            lens = Camera.from_fov(view.width, view.height, float(rng.uniform(*view.field_of_view)))
            shot = camera.shot(pose, camera=lens)
            share = np.bincount(shot.instances.ravel()).max() / shot.instances.size
            if share <= view.most_of_one:
                taken += 1
                yield shot


def _draw_pose(world: World, rng: np.random.Generator, view: ViewSettings, eye: np.ndarray) -> Transform | None:
    yaw, pitch = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(-30, 12))
    if rng.random() < view.aimed:
        things: dict[str, list[int]] = {}
        for instance in world.instances:
            if instance.kind not in SHELL:
                things.setdefault(instance.kind, []).append(instance.id - 1)
        if things:
            kind = sorted(things)[int(rng.integers(len(things)))]
            target = world.instances[things[kind][int(rng.integers(len(things[kind])))]]
            gaze = target.centre - eye
            distance, size = float(np.linalg.norm(gaze)), float(np.linalg.norm(target.maximum - target.minimum))
            if not view.nearest_aim[0] <= distance <= min(view.nearest_aim[1], 0.8 + 4 * size):
                return None
            yaw = np.arctan2(gaze[1], gaze[0]) + rng.normal(0, 0.22)
            pitch = np.clip(np.arctan2(gaze[2], np.hypot(gaze[0], gaze[1])) + rng.normal(0, 0.12), -0.9, 0.5)
    return free_pose(eye, float(yaw), float(pitch), float(rng.normal(0, 0.03)))


def free_pose(eye: np.ndarray, yaw: float, pitch: float, roll: float = 0.0) -> Transform:
    """Return T_map_camera (OpenCV axes) of a camera at `eye` [m] that looks along yaw and pitch (up positive) [rad]."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0])
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    return transform(np.stack([c * right + s * down, c * down - s * right, forward], axis=1), eye)
