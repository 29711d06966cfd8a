"""Beds."""

import numpy as np

from m3_ros.sim.finishes import Finish, draw_fabric, draw_finish, draw_metal
from m3_ros.sim.items import Item, Kind, Placement, Support, item
from m3_ros.sim.patches import Shape, rotate_x

Rng = np.random.Generator


def _bedding(shape: Shape, rng: Rng, width: float, length: float, top: float, pillows: int) -> Finish:
    """A mattress, a blanket folded back and pillows; the head lies at y = 0 and the mattress ends at `top` [m]."""
    sheet, blanket = draw_fabric(rng, 0.2), draw_fabric(rng, 0.6)
    shape.rounded_box((0, -length / 2, top - 0.09), (width - 0.04, length - 0.06, 0.18), 0.05, sheet.material)
    cover = length * float(rng.uniform(0.55, 0.75))
    middle = -length + cover / 2 + 0.01
    shape.rounded_box((0, middle, top - 0.05), (width + 0.01, cover, 0.17), 0.05, blanket.material, bulge=0.02)
    shape.rounded_box((0, middle + cover / 2 - 0.06, top + 0.035), (width, 0.16, 0.05), 0.025, sheet.material)
    step = (width - 0.1) / pillows
    for k in range(pillows):
        x = (k + 0.5) * step - (width - 0.1) / 2
        shape.rounded_box(
            (x, -0.26, top + 0.05), (step - 0.06, 0.36, 0.1), 0.045, sheet.material, R=rotate_x(-0.25), bulge=0.04
        )
    return blanket


def _frame(shape: Shape, finish: Finish, size: tuple[float, float], top: float, head: float, foot: float) -> None:
    """Posts, rails, a headboard and a footboard of slats [m]."""
    width, length = size
    for y, height in ((-0.03, head), (-length + 0.03, foot)):
        for x in (-width / 2, width / 2):
            shape.box((x, y, height / 2), (0.06, 0.06, height), finish.along(2))
        for z in np.linspace(top, height - 0.04, 3):
            shape.box((0, y, z), (width, 0.03, 0.07), finish.along(0))
    for x in (-width / 2, width / 2):
        shape.box((x, -length / 2, top - 0.15), (0.04, length, 0.16), finish.along(1))


def _bunk(shape: Shape, rng: Rng, finish: Finish, width: float, length: float) -> Finish:
    """Two beds, one above the other, with a rail and a ladder."""
    high = float(rng.uniform(1.3, 1.45))
    for x in (-width / 2, width / 2):
        for y in (-0.03, -length + 0.03):
            shape.box((x, y, (high + 0.3) / 2), (0.07, 0.07, high + 0.3), finish.along(2))
        for z in (0.3, high - 0.14, high + 0.2):
            shape.box((x, -length / 2, z), (0.035, length, 0.1), finish.along(1))
    for z in (0.3, 0.6, high - 0.14, high + 0.2):
        for y in (-0.03, -length + 0.03):
            shape.box((0, y, z), (width, 0.03, 0.1), finish.along(0))
    for z in np.arange(0.28, high, 0.27):
        shape.box((width / 2 + 0.05, -length + 0.4, z), (0.03, 0.36, 0.035), finish.along(1))
    for y in (-length + 0.22, -length + 0.58):
        shape.box((width / 2 + 0.05, y, high / 2 + 0.1), (0.04, 0.04, high + 0.2), finish.along(2))
    upper = Shape()
    _bedding(upper, rng, width, length, 0, 1)
    shape.join(upper, at=(0, 0, high))
    return _bedding(shape, rng, width, length, 0.48, 1)


def make_bed(rng: Rng, variant: str) -> Item:
    """Draw a made bed: in a slatted frame, on an upholstered box with a padded headboard, or a bunk bed."""
    shape, finish = Shape(), draw_finish(rng, 0.7)
    width, length = float(rng.uniform(0.9, 1.45)), float(rng.uniform(1.85, 2.0))
    top = float(rng.uniform(0.42, 0.55))
    if variant == "bunk":
        width, top = 0.9, 0.48
        blanket = _bunk(shape, rng, finish, width, length)
        return item("bed", shape.backed(), blanket.words)
    blanket = _bedding(shape, rng, width, length, top, 1 if width < 1.15 else 2)
    if variant == "frame":
        frame = draw_metal(rng) if rng.random() < 0.25 else finish
        _frame(shape, frame, (width, length), top, float(rng.uniform(0.85, 1.1)), float(rng.uniform(0.5, 0.75)))
    else:
        cloth = draw_fabric(rng, 0.1)
        shape.rounded_box((0, -length / 2, (top - 0.1) / 2), (width, length, top - 0.1), 0.04, cloth.material)
        tall = float(rng.uniform(0.9, 1.2))
        count = int(rng.integers(1, 5))
        for k in range(count):
            x = ((k + 0.5) / count - 0.5) * (width + 0.06)
            shape.rounded_box(
                (x, 0.04, tall / 2), ((width + 0.06) / count, 0.1, tall), 0.04, cloth.material, bulge=0.015
            )
    shape.backed()
    return item("bed", shape, blanket.words, Support(top + 0.04, width / 2 - 0.2, length * 0.2, -length * 0.6))


KINDS = (Kind("bed", make_bed, ("frame", "frame", "box", "bunk"), Placement.AGAINST_WALL),)
