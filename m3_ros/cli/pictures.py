"""Pictures for people: renders beside photographs, heat over an image, the map from above. Arrays in and out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray

from m3_ros.geometry.box import OrientedBox
from m3_ros.geometry.pose import Transform

Image = UInt8[NDArray[np.uint8], "H W 3"]

_INK = (40, 40, 40)
_GOAL = (20, 120, 60)
_PATH = (30, 90, 200)
_BOX = (200, 60, 40)


def save_png(path: Path, image: Image) -> None:
    """Write an RGB image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def to_bytes(image: Float[NDArray[np.float32], "H W 3"]) -> Image:
    """Convert colours in [0, 1] to 8 bits."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def write(
    image: Image, text: str, at: tuple[int, int], scale: float = 0.45, colour: tuple[int, int, int] = _INK
) -> None:
    """Draw a line of text into `image`, in place; `at` is its lower left corner [px]."""
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):  # thicker letters would stand further apart
        cv2.putText(image, text, (at[0] + dx, at[1] + dy), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1)
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def contact_sheet(rows: Sequence[tuple[str, Sequence[Image]]], gap: int = 6) -> Image:
    """Stack rows of images, each row under its caption."""
    strips = []
    for caption, images in rows:
        tallest = max(len(i) for i in images) + gap
        padded = [np.pad(i, ((0, tallest - len(i)), (0, gap), (0, 0)), constant_values=255) for i in images]
        strip = np.concatenate(padded, axis=1)
        title = np.full((24, strip.shape[1], 3), 255, np.uint8)
        write(title, caption, (4, 17))
        strips.append(np.concatenate([title, strip]))
    width = max(s.shape[1] for s in strips)
    return np.concatenate([np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips])


def heat_overlay(image: Image, heat: Float[NDArray[np.float32], "H W"]) -> Image:
    """Blend a heat map in [0, 1] over a greyed image; 0 leaves the grey, 1 is dark red."""
    h = np.clip(heat, 0, 1)
    colour = cv2.applyColorMap((h * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1].astype(np.float32)
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.float32)
    weight = np.clip(h * 1.5, 0, 0.8)[..., None]
    return np.asarray(grey * (1 - weight) + colour * weight).astype(np.uint8)


@dataclass(frozen=True)
class Marking:
    """What is drawn on a map from above."""

    boxes: Sequence[tuple[str, OrientedBox]] = ()
    """Named things."""
    goal: Transform | None = None
    """Where the robot should stand, T_map_base."""
    path: Sequence[tuple[float, float]] = ()
    """Way walked to the goal [m]."""
    patrol: Sequence[tuple[float, float]] = ()
    """Way walked while recording [m]."""


def top_down(
    occupied: Bool[NDArray[np.bool_], "ny nx"],
    seen: Bool[NDArray[np.bool_], "ny nx"],
    origin_xy: Float[NDArray[np.float64], "2"],
    resolution_m: float,
    marking: Marking,
    cell_px: int = 6,
) -> Image:
    """Draw a grid map, y up, with boxes, paths and the goal."""
    grey = np.where(occupied, 110, np.where(seen, 250, 205)).astype(np.uint8)
    image = np.repeat(np.repeat(grey[::-1], cell_px, axis=0), cell_px, axis=1)
    image = np.repeat(image[..., None], 3, axis=2).copy()
    height = image.shape[0]

    def pixel(x: float, y: float) -> tuple[int, int]:
        u, v = (np.array([x, y]) - origin_xy) / resolution_m * cell_px
        return round(float(u)), height - 1 - round(float(v))

    _polyline(image, [pixel(*p) for p in marking.patrol], (190, 190, 150), 1)
    for name, box in marking.boxes:
        corners = box.corners[[0, 2, 6, 4]]
        cv2.polylines(
            image,
            [np.array([pixel(c[0], c[1]) for c in corners], np.int32)],
            isClosed=True,
            color=_BOX,
            thickness=2,
            lineType=cv2.LINE_AA,
        )
        write(image, name, pixel(box.centre[0], box.centre[1]), 0.4)
    _polyline(image, [pixel(*p) for p in marking.path], _PATH, 2)
    if marking.goal is not None:
        tip = marking.goal[:2, 3] + 0.35 * marking.goal[:2, 0]
        start = pixel(marking.goal[0, 3], marking.goal[1, 3])
        cv2.circle(image, start, cell_px, _GOAL, -1, cv2.LINE_AA)
        cv2.arrowedLine(image, start, pixel(tip[0], tip[1]), _GOAL, 3, cv2.LINE_AA, tipLength=0.4)
    return image


def _polyline(image: Image, points: Sequence[tuple[int, int]], colour: tuple[int, int, int], thickness: int) -> None:
    if len(points) > 1:
        cv2.polylines(
            image, [np.array(points, np.int32)], isClosed=False, color=colour, thickness=thickness, lineType=cv2.LINE_AA
        )
