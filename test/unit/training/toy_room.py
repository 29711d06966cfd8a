"""A tiny textured room drawn by ray casting: frames with exact depth for the tests of the geometry stage."""

import numpy as np

from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import look_at
from m3_ros.recording.frame import Frame

HALF = np.array([2.0, 1.6, 1.2])
"""Half the size of the room [m]; the camera stands inside."""


def texture(points: np.ndarray) -> np.ndarray:
    """Smooth stripes, another on each wall."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    rgb = np.stack([np.sin(3 * x + y), np.sin(2.5 * y - z + 1), np.sin(3.5 * z + 0.5 * x + 2)], -1)
    return 0.5 + 0.4 * rgb


def toy_frame(number: int, of: int, width: int = 64, height: int = 48, depth: bool = True) -> Frame:
    angle = 2 * np.pi * number / of
    eye = np.array([0.6 * np.cos(angle), 0.5 * np.sin(angle), 0.1 * np.sin(3 * angle)])
    pose = look_at(eye, eye + np.array([np.cos(angle + 0.7), np.sin(angle + 0.7), 0.2 * np.sin(2 * angle)]))
    camera = Camera.from_fov(width, height, np.deg2rad(75))
    rays = camera.unproject(np.ones((height, width), np.float32)).astype(np.float64) @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        reach = np.where(rays > 0, (HALF - eye) / rays, (-HALF - eye) / rays).min(-1)
    rgb = np.round(255 * texture(eye + rays * reach[..., None])).astype(np.uint8)
    return Frame(number * 10**8, rgb, camera, pose, reach.astype(np.float32) if depth else None)


def toy_frames(count: int = 16, depth: bool = True) -> list[Frame]:
    return [toy_frame(i, count, depth=depth) for i in range(count)]
