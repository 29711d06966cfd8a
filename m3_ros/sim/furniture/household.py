"""Umbrellas, fans and ladders."""

import numpy as np
from numpy.typing import NDArray

from m3_ros.sim.finishes import Finish, draw_fabric, draw_finish, draw_lacquer, draw_metal
from m3_ros.sim.items import Item, Kind, Placement, item
from m3_ros.sim.materials import plain
from m3_ros.sim.noise import Points
from m3_ros.sim.patches import RGB, UV, Material, Shape, rotate_x, rotate_y, rotate_z

Rng = np.random.Generator


def _hook(shape: Shape, m: Material, z: float) -> None:
    """A bent handle that ends a stick at a height [m], upwards."""
    turn = np.linspace(0, np.pi, 8)
    bow = np.stack([0.045 * (1 - np.cos(turn)), 0 * turn, z + 0.12 + 0.045 * np.sin(turn)], 1)
    shape.tube([(0, 0, z), (0, 0, z + 0.06), *bow, (0.09, 0, z + 0.08)], 0.011, m)


def _gores(cloth: Material, second: NDArray[np.float32]) -> Material:
    """Every other of eight sectors in a second colour, with dark seams."""

    def material(p: Points, uv: UV, n: Points) -> RGB:
        sector = uv[..., 0:1] * 8
        colour = np.where(np.floor(sector) % 2 > 0, second.astype(np.float32), cloth(p, uv, n))
        return np.where(np.abs(sector - np.round(sector)) < 0.05, colour * np.float32(0.45), colour)

    return material


def _canopy(shape: Shape, cloth: Finish, radius: float) -> None:
    """Eight bent gores over ribs, open downwards, the tip at z = 0; seen from below too."""
    t, turn = np.linspace(0.02, 1, 7)[:, None], np.linspace(0, 2 * np.pi, 33)[None]
    sag = 1 - 0.06 * np.sin(4 * turn) ** 2 * t
    x, y = radius * t * sag * np.cos(turn), radius * t * sag * np.sin(turn)
    z = -0.36 * radius * t**2 + 0 * turn
    grid = np.stack([x, y, z], -1)[::-1]
    gores = _gores(cloth.along(2), np.clip(cloth.colour * (0.72 if cloth.colour.mean() > 0.3 else 1.6) + 0.03, 0, 1))
    shape.add(grid, gores).add((grid - np.array([0, 0, 0.004]))[:, ::-1], plain(cloth.colour * 0.7, 0.05))
    for a in np.arange(8) * np.pi / 4:
        rib = [(k * radius * np.cos(a), k * radius * np.sin(a), -0.36 * radius * k * k - 0.008) for k in (0.02, 0.5, 1)]
        shape.tube(rib, 0.005, plain((0.3, 0.3, 0.32), 0.02), 4)


def make_umbrella(rng: Rng, variant: str) -> Item:
    """Draw an umbrella: open, lying on its rim to dry, or one or two closed ones in a stand."""
    shape, cloth, metal = Shape(), draw_fabric(rng, 0.4), draw_metal(rng).material
    if variant == "open":
        r = float(rng.uniform(0.4, 0.52))
        one = Shape()
        _canopy(one, cloth, r)
        one.cylinder((0, 0, -0.62), 0.008, 0.68, metal, sides=8)
        grip = Shape()
        _hook(grip, draw_finish(rng, 0.6).along(2), 0)
        one.join(grip, rotate_x(np.pi), (0, 0, -0.6))
        shape.join(one, rotate_z(float(rng.uniform(0, 6.28))) @ rotate_y(float(rng.uniform(0.95, 1.15))))
        return item("umbrella", shape.grounded(), cloth.words)
    stand, tall = draw_lacquer(rng), float(rng.uniform(0.42, 0.52))
    profile = [(0.1, 0), (0.11, tall), (0.115, tall), (0.105, tall), (0.09, 0.02), (0, 0.02)]
    shape.lathe((0, 0, 0), profile, stand.material, 20, cells=10)
    for k in range(int(rng.integers(1, 3))):
        cover = cloth if k == 0 else draw_fabric(rng, 0.3)
        one = Shape()
        one.lathe((0, 0, 0.06), [(0.008, 0), (0.03, 0.15), (0.042, 0.5), (0.02, 0.6), (0, 0.61)], cover.along(2), 8)
        _hook(one, draw_finish(rng, 0.6).along(2), 0.66)
        shape.join(one, rotate_z(2.5 * k) @ rotate_y(0.1), (0.03 - 0.06 * k, 0.02 * k, 0.01))
    return item("umbrella", shape.grounded(), cloth.words)


def _blades(shape: Shape, body: Finish, metal: Material, radius: float) -> None:
    """A cage of wires around blades, its middle at the origin, facing -y [m]."""
    turn = np.linspace(0, 2 * np.pi, 25)
    for y, k in ((-0.06, 0.35), (-0.06, 0.7), (0.0, 1.0), (0.05, 0.6)):
        ring = np.stack([k * radius * np.cos(turn), np.full(25, y), k * radius * np.sin(turn)], 1)
        shape.tube(ring, 0.009 if k == 1.0 else 0.004, metal, 5)
    for a in np.arange(12) * np.pi / 6:
        c, s = np.cos(a) * radius, np.sin(a) * radius
        shape.tube([(0.1 * c, -0.065, 0.1 * s), (0.75 * c, -0.06, 0.75 * s), (c, 0, s)], 0.0035, metal, 4)
    for k in range(3):
        blade = Shape().rounded_box(
            (0.5 * radius, -0.01, 0), (0.75 * radius, 0.012, 0.5 * radius), 0.006, body.material, 4
        )
        shape.join(blade, rotate_y(2 * np.pi * k / 3) @ rotate_x(0.3))
    shape.cylinder((0, -0.07, 0), 0.2 * radius, 0.03, body.material, R=rotate_x(np.pi / 2), sides=14)
    shape.ellipsoid((0, 0.09, 0), (0.07, 0.09, 0.07), body.material, (12, 8))


def make_fan(rng: Rng, variant: str) -> Item:
    """Draw an electric fan: blades in a cage on a tall stand or low on the floor."""
    shape, body, metal = Shape(), draw_lacquer(rng), draw_metal(rng).material
    r = float(rng.uniform(0.19, 0.24))
    high = float(rng.uniform(0.95, 1.25)) if variant == "stand" else r + 0.1
    head = Shape()
    _blades(head, body, metal, r)
    shape.join(head, rotate_x(float(rng.uniform(-0.25, 0.1))), (0, 0, high))
    if variant == "stand":
        shape.lathe(
            (0, 0.08, 0), [(0.2, 0), (0.2, 0.02), (0.04, 0.05), (0.018, 0.08), (0.018, high - 0.03)], body.material
        )
    else:
        for x in (-r * 0.8, r * 0.8):
            shape.tube([(x, -0.13, 0.012), (x, 0.16, 0.012)], 0.014, body.material, 6)
            shape.tube([(x, 0.06, 0.012), (x * 1.3, 0.03, high)], 0.012, body.material, 6)
    return item("fan", shape.grounded(), body.words)


def make_ladder(rng: Rng, variant: str) -> Item:
    """Draw a folding ladder: tall with narrow steps, or a low one with two broad steps and a rail."""
    shape, frame = Shape(), draw_metal(rng) if rng.random() < 0.5 else draw_finish(rng, 0.6)
    steps = int(rng.integers(4, 7)) if variant == "tall" else 2
    rise, w = float(rng.uniform(0.22, 0.26)), float(rng.uniform(0.38, 0.48))
    h, slope = steps * rise + 0.06, 0.33
    tread = draw_lacquer(rng) if rng.random() < 0.4 else frame
    for x in (-w / 2, w / 2):
        foot, top = -slope * h, 0.0
        rail = h + (0.35 if variant == "low" else 0.02)
        shape.tube([(x * 1.15, foot, 0), (x, top, h), (x, top + 0.02, rail)], 0.018, frame.along(2), 6)
        shape.tube([(x * 1.1, slope * h * 0.8, 0), (x * 0.95, 0.03, h)], 0.014, frame.along(2), 6)
    if variant == "low":
        shape.tube([(-w / 2, 0.02, h + 0.35), (w / 2, 0.02, h + 0.35)], 0.018, frame.along(0), 6)
    for k in range(steps):
        z = (k + 1) * rise
        y = -slope * (h - z)
        deep = 0.2 if variant == "low" else 0.09
        shape.rounded_box((0, y + deep * 0.2, z), (w * 1.05, deep, 0.03), 0.008, tread.along(0), 3)
    shape.tube([(-w / 2, slope * h * 0.4, h * 0.45), (w / 2, slope * h * 0.4, h * 0.45)], 0.01, frame.along(0), 5)
    return item("ladder", shape.grounded(), tread.words)


KINDS = (
    Kind("umbrella", make_umbrella, ("open", "closed"), Placement.FLOOR),
    Kind("fan", make_fan, ("stand", "floor"), Placement.FLOOR),
    Kind("ladder", make_ladder, ("tall", "low"), Placement.FLOOR),
)
