"""Chairs and stools."""

import numpy as np

from m3_ros.sim.finishes import Finish, around, draw_fabric, draw_finish, draw_metal, pick
from m3_ros.sim.items import Item, Kind, Placement, item
from m3_ros.sim.patches import Shape, rotate_x

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


def make_chair(rng: Rng) -> Item:
    """Draw a chair: slatted, spindle-backed, padded or cantilevered."""
    shape, finish, back = Shape(), draw_finish(rng, 0.55), float(rng.uniform(0.82, 1.0))
    words = finish.words
    variant = int(rng.integers(4))
    if variant == 0:
        _slat_chair(shape, finish, back)
    elif variant == 1:
        _spindle_chair(shape, finish, back)
    elif variant == 2:
        cloth = draw_fabric(rng, 0.3)
        _padded_chair(shape, finish, cloth, back)
        words = cloth.words
    else:
        _cantilever_chair(shape, draw_metal(rng), finish, back)
    wide = around(rng, 1.02, 0.12)
    shape.stretched(wide, around(rng, wide, 0.06), around(rng, 1, 0.06))
    return item("chair", shape.grounded(), words)


def make_stool(rng: Rng) -> Item:
    """Draw a stool: a round or square seat on three or four legs, low or at bar height."""
    shape, seat, legs = Shape(), draw_finish(rng), draw_finish(rng) if rng.random() < 0.5 else draw_metal(rng)
    height, r = float(pick(rng, (0.45, 0.48, 0.68))) * float(rng.uniform(0.95, 1.05)), float(rng.uniform(0.15, 0.2))
    if rng.random() < 0.3:
        seat = draw_fabric(rng)
    thick = float(rng.uniform(0.03, 0.08))
    if rng.random() < 0.65:
        shape.lathe(
            (0, 0, height - thick),
            [(0, 0), (r, 0), (r, thick * 0.8), (r - 0.015, thick), (0, thick)],
            seat.along(0),
            24,
        )
    else:
        shape.rounded_box((0, 0, height - thick / 2), (2 * r, 1.8 * r, thick), 0.02, seat.along(0))
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


KINDS = (Kind("chair", make_chair, Placement.FLOOR), Kind("stool", make_stool, Placement.FLOOR))
