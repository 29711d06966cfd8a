"""Tables and coffee tables."""

import numpy as np

from m3_ros.sim.finishes import Finish, draw_finish, draw_metal
from m3_ros.sim.items import Item, Kind, Placement, Support, item
from m3_ros.sim.patches import Shape

Rng = np.random.Generator


def _square_legs(shape: Shape, finish: Finish, half: tuple[float, float], height: float, width: float) -> None:
    half_x, half_y = half
    for x in (-half_x, half_x):
        for y in (-half_y, half_y):
            shape.box((x, y, height / 2), (width, width, height), finish.along(2), skip=("z-",))


def _slab(shape: Shape, finish: Finish, size: tuple[float, float], height: float, thick: float) -> None:
    shape.rounded_box((0, 0, height - thick / 2), (*size, thick), min(0.015, thick / 2), finish.along(0), 4)


def _disc(shape: Shape, finish: Finish, radius: float, height: float, thick: float) -> None:
    r, t = radius, thick
    profile = [(0, -t), (r - 0.012, -t), (r, -t * 0.6), (r, -t * 0.3), (r - 0.01, 0), (0, 0)]
    shape.lathe((0, 0, height), profile, finish.along(0), 32, cells=9)


def _pedestal(shape: Shape, finish: Finish, radius: float, height: float) -> None:
    m = finish.along(2)
    foot = [(radius * 0.6, 0), (radius * 0.6, 0.025), (radius * 0.2, 0.06), (0.045, 0.12), (0.045, height)]
    shape.lathe((0, 0, 0), foot, m, 20, cells=9)


def _trestle(shape: Shape, finish: Finish, half_x: float, half_y: float, height: float) -> None:
    m = finish.along(2)
    for x in (-half_x, half_x):
        shape.box((x, 0, height / 2), (0.05, half_y * 1.5, 0.08), m, skip=("z+",))
        for y in (-half_y, half_y):
            shape.tube([(x, y, 0), (x, y * 0.35, height)], 0.028, m, 6)
    shape.box((0, 0, height * 0.5), (2 * half_x, 0.03, 0.07), finish.along(0))


def make_table(rng: Rng, variant: str) -> Item:
    """Draw a dining table: four legs, round on a pedestal, or on trestles."""
    shape, top = Shape(), draw_finish(rng, 0.6)
    legs = top if rng.random() < 0.6 else draw_metal(rng) if rng.random() < 0.5 else draw_finish(rng)
    height, thick = float(rng.uniform(0.70, 0.78)), float(rng.uniform(0.025, 0.055))
    if variant == "pedestal":
        radius = float(rng.uniform(0.4, 0.62))
        _disc(shape, top, radius, height, thick)
        _pedestal(shape, legs, radius, height - thick)
        return item("table", shape.grounded(), top.words, Support(height, radius * 0.6, radius * 0.6))
    half_x, half_y = float(rng.uniform(0.48, 0.82)), float(rng.uniform(0.32, 0.46))
    _slab(shape, top, (2 * half_x, 2 * half_y), height, thick)
    if variant == "trestle":
        _trestle(shape, legs, half_x - 0.12, half_y - 0.05, height - thick)
    else:
        width = float(rng.uniform(0.035, 0.08))
        _square_legs(shape, legs, (half_x - width, half_y - width), height - thick, width)
        if variant == "apron":
            size = (2 * (half_x - width), 2 * (half_y - width), 0.07)
            shape.box((0, 0, height - thick - 0.035), size, top.along(0), skip=("z+",))
    return item("table", shape.grounded(), top.words, Support(height, half_x - 0.08, half_y - 0.08))


def _shelf_legs(shape: Shape, finish: Finish, half: tuple[float, float], height: float) -> None:
    _square_legs(shape, finish, half, height, 0.05)
    shape.box((0, 0, height * 0.35), (2 * half[0], 2 * half[1], 0.02), finish.along(0))


def make_coffee_table(rng: Rng, variant: str) -> Item:
    """Draw a low table: round on three legs, a slab on sleigh legs, with a shelf, or a block."""
    shape, top = Shape(), draw_finish(rng, 0.6)
    legs = top if rng.random() < 0.5 else draw_metal(rng)
    height = float(rng.uniform(0.34, 0.46))
    if variant == "round":
        r = float(rng.uniform(0.32, 0.48))
        _disc(shape, top, r, height, 0.045)
        for a in np.arange(3) * 2 * np.pi / 3:
            x, y = r * np.cos(a), r * np.sin(a)
            shape.tube([(0.8 * x, 0.8 * y, 0), (0.62 * x, 0.62 * y, height - 0.03)], (0.016, 0.024), legs.along(2))
        return item("coffee table", shape.grounded(), top.words, Support(height, r * 0.6, r * 0.6))
    half_x, half_y = float(rng.uniform(0.4, 0.58)), float(rng.uniform(0.24, 0.34))
    _slab(shape, top, (2 * half_x, 2 * half_y), height, 0.04)
    if variant == "sleigh":
        for x in (-half_x + 0.1, half_x - 0.1):
            y, z = half_y - 0.03, height - 0.03
            shape.tube([(x, -y, z), (x, -y, 0.02), (x, y, 0.02), (x, y, z)], 0.014, legs.material, 6)
    elif variant == "shelf":
        _shelf_legs(shape, legs, (half_x - 0.05, half_y - 0.05), height - 0.04)
    else:
        shape.box(
            (0, 0, height / 2 - 0.02),
            (2 * half_x - 0.06, 2 * half_y - 0.06, height - 0.04),
            top.along(0),
            skip=("z+", "z-"),
        )
        for x in (-half_x / 2, half_x / 2):
            shape.box((x, -half_y + 0.025, height / 2), (half_x - 0.06, 0.016, height * 0.6), legs.along(0))
    return item("coffee table", shape.grounded(), top.words, Support(height, half_x - 0.06, half_y - 0.06))


KINDS = (
    Kind("table", make_table, ("apron", "legs", "pedestal", "trestle"), Placement.FLOOR),
    Kind("coffee table", make_coffee_table, ("round", "sleigh", "shelf", "block"), Placement.FLOOR),
)
