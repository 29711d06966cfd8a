"""Wardrobes and dressers."""

import numpy as np

from m3_ros.sim.finishes import Finish, draw_fabric, draw_finish, draw_metal
from m3_ros.sim.furniture.storage import case, drawer_front
from m3_ros.sim.items import Item, Kind, Placement, Support, item
from m3_ros.sim.materials import plain
from m3_ros.sim.patches import Shape

Rng = np.random.Generator


def _panelled(shape: Shape, face: Finish, x: float, y: float, z: float, size: tuple[float, float]) -> None:
    """A door with one or two raised panels [m]."""
    w, h = size
    shape.box((x, y - 0.01, z), (w, 0.02, h), face.along(2), skip=("y+",))
    for low, high in ((0.06, 0.42), (0.48, 0.95)):
        shape.box((x, y - 0.025, z - h / 2 + h * (low + high) / 2), (w * 0.72, 0.012, h * (high - low)), face.along(2))


def _hinged(shape: Shape, rng: Rng, finish: Finish, size: tuple[float, float, float]) -> None:
    """Two or three doors with handles, a cornice, sometimes drawers below [m]."""
    w, d, h = size
    face, knob = finish if rng.random() < 0.7 else draw_finish(rng), draw_metal(rng).material
    count, low = (2 if w < 1.1 else 3), 0.08 if rng.random() < 0.6 else 0.36
    step, panelled = w / count, rng.random() < 0.6
    for k in range(count):
        x, z, tall = (k + 0.5) * step - w / 2, (low + h) / 2 - 0.02, h - low - 0.06
        if panelled:
            _panelled(shape, face, x, -d, z, (step - 0.015, tall))
        else:
            shape.box((x, -d - 0.01, z), (step - 0.012, 0.02, tall), face.along(2), skip=("y+",))
        grip = x + (0.42 if k % 2 == 0 else -0.42) * step
        shape.box((grip, -d - 0.035, h * 0.5), (0.018, 0.03, float(rng.uniform(0.05, 0.25))), knob)
        if low > 0.2:
            drawer_front(shape, face, draw_metal(rng), (x, -d, 0.21), (step - 0.02, 0.24))
    if rng.random() < 0.5:
        shape.box((0, -d / 2 - 0.01, h + 0.02), (w + 0.07, d + 0.06, 0.05), finish.along(0))


def _open(shape: Shape, rng: Rng, w: float, d: float, h: float) -> None:
    """Clothes on a rail, a shelf with folded things above and boxes below [m]."""
    shape.tube([(-w / 2 + 0.02, -d / 2, h * 0.82), (w / 2 - 0.02, -d / 2, h * 0.82)], 0.014, draw_metal(rng).material)
    x = -w / 2 + 0.07
    while x < w / 2 - 0.07:
        cloth, long = draw_fabric(rng, 0.3), float(rng.uniform(0.55, 0.95))
        thick = float(rng.uniform(0.03, 0.07))
        shape.rounded_box((x, -d / 2, h * 0.8 - long / 2), (thick, d * 0.72, long), 0.02, cloth.material, 4)
        x += thick + float(rng.uniform(0.005, 0.06))
    for k in range(int(rng.integers(1, 4))):
        cloth = draw_fabric(rng, 0.3)
        shape.rounded_box(
            ((k - 1) * w * 0.3, -d / 2, h * 0.9), (w * 0.26, d * 0.6, 0.1), 0.03, cloth.material, 4, bulge=0.01
        )


def make_wardrobe(rng: Rng, variant: str) -> Item:
    """Draw a wardrobe: with hinged doors, with two sliding doors, or open with clothes on a rail."""
    shape, finish = Shape(), draw_finish(rng, 0.6)
    w, d, h = float(rng.uniform(0.9, 1.5)), float(rng.uniform(0.5, 0.6)), float(rng.uniform(1.8, 2.1))
    levels = [0.04, h * 0.86, h - 0.0125] if variant == "open" else [0.04, h - 0.0125]
    case(shape, finish, (w, d, h), levels, False)
    if variant == "open":
        _open(shape, rng, w, d, h)
    elif variant == "sliding":
        metal, second = draw_metal(rng).material, draw_finish(rng, 0.5)
        for k, face in enumerate((finish, second)):
            x = (k - 0.5) * w * 0.5
            shape.box((x, -d - 0.012 - 0.03 * k, h / 2), (w * 0.52, 0.025, h - 0.06), face.along(2))
            shape.box((x - 0.22 * w, -d - 0.03 - 0.03 * k, h / 2), (0.02, 0.02, h - 0.06), metal)
            for level in (0.33, 0.66) if rng.random() < 0.5 else ():
                shape.box((x, -d - 0.027 - 0.03 * k, h * level), (w * 0.52, 0.008, 0.012), metal)
        shape.box((0, -d - 0.02, h - 0.02), (w, 0.08, 0.04), metal)
    else:
        _hinged(shape, rng, finish, (w, d, h))
    return item("wardrobe", shape.backed(), finish.words)


def make_dresser(rng: Rng, variant: str) -> Item:
    """Draw a chest of drawers: wide, or tall and narrow, on a plinth or on legs."""
    shape, finish, knob = Shape(), draw_finish(rng, 0.6), draw_metal(rng)
    face = finish if rng.random() < 0.7 else draw_finish(rng)
    tall = variant == "tall"
    w, h = float(rng.uniform(0.5, 0.62) if tall else rng.uniform(0.85, 1.15)), float(rng.uniform(0.75, 0.95))
    h, d = h + (0.3 if tall else 0.0), float(rng.uniform(0.42, 0.5))
    rows, columns = (5 if tall else int(rng.integers(3, 5))), 1 if tall or rng.random() < 0.5 else 2
    foot = float(rng.choice([0.03, 0.14]))
    shape.box((0, -d / 2, (foot + h) / 2), (w, d, h - foot), finish.along(0))
    shape.box((0, -d / 2 - 0.01, h), (w + 0.03, d + 0.02, 0.03), finish.along(0))
    shape.box((0, -d, (foot + h) / 2), (w - 0.02, 0.004, h - foot - 0.02), plain(finish.colour * 0.35, 0.02))
    step, each = (h - foot - 0.04) / rows, w / columns
    for row in range(rows):
        for column in range(columns):
            at = ((column + 0.5) * each - w / 2, -d - 0.004, foot + 0.01 + (row + 0.5) * step)
            drawer_front(shape, face, knob, at, (each - 0.03, step - 0.02))
    for x in (-w / 2 + 0.05, w / 2 - 0.05):
        for y in (-0.05, -d + 0.05):
            shape.cylinder((x, y, 0), 0.018, foot + 0.01, finish.along(2), 0.026, sides=8)
    return item("dresser", shape.backed(), finish.words, Support(h + 0.015, w / 2 - 0.06, d / 2 - 0.08, -d / 2))


KINDS = (
    Kind("wardrobe", make_wardrobe, ("hinged", "hinged", "sliding", "open"), Placement.AGAINST_WALL),
    Kind("dresser", make_dresser, ("wide", "tall"), Placement.AGAINST_WALL),
)
