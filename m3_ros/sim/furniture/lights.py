"""Floor lamps and ceiling lights."""

from dataclasses import replace

import numpy as np

from m3_ros.sim.finishes import Finish, draw_finish, draw_metal, pick
from m3_ros.sim.items import Item, Kind, Placement, item
from m3_ros.sim.materials import plain
from m3_ros.sim.patches import Material, Shape

Rng = np.random.Generator
_GLOW = 1.4  # a shade, as a multiple of its albedo
_LIGHT = 9.0


def _shade(shape: Shape, m: Material, z: float, profile: tuple[float, float, float]) -> None:
    """An open cone or drum at a height z: radius below, radius above, height [m]; seen from inside too."""
    low, high, h = profile
    shape.lathe((0, 0, z), [(low, 0), (high, h)], m, 24, emission=_GLOW)
    shape.lathe((0, 0, z), [(high - 0.004, h), (low - 0.004, 0)], m, 24, emission=_GLOW)


def _stem(shape: Shape, finish: Finish, height: float, tripod: bool) -> None:
    m = finish.along(2)
    if not tripod:
        shape.lathe((0, 0, 0), [(0.15, 0), (0.15, 0.02), (0.02, 0.035), (0, 0.035)], m)
        shape.cylinder((0, 0, 0.03), 0.014, height - 0.03, m, sides=10)
        return
    for a in np.arange(3) * 2 * np.pi / 3 + 0.3:
        shape.tube(
            [(0.26 * np.cos(a), 0.26 * np.sin(a), 0), (0.03 * np.cos(a), 0.03 * np.sin(a), height - 0.05)], 0.014, m
        )
    shape.cylinder((0, 0, height - 0.09), 0.045, 0.06, m, sides=10)


def make_lamp(rng: Rng, variant: str) -> Item:
    """Draw a floor lamp: a shade on a stem or tripod, a globe, a bent reading lamp, or a wide arc."""
    shape = Shape()
    finish = draw_metal(rng) if rng.random() < 0.6 else draw_finish(rng)
    tone = pick(
        rng, ((0.98, 0.90, 0.70), (0.97, 0.95, 0.88), (0.95, 0.72, 0.42), (0.75, 0.85, 0.92), (0.93, 0.62, 0.6))
    )
    m, height = plain(tone, 0.03), float(rng.uniform(1.15, 1.5))
    x, middle = 0.0, height
    if variant == "globe":
        r = float(rng.uniform(0.13, 0.18))
        _stem(shape, finish, height, False)
        shape.ellipsoid((0, 0, height + r * 0.9), (r, r, r), m, emission=_GLOW)
        middle = height + r
    elif variant in ("reading", "arc"):
        reach = 0.2 if variant == "reading" else float(rng.uniform(0.35, 0.5))
        bend = np.linspace(0, np.pi * 0.75, 9)
        shape.lathe((0, 0, 0), [(0.15, 0), (0.15, 0.02), (0.02, 0.035), (0, 0.035)], finish.along(2))
        arc = np.stack([reach * (1 - np.cos(bend)), 0 * bend, height + 0.2 * np.sin(bend)], 1)
        shape.tube([(0, 0, 0.03), (0, 0, height / 2), *arc], 0.013, finish.along(2))
        x, middle = float(arc[-1, 0]), float(arc[-1, 2]) - 0.12
        head = Shape()
        _shade(head, m, 0, (float(rng.uniform(0.13, 0.17)), 0.05 if variant == "reading" else 0.12, 0.17))
        shape.join(head, at=(x, 0, middle - 0.03))
    else:
        _stem(shape, finish, height, variant == "tripod")
        high = float(rng.uniform(0.22, 0.34))
        low = float(rng.uniform(0.17, 0.24))
        _shade(shape, m, height - 0.03, (low, low if rng.random() < 0.4 else low * 0.62, high))
        middle = height + high / 2
    lamp = item("lamp", shape, finish.words)
    middle_x = float(lamp.bounds[0][0] + lamp.bounds[1][0]) / 2
    lamp = item("lamp", shape.grounded(), finish.words)
    return replace(lamp, lamp=(x - middle_x, 0.0, middle))


def make_ceiling_light(rng: Rng, variant: str) -> Item:
    """Draw a ceiling light: a panel, a dome or a pendant; the ceiling is z = 0."""
    shape, glow = Shape(), plain((1, 1, 0.97), 0)
    if variant == "panel":
        shape.box((0, 0, -0.02), (0.9, 0.6, 0.04), glow, skip=("z+",), texel_scale=0.5, emission=_LIGHT)
        drop = 0.06
    elif variant == "dome":
        r = float(rng.uniform(0.2, 0.3))
        shape.lathe(
            (0, 0, 0), [(0, -0.1), (r * 0.7, -0.085), (r, -0.03), (r, 0)], glow, 24, texel_scale=0.5, emission=_LIGHT
        )
        drop = 0.14
    else:
        drop, metal = float(rng.uniform(0.35, 0.55)), draw_metal(rng).material
        shape.cylinder((0, 0, -0.025), 0.05, 0.025, metal).cylinder((0, 0, -drop), 0.006, drop, metal, sides=6)
        shape.ellipsoid((0, 0, -drop), (0.14, 0.14, 0.12), glow, emission=_LIGHT)
        drop += 0.16
    return replace(item("ceiling light", shape), lamp=(0.0, 0.0, -drop))


KINDS = (
    Kind("lamp", make_lamp, ("stem", "tripod", "globe", "reading", "arc"), Placement.FLOOR),
    Kind("ceiling light", make_ceiling_light, ("panel", "dome", "pendant"), Placement.CEILING),
)
