"""Chairs and stools."""

import numpy as np

from m3_ros.sim.finishes import Finish, around, draw_fabric, draw_finish, draw_lacquer, draw_metal, draw_wood, pick
from m3_ros.sim.items import Item, Kind, Placement, item
from m3_ros.sim.materials import plain
from m3_ros.sim.patches import Material, Shape, rotate_x

Rng = np.random.Generator


def _slat_chair(shape: Shape, finish: Finish, back: float) -> None:
    """Four legs, a wooden seat, a back of slats that rises to a height [m]."""
    m, flat = finish.along(2), finish.along(0)
    shape.rounded_box((0, 0, 0.45), (0.43, 0.42, 0.045), 0.018, flat, 4)
    for x in (-0.18, 0.18):
        shape.box((x, -0.18, 0.215), (0.04, 0.04, 0.43), m)
        shape.box((x, 0.18, back / 2), (0.04, 0.04, back), m)
        shape.box((x, 0, 0.2), (0.025, 0.34, 0.03), m)
    for z in np.linspace(0.62, back - 0.06, 3):
        shape.rounded_box((0, 0.18, z), (0.40, 0.025, 0.075), 0.01, flat, 3)
    shape.box((0, 0, 0.16), (0.34, 0.025, 0.03), flat)


def _spindle_chair(shape: Shape, finish: Finish, back: float) -> None:
    """Splayed legs, a round seat, a bowed back on thin spindles."""
    m = finish.along(2)
    shape.lathe((0, 0, 0.43), [(0, 0), (0.2, 0), (0.215, 0.02), (0.205, 0.04), (0, 0.035)], finish.along(0), 20)
    for x in (-1, 1):
        for y in (-1, 1):
            shape.tube([(x * 0.2, y * 0.19, 0), (x * 0.12, y * 0.12, 0.44)], (0.014, 0.02), m)
    bow = np.linspace(-1.2, 1.2, 9)
    arc = np.stack([0.22 * np.sin(bow), 0.2 * np.cos(bow) + 0.02, np.full(9, back)], axis=1)
    shape.tube(arc, 0.018, m)
    for x, y, _ in arc[::2]:
        shape.tube([(x * 0.8, y * 0.85, 0.45), (x, y, back)], 0.01, m, 6)


def _padded_chair(shape: Shape, finish: Finish, cloth: Finish, back: float) -> None:
    """An upholstered seat and back on four legs."""
    shape.rounded_box((0, 0, 0.43), (0.46, 0.45, 0.09), 0.035, cloth.material, bulge=0.012)
    rest, lean = (0.44, 0.07, back - 0.44), rotate_x(-0.1)
    shape.rounded_box((0, 0.19, (back + 0.48) / 2), rest, 0.03, cloth.material, R=lean, bulge=0.012)
    for x in (-0.18, 0.18):
        for y in (-0.17, 0.17):
            shape.cylinder((x, y, 0), 0.014, 0.4, finish.along(2), 0.022, sides=8)


def _cantilever_chair(shape: Shape, metal: Finish, shell: Finish, back: float) -> None:
    """A bent steel tube carries a one-piece shell."""
    for x in (-0.2, 0.2):
        side = [(0.2, 0.015), (-0.1, 0.015), (-0.19, 0.03), (-0.21, 0.1), (-0.2, 0.4), (-0.14, 0.43), (0.15, 0.43)]
        shape.tube([(x, y, z) for y, z in side], 0.012, metal.material)
        shape.tube([(x, 0.15, 0.43), (x, 0.19, 0.46), (x, 0.22, back - 0.05)], 0.012, metal.material)
    shape.tube([(-0.2, 0.2, 0.015), (0.2, 0.2, 0.015)], 0.012, metal.material)
    shape.rounded_box((0, -0.01, 0.45), (0.42, 0.4, 0.03), 0.012, shell.along(0), 4)
    shape.rounded_box((0, 0.2, back - 0.14), (0.42, 0.03, 0.26), 0.012, shell.along(0), 4, R=rotate_x(-0.08))


def _office_chair(shape: Shape, metal: Finish, cloth: Finish, back: float, arms: bool) -> None:
    """A padded seat and back that turn on a column over a star of castors."""
    black = plain((0.07, 0.07, 0.08), 0.02)
    for a in np.arange(5) * 2 * np.pi / 5 + 0.3:
        x, y = 0.29 * np.cos(a), 0.29 * np.sin(a)
        shape.tube([(0, 0, 0.12), (x, y, 0.07)], (0.025, 0.015), metal.material, 6)
        shape.ellipsoid((x, y, 0.03), (0.03, 0.03, 0.03), black, (10, 6))
    shape.cylinder((0, 0, 0.08), 0.028, 0.32, metal.material, sides=10)
    shape.rounded_box((0, 0, 0.45), (0.48, 0.46, 0.09), 0.04, cloth.material, bulge=0.012)
    rest = back - 0.45
    shape.tube([(0, 0.15, 0.4), (0, 0.26, 0.42), (0, 0.27, 0.62)], 0.018, black, 6)
    shape.rounded_box(
        (0, 0.24, 0.56 + rest / 2), (0.44, 0.07, rest), 0.035, cloth.material, R=rotate_x(-0.12), bulge=0.02
    )
    for x in (-0.25, 0.25) if arms else ():
        shape.tube([(x * 0.85, 0.05, 0.43), (x, 0.05, 0.46), (x, 0.05, 0.64)], 0.014, black, 6)
        shape.rounded_box((x, 0, 0.65), (0.055, 0.26, 0.03), 0.012, black, 4)


def _sheet(shape: Shape, side: list[tuple[float, float]], width: float, hollow: float, m: Material) -> None:
    """A bent sheet along a side view of (y, z) [m], from its front edge up to its top; hollow [m] cups it."""
    t = np.linspace(0, 1, 13)
    knots = np.linspace(0, 1, len(side))
    y, z = (np.interp(t, knots, [point[axis] for point in side]) for axis in (0, 1))
    x = np.linspace(-1, 1, 9)
    cup = hollow * x**2
    grid = np.stack(
        [np.outer(1 - 0.12 * t**2, x) * width / 2, y[:, None] - np.outer(t, cup), z[:, None] + np.outer(1 - t, cup)],
        axis=-1,
    )
    shape.add(grid, m).add((grid + np.array([0, 0.012, -0.012]))[:, ::-1], m)


def _shell_chair(shape: Shape, shell: Finish, legs: Finish, back: float) -> None:
    """One moulded shell without arms on thin splayed legs."""
    side = [
        (-0.22, 0.43),
        (-0.1, 0.45),
        (0.05, 0.44),
        (0.16, 0.47),
        (0.22, 0.6),
        (0.25, back - 0.1),
        (0.27, back - 0.05),
    ]
    _sheet(shape, side, 0.46, 0.05, shell.material)
    for x in (-1, 1):
        for y in (-1, 1):
            shape.tube([(x * 0.22, y * 0.21, 0), (x * 0.1, y * 0.1, 0.44)], (0.012, 0.016), legs.along(2), 6)


def make_chair(rng: Rng, variant: str) -> Item:
    """Draw a chair: slatted, spindle-backed, padded, cantilevered, on castors, or a moulded shell."""
    shape, finish, back = Shape(), draw_finish(rng, 0.55), float(rng.uniform(0.82, 1.0))
    words = finish.words
    if variant == "slatted":
        _slat_chair(shape, finish, back)
    elif variant == "spindle":
        _spindle_chair(shape, finish, back)
    elif variant == "padded":
        cloth = draw_fabric(rng, 0.3)
        _padded_chair(shape, finish, cloth, back)
        words = cloth.words
    elif variant == "office":
        cloth = draw_fabric(rng, 0.15)
        _office_chair(shape, draw_metal(rng), cloth, back, arms=bool(rng.random() < 0.6))
        words = cloth.words
    elif variant == "shell":
        shell = draw_lacquer(rng)
        _shell_chair(shape, shell, draw_metal(rng) if rng.random() < 0.5 else draw_wood(rng), back)
        words = shell.words
    else:
        _cantilever_chair(shape, draw_metal(rng), finish, back)
    wide = around(rng, 1.02, 0.12)
    shape.stretched(wide, around(rng, wide, 0.06), around(rng, 1, 0.06))
    return item("chair", shape.grounded(), words)


def _column(shape: Shape, legs: Finish, height: float) -> None:
    """One column on a disc, with a ring for the feet."""
    m = legs.material
    shape.lathe((0, 0, 0), [(0.19, 0), (0.19, 0.015), (0.04, 0.04), (0.028, 0.08), (0.028, height)], m, cells=7)
    ring = np.linspace(0, 2 * np.pi, 17)
    shape.tube(np.stack([0.15 * np.cos(ring), 0.15 * np.sin(ring), np.full(17, height * 0.4)], 1), 0.01, m, 6)
    shape.tube([(-0.15, 0, height * 0.4), (0.15, 0, height * 0.4)], 0.008, m, 6)


def make_stool(rng: Rng, variant: str) -> Item:
    """Draw a stool: a round or square seat on three or four legs, or a bar stool on one column."""
    shape, seat, legs = Shape(), draw_finish(rng), draw_finish(rng) if rng.random() < 0.5 else draw_metal(rng)
    height, r = float(pick(rng, (0.45, 0.48, 0.68))) * float(rng.uniform(0.95, 1.05)), float(rng.uniform(0.15, 0.2))
    if rng.random() < 0.3:
        seat = draw_fabric(rng)
    thick = float(rng.uniform(0.03, 0.08))
    if variant == "pedestal":
        height *= float(rng.uniform(1.0, 1.3))
    if variant != "square":
        shape.lathe(
            (0, 0, height - thick),
            [(0, 0), (r, 0), (r, thick * 0.8), (r - 0.015, thick), (0, thick)],
            seat.along(0),
            24,
        )
    else:
        shape.rounded_box((0, 0, height - thick / 2), (2 * r, 1.8 * r, thick), 0.02, seat.along(0))
    if variant == "pedestal":
        _column(shape, legs, height - thick)
        return item("stool", shape.grounded(), seat.words)
    count = int(rng.integers(3, 5))
    turn = np.arange(count) * 2 * np.pi / count + np.pi / 4
    for x, y in zip(np.cos(turn), np.sin(turn), strict=True):
        shape.tube([(x * r, y * r, 0), (x * r * 0.65, y * r * 0.65, height - thick * 0.6)], 0.016, legs.along(2))
    ring = np.linspace(0, 2 * np.pi, 13)
    z = height * 0.35
    around_legs = r * (1 - 0.35 * 0.35)
    shape.tube(
        np.stack([around_legs * np.cos(ring), around_legs * np.sin(ring), np.full(13, z)], 1), 0.009, legs.along(0), 6
    )
    return item("stool", shape.grounded(), seat.words)


KINDS = (
    Kind(
        "chair",
        make_chair,
        ("slatted", "spindle", "padded", "cantilever", "office", "shell"),
        Placement.FLOOR,
    ),
    Kind("stool", make_stool, ("round", "square", "pedestal"), Placement.FLOOR),
)
