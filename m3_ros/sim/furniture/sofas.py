"""Sofas, armchairs, and the cushions on them."""

import numpy as np

from m3_ros.sim.finishes import Finish, around, draw_fabric, draw_finish, draw_metal
from m3_ros.sim.items import Item, Kind, Placement, Support, item
from m3_ros.sim.patches import Shape, rotate_x, rotate_y

Rng = np.random.Generator
_SEAT = 0.47  # height of the seat [m]
_DEPTH = 0.84


def _cushions(shape: Shape, cloth: Finish, width: float, count: int) -> None:
    """Seat and back cushions side by side over a width [m]."""
    w = width / count
    for k in range(count):
        x = (k + 0.5) * w - width / 2
        shape.rounded_box((x, -0.08, _SEAT - 0.08), (w - 0.015, 0.68, 0.17), 0.06, cloth.material, bulge=0.015)
        shape.rounded_box(
            (x, 0.21, _SEAT + 0.18), (w - 0.02, 0.18, 0.40), 0.07, cloth.material, R=rotate_x(-0.16), bulge=0.025
        )


def _feet(shape: Shape, finish: Finish, width: float, height: float) -> None:
    for x in (-width / 2 + 0.08, width / 2 - 0.08):
        for y in (-0.34, 0.34):
            shape.cylinder((x, y, 0), 0.018, height, finish.along(2), 0.026, sides=8)


def _boxy(shape: Shape, cloth: Finish, width: float, arm: float, height: float) -> None:
    """A block with block arms."""
    m = cloth.material
    shape.rounded_box((0, 0, 0.2), (width, _DEPTH, 0.25), 0.04, m)
    shape.rounded_box((0, 0.33, 0.5), (width, 0.18, 0.60), 0.06, m)
    for x in (-1, 1):
        shape.rounded_box((x * (width - arm) / 2, 0, height / 2 + 0.05), (arm, _DEPTH, height), 0.05, m)


def _rolled(shape: Shape, cloth: Finish, width: float, arm: float, height: float) -> None:
    """Arms that end in rolls, a rolled back."""
    m = cloth.material
    shape.rounded_box((0, 0, 0.2), (width, _DEPTH, 0.25), 0.04, m)
    shape.rounded_box((0, 0.33, 0.48), (width - 0.1, 0.16, 0.62), 0.07, m)
    roll, lying = arm * 0.62, rotate_x(-np.pi / 2)
    shape.cylinder((-width / 2 + 0.06, 0.34, 0.8), roll * 0.8, width - 0.12, m, R=rotate_y(np.pi / 2))
    for x in (-1, 1):
        shape.rounded_box((x * (width - arm) / 2, 0, height / 2), (arm * 0.75, _DEPTH, height - 0.02), 0.03, m)
        shape.cylinder((x * (width - arm) / 2, -_DEPTH / 2 - 0.01, height), roll, _DEPTH, m, R=lying)


def _framed(shape: Shape, frame: Finish, width: float, height: float) -> None:
    """A slender wooden or metal frame with open arms."""
    shape.box((0, 0, 0.26), (width - 0.06, _DEPTH - 0.06, 0.07), frame.along(0))
    shape.box((0, 0.36, 0.62), (width - 0.06, 0.035, 0.16), frame.along(0), R=rotate_x(-0.1))
    for x in (-1, 1):
        side = x * (width / 2 - 0.03)
        shape.rounded_box((side, 0, height), (0.06, _DEPTH, 0.035), 0.012, frame.along(1), 4)
        for y in (-0.36, 0.36):
            shape.box((side, y, height / 2), (0.045, 0.045, height), frame.along(2))


def make_sofa(rng: Rng, variant: str) -> Item:
    """Draw a sofa for two or three: boxy, with rolled arms, or on an open frame."""
    shape, cloth = Shape(), draw_fabric(rng, 0.35)
    seats, height = int(rng.integers(2, 4)), float(rng.uniform(0.52, 0.66))
    width = float(rng.uniform(1.35, 1.6) if seats == 2 else rng.uniform(1.75, 2.1))
    arm = float(rng.uniform(0.12, 0.24))
    if variant == "framed":
        arm = 0.07
        _framed(shape, draw_finish(rng, 0.7), width, height)
    else:
        (_boxy if variant == "boxy" else _rolled)(shape, cloth, width, arm, height - 0.05)
        _feet(shape, draw_metal(rng), width, 0.09)
    _cushions(shape, cloth, width - 2 * arm, seats if rng.random() < 0.8 else 1)
    deep, tall = float(rng.uniform(0.92, 1.12)), float(rng.uniform(0.92, 1.08))
    shape.stretched(1, deep, tall).backed()
    return item("sofa", shape, cloth.words, Support(_SEAT * tall, width / 2 - arm - 0.2, 0.14, -0.5 * deep))


def _wing_chair(shape: Shape, cloth: Finish, height: float) -> None:
    """A high back with wings, rolled arms, turned legs."""
    m = cloth.material
    shape.rounded_box((0, -0.02, 0.3), (0.7, 0.68, 0.22), 0.05, m)
    shape.rounded_box((0, -0.06, 0.44), (0.52, 0.56, 0.12), 0.05, m, bulge=0.02)
    shape.rounded_box((0, 0.28, (height + 0.25) / 2), (0.66, 0.15, height - 0.25), 0.06, m, R=rotate_x(-0.08))
    for x in (-1, 1):
        shape.rounded_box((x * 0.33, 0.14, height - 0.3), (0.08, 0.28, 0.5), 0.035, m)
        shape.rounded_box((x * 0.33, -0.04, 0.45), (0.11, 0.62, 0.28), 0.05, m)


def _tub_chair(shape: Shape, cloth: Finish, height: float) -> None:
    """A round tub: back and arms are one curved wall, lower in front."""
    m = cloth.material
    shape.lathe((0, 0, 0.1), [(0.3, 0), (0.33, 0.03), (0.34, 0.2), (0.3, 0.32), (0, 0.33)], m, 24, cells=9)
    turn = np.linspace(-0.15 * np.pi, 1.15 * np.pi, 25)
    rise = height - 0.22 * np.abs(np.linspace(-1, 1, 25)) ** 2
    x, y = np.cos(turn), np.sin(turn)
    outer = [
        np.stack([r * x, r * y, low + (rise - low) * k], 1)
        for r, low, k in ((0.37, 0.1, 0), (0.4, 0.1, 0.5), (0.4, 0.1, 1))
    ]
    inner = [np.stack([r * x, r * y, 0.4 + (rise - 0.4) * k], 1) for r, k in ((0.29, 1), (0.28, 0.5), (0.28, 0))]
    shape.add(outer, m).add([outer[-1], inner[0]], m).add(inner, m)
    for end in (0, -1):
        rows = [[outer[0][end], inner[2][end]], [outer[2][end], inner[0][end]]]
        shape.add(np.array(rows)[:, ::-1] if end == 0 else rows, m, False)


def make_armchair(rng: Rng, variant: str) -> Item:
    """Draw an armchair: a club chair, a wing chair, a round tub, or on an open frame."""
    shape, cloth, height = Shape(), draw_fabric(rng, 0.35), float(rng.uniform(0.52, 0.66))
    width = float(rng.uniform(0.78, 0.98))
    if variant == "wing":
        _wing_chair(shape, cloth, float(rng.uniform(0.98, 1.16)))
        _feet(shape, draw_finish(rng, 0.8), 0.72, 0.2)
    elif variant == "tub":
        _tub_chair(shape, cloth, float(rng.uniform(0.68, 0.8)))
        _feet(shape, draw_metal(rng), 0.36, 0.11)
    elif variant == "framed":
        _framed(shape, draw_finish(rng, 0.7), width * 0.85, height)
        _cushions(shape, cloth, width * 0.85 - 0.14, 1)
    else:
        arm = float(rng.uniform(0.14, 0.2))
        _boxy(shape, cloth, width, arm, height - 0.05)
        _cushions(shape, cloth, width - 2 * arm, 1)
        _feet(shape, draw_metal(rng), width, 0.09)
    wide = around(rng, 1, 0.06)
    return item("armchair", shape.stretched(wide, wide, around(rng, 1, 0.05)).grounded(), cloth.words)


def make_cushion(rng: Rng, variant: str) -> Item:
    """Draw a cushion that leans back, lies flat, or is a bolster."""
    shape, m = Shape(), draw_fabric(rng, 0.6)
    side = float(rng.uniform(0.36, 0.48))
    if variant == "leaning":
        lean = rotate_x(-float(rng.uniform(0.25, 0.5)))
        shape.rounded_box(
            (0, 0, side / 2),
            (side, 0.11, side * float(rng.uniform(0.7, 1.0))),
            0.045,
            m.material,
            8,
            R=lean,
            bulge=0.04,
        )
    elif variant == "flat":
        shape.rounded_box((0, 0, 0.07), (side, side, 0.10), 0.045, m.material, 8, bulge=0.035)
    else:
        shape.ellipsoid((0, 0, 0.1), (0.2, 0.2, 0.085), m.material)
    return item("cushion", shape.grounded(), m.words)


KINDS = (
    Kind("sofa", make_sofa, ("boxy", "rolled", "framed"), Placement.AGAINST_WALL),
    Kind("armchair", make_armchair, ("club", "wing", "tub", "framed"), Placement.FLOOR),
    Kind("cushion", make_cushion, ("leaning", "leaning", "flat", "bolster"), Placement.ON_SURFACE, surfaces=("sofa",)),
)
