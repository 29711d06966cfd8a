"""Backpacks and suitcases."""

import numpy as np

from m3_ros.sim.finishes import around, draw_fabric, draw_lacquer, draw_metal
from m3_ros.sim.items import Item, Kind, Placement, item
from m3_ros.sim.materials import plain, striped
from m3_ros.sim.patches import Material, Shape

Rng = np.random.Generator


def _straps(shape: Shape, m: Material, height: float) -> None:
    """Two shoulder straps behind and a loop on top."""
    t = np.linspace(0, np.pi, 7)
    shape.tube(np.stack([0.05 * np.cos(t), 0 * t + 0.03, height - 0.01 + 0.05 * np.sin(t)], 1), 0.011, m)
    for x in (-0.09, 0.09):
        k = height / 0.46
        path = [
            (x, 0.1, 0.43 * k),
            (x, 0.155, 0.38 * k),
            (x * 1.1, 0.16, 0.25 * k),
            (x * 1.2, 0.13, 0.12 * k),
            (x * 1.2, 0.09, 0.06 * k),
        ]
        shape.tube(path, 0.018, m)


def make_backpack(rng: Rng, variant: str) -> Item:
    """Draw a backpack: a round school bag, a roll-top, or a hiking pack with side pockets and a mat."""
    shape, cloth = Shape(), draw_fabric(rng, 0.25)
    second = cloth if rng.random() < 0.4 else draw_fabric(rng, 0.0)
    m, m2 = cloth.material, second.material
    h = 0.58 if variant == "hiking" else 0.46
    if variant == "school":
        shape.rounded_box((0, 0, h / 2), (0.34, 0.2, h), 0.09, m, 8)
        shape.rounded_box((0, -0.11, 0.15), (0.27, 0.1, 0.22), 0.045, m2)
        shape.rounded_box((0, -0.095, 0.34), (0.24, 0.05, 0.11), 0.02, m2)
        shape.tube([(-0.1, -0.165, 0.2), (0.1, -0.165, 0.2)], 0.005, plain((0.85, 0.8, 0.6)))
    elif variant == "roll-top":
        shape.rounded_box((0, 0, h / 2 - 0.03), (0.32, 0.19, h - 0.06), 0.04, m)
        shape.rounded_box((0, 0, h - 0.03), (0.33, 0.08, 0.07), 0.035, m2)
        shape.box((0, -0.1, 0.28), (0.035, 0.012, 0.36), m2).rounded_box((0, -0.1, 0.13), (0.25, 0.06, 0.17), 0.025, m)
    else:
        shape.rounded_box((0, 0, 0.24), (0.3, 0.2, 0.48), 0.07, m, 8)
        shape.rounded_box((0, -0.01, 0.51), (0.31, 0.24, 0.12), 0.05, m2)
        shape.rounded_box((0, -0.11, 0.2), (0.22, 0.09, 0.28), 0.035, m2)
        for x in (-0.165, 0.165):
            shape.rounded_box((x, 0, 0.14), (0.08, 0.14, 0.2), 0.035, m2)
        shape.cylinder((-0.17, -0.03, 0.61), 0.05, 0.34, plain((0.3, 0.5, 0.45), 0.1), R=_LYING, sides=12)
    _straps(shape, m2, h)
    wide = around(rng, 1, 0.12)
    return item(
        "backpack", shape.stretched(wide, around(rng, wide, 0.08), around(rng, 1, 0.12)).grounded(), cloth.words
    )


_LYING = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # turns z to x


def _trunk(shape: Shape, rng: Rng) -> tuple[str, ...]:
    """An old flat case with straps, corners and a handle on its long side."""
    body, metal = draw_fabric(rng, 0.2), draw_metal(rng).material
    w, d, h = float(rng.uniform(0.5, 0.72)), float(rng.uniform(0.17, 0.24)), float(rng.uniform(0.36, 0.48))
    shape.rounded_box((0, 0, h / 2), (w, d, h), 0.025, body.material)
    shape.box((0, 0, h / 2), (w + 0.004, 0.014, h + 0.004), metal)
    strap = plain(body.colour * 0.55, 0.1)
    for x in (-w * 0.28, w * 0.28):
        shape.box((x, 0, h / 2), (0.04, d + 0.012, h + 0.012), strap)
        shape.box((x, -d / 2 - 0.008, h * 0.75), (0.055, 0.014, 0.05), metal)
    for x in (-1, 1):
        for z in (0.025, h - 0.025):
            shape.rounded_box((x * (w / 2 - 0.025), 0, z), (0.06, d + 0.008, 0.06), 0.02, strap, 4)
    turn = np.linspace(0, np.pi, 7)
    shape.tube(np.stack([0.07 * np.cos(turn), 0 * turn, h + 0.04 * np.sin(turn)], 1), 0.012, strap)
    return body.words


def make_suitcase(rng: Rng, variant: str) -> Item:
    """Draw an upright suitcase on wheels, ribbed hard shell or soft, its handle out or in; or an old flat trunk."""
    shape, metal = Shape(), draw_metal(rng).material
    if variant == "trunk":
        words = _trunk(shape, rng)
        return item("suitcase", shape.grounded(), words)
    hard = variant == "hard"
    body = draw_lacquer(rng) if hard else draw_fabric(rng, 0.2)
    w, d, h = float(rng.uniform(0.34, 0.5)), float(rng.uniform(0.2, 0.3)), float(rng.uniform(0.48, 0.7))
    ribs = striped(body.material, plain(body.colour * 0.72, 0.02), 0, 0.05, 0.75) if hard else body.material
    shape.rounded_box((0, 0, 0.05 + h / 2), (w, d, h), 0.05, ribs, 8)
    black = plain((0.08, 0.08, 0.08), 0.02)
    shape.box((0, 0, 0.05 + h / 2), (w + 0.004, 0.012, h + 0.004), black)
    if not hard:
        shape.rounded_box((0, -d / 2, 0.05 + h * 0.4), (w * 0.78, 0.06, h * 0.5), 0.02, body.material)
    for x in (-w / 2 + 0.05, w / 2 - 0.05):
        for y in (-d / 2 + 0.05, d / 2 - 0.05):
            shape.cylinder((x - 0.015, y, 0.03), 0.03, 0.03, black, R=_LYING, sides=10)
    top, x = 0.05 + h + (float(rng.uniform(0.2, 0.4)) if rng.random() < 0.6 else 0.04), w * 0.25
    y = d / 2 - 0.05
    shape.tube([(-x, y, h), (-x, y, top), (x, y, top), (x, y, h)], 0.011, metal, 6)
    return item("suitcase", shape.grounded(), body.words)


KINDS = (
    Kind("backpack", make_backpack, ("school", "roll-top", "hiking"), Placement.FLOOR),
    Kind("suitcase", make_suitcase, ("hard", "soft", "trunk"), Placement.FLOOR),
)
