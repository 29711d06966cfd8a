"""Kitchen and laundry machines: refrigerators, washing machines, microwave ovens."""

import numpy as np

from m3_ros.sim.finishes import Finish, draw_lacquer, draw_metal, pick
from m3_ros.sim.items import Item, Kind, Placement, Support, item
from m3_ros.sim.materials import plain
from m3_ros.sim.patches import Shape, rotate_x

Rng = np.random.Generator
_FORWARD = rotate_x(np.pi / 2)  # turns z to -y: discs and rings that face the room
_COATS = ("white", "white", "white", "grey", "grey", "black", "beige")


def _coat(rng: Rng, any_colour: float = 0.25) -> Finish:
    """Draw white, steel or black enamel, with a probability any colour."""
    return draw_lacquer(rng) if rng.random() < any_colour else draw_lacquer(rng, _COATS)


def make_refrigerator(rng: Rng, variant: str) -> Item:
    """Draw a refrigerator: one door over another, two side by side, or a round-shouldered old one."""
    shape, coat, metal = Shape(), _coat(rng, 0.3 if variant == "old" else 0.1), draw_metal(rng).material
    w, d, h = float(rng.uniform(0.56, 0.68)), float(rng.uniform(0.56, 0.66)), float(rng.uniform(1.35, 1.85))
    if variant == "side by side":
        w, h = float(rng.uniform(0.85, 0.95)), float(rng.uniform(1.7, 1.85))
    m, seam = coat.material, plain(coat.colour * 0.3, 0.02)
    if variant == "old":
        shape.rounded_box((0, -d / 2, h / 2 + 0.05), (w, d, h - 0.1), 0.14, m, 8)
        shape.box((0, -d + 0.02, 0.05), (w * 0.85, 0.04, 0.1), metal)
        shape.box((0, -d - 0.004, h * 0.72), (w * 0.9, 0.01, 0.012), seam)
        for z in (h * 0.62, h * 0.82):
            shape.rounded_box((w * 0.36, -d - 0.03, z), (0.035, 0.05, 0.14), 0.015, metal, 4)
        shape.box((-w * 0.2, -d - 0.006, h * 0.85), (w * 0.3, 0.012, 0.04), metal)
    else:
        shape.box((0, -d / 2 + 0.02, h / 2 + 0.02), (w, d - 0.04, h - 0.04), m)
        shape.box((0, -d + 0.035, h / 2 + 0.02), (w - 0.02, 0.01, h - 0.04), seam)
        split = h * float(pick(rng, (0.3, 0.68)))
        doors = (
            [(-w / 4, h / 2 + 0.02, w / 2, h - 0.04), (w / 4, h / 2 + 0.02, w / 2, h - 0.04)]
            if variant == "side by side"
            else [(0.0, (0.04 + split) / 2, w, split - 0.04), (0.0, (split + h) / 2, w, h - split)]
        )
        for x, z, wide, tall in doors:
            shape.rounded_box((x, -d, z), (wide - 0.012, 0.055, tall - 0.014), 0.012, m, 4)
        if variant == "side by side":
            for x in (-0.05, 0.05):
                shape.box((x, -d - 0.05, h * 0.55), (0.022, 0.03, 0.7), metal)
            shape.box((-w / 4, -d - 0.03, h * 0.62), (w * 0.22, 0.012, 0.26), plain((0.1, 0.1, 0.11), 0.02))
        else:
            for x, z, _, tall in doors:
                shape.box((x + w * 0.4, -d - 0.05, z + 0.1 * tall), (0.022, 0.03, tall * 0.45), metal)
    return item("refrigerator", shape.backed(), coat.words)


def _porthole(shape: Shape, rng: Rng, y: float, z: float, radius: float) -> None:
    """A round glass door in a ring, facing the room [m]."""
    ring, glass = draw_metal(rng).material, plain((0.16, 0.19, 0.23), 0.15, 0.05)
    r = radius
    shape.lathe((0, y, z), [(r, 0), (r, 0.03), (r * 0.82, 0.045), (r * 0.72, 0.02)], ring, 28, R=_FORWARD)
    shape.lathe((0, y, z), [(r * 0.74, 0.015), (r * 0.4, 0.05), (0, 0.06)], glass, 24, R=_FORWARD)
    shape.box((r * 0.9, y - 0.045, z), (0.04, 0.02, 0.1), ring)


def make_washing_machine(rng: Rng, variant: str) -> Item:
    """Draw a washing machine with a round glass door in front, or one that is loaded from above."""
    shape, coat = Shape(), _coat(rng, 0.1)
    w, d, h = 0.6, float(rng.uniform(0.5, 0.6)), 0.85
    m, dark, metal = coat.material, plain((0.1, 0.1, 0.12), 0.02), draw_metal(rng).material
    if variant == "top":
        w, h = float(rng.uniform(0.45, 0.6)), 0.9
    shape.rounded_box((0, -d / 2, h / 2), (w, d, h), 0.02, m, 4)
    if variant == "top":
        shape.rounded_box((0, -d * 0.58, h + 0.012), (w * 0.92, d * 0.7, 0.03), 0.012, plain(coat.colour * 0.85), 4)
        shape.rounded_box((0, -0.06, h + 0.07), (w, 0.12, 0.14), 0.02, m, 4)
        for x in (-0.15, 0.0):
            shape.cylinder((x, -0.12, h + 0.08), 0.03, 0.025, metal, R=_FORWARD, sides=14)
        shape.box((0.15, -0.123, h + 0.08), (0.12, 0.008, 0.05), dark)
    else:
        _porthole(shape, rng, -d - 0.002, h * 0.47, float(rng.uniform(0.17, 0.21)))
        shape.box(
            (0, -d - 0.004, h - 0.065), (w * 0.97, 0.01, 0.11), plain(coat.colour * float(rng.uniform(0.6, 1)), 0.02)
        )
        shape.box((-w * 0.3, -d - 0.012, h - 0.065), (w * 0.3, 0.012, 0.075), m)
        shape.cylinder((0.04, -d - 0.006, h - 0.065), 0.035, 0.03, metal, R=_FORWARD, sides=16)
        shape.box((w * 0.3, -d - 0.01, h - 0.065), (0.14, 0.01, 0.045), dark)
        shape.box((0, -d - 0.003, 0.06), (w * 0.9, 0.008, 0.008), dark)
    return item("washing machine", shape.backed(), coat.words, Support(h, w / 2 - 0.1, d / 2 - 0.15, -d / 2 - 0.05))


def make_microwave(rng: Rng, variant: str) -> Item:
    """Draw a microwave oven: a box with a dark window and a panel of keys, or a rounded one with two dials."""
    shape, coat = Shape(), _coat(rng, 0.3)
    w, d, h = float(rng.uniform(0.44, 0.52)), float(rng.uniform(0.32, 0.38)), float(rng.uniform(0.26, 0.31))
    m, glass, metal = coat.material, plain((0.1, 0.11, 0.13), 0.1, 0.02), draw_metal(rng).material
    shape.rounded_box((0, 0, h / 2 + 0.012), (w, d, h), 0.05 if variant == "dials" else 0.012, m, 5)
    for x in (-w * 0.4, w * 0.4):
        shape.box((x, 0, 0.01), (0.03, d * 0.7, 0.02), glass)
    y = -d / 2 - 0.004
    shape.rounded_box((-w * 0.13, y, h / 2 + 0.012), (w * 0.62, 0.012, h * 0.74), 0.005, glass, 3)
    shape.tube([(w * 0.215, y - 0.03, h * 0.22), (w * 0.215, y - 0.03, h * 0.85)], 0.008, metal, 6)
    if variant == "dials":
        for z in (0.33, 0.7):
            shape.cylinder((w * 0.36, y + 0.004, h * z + 0.012), 0.035, 0.03, metal, R=_FORWARD, sides=16)
    else:
        shape.box((w * 0.36, y, h * 0.82), (w * 0.18, 0.008, h * 0.12), plain((0.2, 0.6, 0.4), 0.02))
        key = plain(np.clip(coat.colour * 0.6 + 0.15, 0, 1), 0.02)
        for row in range(4):
            for column in range(3):
                at = (w * (0.305 + 0.055 * column), y, h * (0.18 + 0.14 * row))
                shape.box(at, (w * 0.042, 0.008, h * 0.085), key, skip=("y+",))
    return item("microwave", shape.grounded(), coat.words)


KINDS = (
    Kind("refrigerator", make_refrigerator, ("two doors", "side by side", "old"), Placement.AGAINST_WALL),
    Kind("washing machine", make_washing_machine, ("front", "front", "top"), Placement.AGAINST_WALL),
    Kind(
        "microwave",
        make_microwave,
        ("keys", "dials"),
        Placement.ON_SURFACE,
        surfaces=("table", "dresser", "washing machine"),
    ),
)
