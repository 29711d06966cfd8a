"""Windows, doors, curtains and radiators: what belongs to a wall."""

import numpy as np

from m3_ros.sim.finishes import Finish, draw_fabric, draw_finish, draw_lacquer, draw_metal, draw_wood, pick
from m3_ros.sim.items import Item, Kind, Placement, item
from m3_ros.sim.materials import image, plain
from m3_ros.sim.patches import Material, Shape, rotate_x
from m3_ros.sim.pictures import sky

Rng = np.random.Generator
_DAYLIGHT = 6.0


def _cloth(shape: Shape, cloth: Finish, x: float, width: float, height: float, waist: float) -> None:
    """A cloth in folds centred at x, hanging to the floor [m]; waist: its width where a band gathers it (1: none)."""
    folds = max(3, round(width / 0.09))
    u = np.linspace(0, 1, 6 * folds + 1)
    rows = []
    for z in np.linspace(0.01, 1, 10):
        narrow = waist + (1 - waist) * min(1.0, abs(z - 0.4) / 0.35)
        rows.append(
            np.column_stack(
                [
                    x + (u - 0.5) * width * narrow,
                    -0.08 + 0.03 * np.sin(u * 2 * np.pi * folds),
                    np.full(len(u), z * height),
                ]
            )
        )
    shape.add(rows, cloth.along(0))


def make_curtain(rng: Rng, variant: str) -> Item:
    """Draw a curtain down to the floor on its rod: one closed cloth, a drawn pair, or a pair gathered by bands."""
    shape, cloth, metal = Shape(), draw_fabric(rng, 0.4), draw_metal(rng).material
    w, h = float(rng.uniform(0.9, 1.6)), float(rng.uniform(2.0, 2.25))
    if variant == "closed":
        _cloth(shape, cloth, 0, w, h, 1.0)
    else:
        gap = float(rng.uniform(0.1, 0.3)) * w
        part = (w - gap) / 2
        for side in (-1.0, 1.0):
            _cloth(shape, cloth, side * (gap + part) / 2, part, h, 0.45 if variant == "gathered" else 1.0)
    shape.tube([(-w / 2 - 0.12, -0.07, h + 0.01), (w / 2 + 0.12, -0.07, h + 0.01)], 0.016, metal)
    for side in (-1, 1):
        shape.ellipsoid((side * (w / 2 + 0.13), -0.07, h + 0.01), (0.035, 0.035, 0.035), metal, (10, 6))
        shape.box((side * w / 2, -0.035, h + 0.01), (0.03, 0.07, 0.03), metal)
    return item("curtain", shape.backed(), cloth.words)


def _arch(shape: Shape, frame: Finish, w: float, h: float, glow: Material) -> None:
    """A half-round top on a window of a width, from a height on [m]."""
    turn = np.linspace(0, np.pi, 17)
    k = np.linspace(1e-3, 1, 5)[:, None]
    x, z = k * np.cos(turn[::-1]) * w / 2, h + k * np.sin(turn[::-1]) * w / 2
    shape.add(np.stack([x, np.full_like(x, -0.02), z], -1), glow, False, emission=_DAYLIGHT)
    rim = np.stack([np.cos(turn) * (w / 2 + 0.02), np.full(17, -0.035), h + np.sin(turn) * (w / 2 + 0.02)], 1)
    shape.tube(rim, 0.035, frame.along(0), 6)
    for a in (np.pi / 4, np.pi / 2, 3 * np.pi / 4):
        spoke = [(0, -0.03, h), (np.cos(a) * w / 2, -0.03, h + np.sin(a) * w / 2)]
        shape.tube(spoke, 0.014, frame.along(2), 5)


def make_window(rng: Rng, variant: str) -> Item:
    """Draw a window with one to six panes and a sill, sometimes with a half-round top; daylight shines through."""
    shape = Shape()
    frame = draw_lacquer(rng, ("white",)) if rng.random() < 0.6 else draw_finish(rng, 0.6)
    w, h = float(rng.uniform(0.9, 1.5)), float(rng.uniform(0.8, 1.2))
    glass = [(-w / 2, -0.02, -h / 2), (w / 2, -0.02, -h / 2), (w / 2, -0.02, h / 2), (-w / 2, -0.02, h / 2)]
    view = image(sky(rng))
    shape.quad(glass, view, emission=_DAYLIGHT)
    for side in (-1.0, 1.0):
        shape.box((side * (w / 2 + 0.02), -0.03, 0), (0.07, 0.06, h + 0.11), frame.along(2), skip=("y+",))
        shape.box((0, -0.03, side * (h / 2 + 0.02)), (w - 0.03, 0.06, 0.07), frame.along(0), skip=("y+", "x+", "x-"))
    shape.box((0, -0.06, -h / 2 - 0.06), (w + 0.16, 0.12, 0.03), frame.along(0), skip=("y+",))
    columns, rows = pick(rng, ((1, 1), (2, 1), (2, 2), (3, 1), (2, 3), (1, 2)))
    for k in range(1, columns):
        shape.box((w * (k / columns - 0.5), -0.03, 0), (0.04, 0.05, h), frame.along(2), skip=("y+", "z+", "z-"))
    for k in range(1, rows):
        shape.box((0, -0.03, h * (k / rows - 0.5)), (w, 0.045, 0.035), frame.along(0), skip=("y+", "x+", "x-"))
    if variant == "arched":
        _arch(shape, frame, w, h / 2, view)
        shape.stretched(1, 1, 0.72)
    return item("window", shape, frame.words[:1])


def make_door(rng: Rng, variant: str) -> Item:
    """Draw a closed door: flush, panelled or glazed, in its frame."""
    shape, leaf = Shape(), draw_finish(rng, 0.6)
    frame = draw_lacquer(rng, ("white",)) if rng.random() < 0.5 else leaf
    w, h, metal = float(rng.uniform(0.76, 0.92)), float(rng.uniform(1.96, 2.08)), draw_metal(rng).material
    shape.box((0, -0.02, h / 2), (w, 0.04, h), leaf.along(2), skip=("y+", "z-"))
    for x in (-1.0, 1.0):
        shape.box((x * (w / 2 + 0.04), -0.03, h / 2 + 0.03), (0.08, 0.06, h + 0.06), frame.along(2), skip=("y+", "z-"))
    shape.box((0, -0.03, h + 0.04), (w + 0.16, 0.06, 0.08), frame.along(0), skip=("y+",))
    columns, rows = pick(rng, ((1, 2), (2, 2), (1, 3), (2, 3))) if variant == "panelled" else (0, 0)
    panel = leaf if rng.random() < 0.7 else draw_wood(rng)
    for i in range(columns):
        for j in range(rows):
            x, z = w * ((i + 0.5) / columns - 0.5) * 0.86, h * (0.06 + 0.9 * (j + 0.5) / rows)
            size = (w * 0.86 / columns - 0.08, 0.022, h * 0.9 / rows - 0.12)
            shape.box((x, -0.045, z), size, panel.along(2), skip=("y+",))
    if variant == "glazed":
        shape.box((0, -0.042, h * 0.66), (w * 0.45, 0.01, h * 0.42), plain((0.78, 0.86, 0.88), 0.06, 0.1), skip=("y+",))
    x = float(rng.choice([-1, 1])) * (w / 2 - 0.08)
    shape.cylinder((x, -0.04, 1.0), 0.012, 0.05, metal, R=rotate_x(np.pi / 2), sides=8)
    if rng.random() < 0.5:
        shape.ellipsoid((x, -0.1, 1.0), (0.035, 0.03, 0.035), metal, (12, 8))
    else:
        shape.box((x - np.sign(x) * 0.05, -0.09, 1.0), (0.13, 0.018, 0.022), metal)
        shape.box((x, -0.043, 0.98), (0.045, 0.01, 0.2), metal, skip=("y+",))
    return item("door", shape, leaf.words)


def _columns(shape: Shape, m: Material, w: float, h: float) -> None:
    """Upright tubes side by side on feet: an old radiator."""
    for x in np.arange(-w / 2 + 0.03, w / 2 - 0.02, 0.065):
        for y in (-0.05, -0.12):
            shape.tube([(x, y, 0.08), (x, y, 0.08 + h / 2), (x, y, 0.08 + h)], (0.02, 0.022, 0.02), m, 6)
        shape.ellipsoid((x, -0.085, 0.08 + h), (0.027, 0.06, 0.03), m, (8, 6))
        shape.ellipsoid((x, -0.085, 0.09), (0.027, 0.06, 0.03), m, (8, 6))
    for x in (-w / 2 + 0.06, w / 2 - 0.06):
        shape.box((x, -0.085, 0.04), (0.04, 0.12, 0.08), m)


def make_radiator(rng: Rng, variant: str) -> Item:
    """Draw a radiator, mostly white: a ribbed panel, or upright columns."""
    shape = Shape()
    coat = draw_lacquer(rng, ("white",)) if rng.random() < 0.75 else draw_lacquer(rng)
    w, h, m = float(rng.uniform(0.6, 1.3)), float(rng.uniform(0.45, 0.7)), coat.material
    if variant == "columns":
        _columns(shape, m, w, h)
        return item("radiator", shape.backed(), coat.words)
    ribs = round(w / float(rng.uniform(0.045, 0.07)))
    u = np.linspace(0, 1, 4 * ribs + 1)
    wave = 0.022 * (np.sin(u * 2 * np.pi * ribs) > -0.1)
    front = np.column_stack([(u - 0.5) * w, -0.08 - wave, 0 * u])
    shape.add([front + np.array([0, 0, 0.12]), front + np.array([0, 0, 0.12 + h])], m, False, 1.3)
    shape.box((0, -0.06, 0.12 + h / 2), (w + 0.02, 0.06, h - 0.01), m)
    shape.box((0, -0.065, 0.12 + h), (w + 0.03, 0.08, 0.025), m).box((0, -0.065, 0.125), (w + 0.03, 0.08, 0.025), m)
    side = float(rng.choice([-1, 1])) * (w / 2 + 0.04)
    shape.tube([(side, -0.05, 0), (side, -0.05, 0.16), (side * 0.9, -0.05, 0.17)], 0.011, m, 6)
    shape.ellipsoid((side, -0.07, 0.2), (0.025, 0.025, 0.035), plain((0.85, 0.85, 0.85)), (10, 6))
    shape.box((0, -0.015, 0.12 + h * 0.8), (w * 0.6, 0.03, 0.03), m)
    return item("radiator", shape.backed(), coat.words)


KINDS = (
    Kind("window", make_window, ("square", "square", "arched"), Placement.ON_WALL, wall_height=(1.3, 1.6)),
    Kind("door", make_door, ("panelled", "flush", "glazed"), Placement.ON_WALL),
    Kind("radiator", make_radiator, ("ribbed", "columns"), Placement.AGAINST_WALL),
    Kind("curtain", make_curtain, ("closed", "pair", "gathered"), Placement.AGAINST_WALL),
)
