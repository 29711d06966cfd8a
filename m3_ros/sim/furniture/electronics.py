"""Televisions and laptops."""

import numpy as np

from m3_ros.sim.finishes import draw_lacquer
from m3_ros.sim.items import Item, Kind, Placement, item
from m3_ros.sim.materials import image, plain
from m3_ros.sim.patches import Shape, rotate_x
from m3_ros.sim.pictures import ink, keyboard, screen

Rng = np.random.Generator


def make_tv(rng: Rng) -> Item:
    """Draw a flat television on a foot or two."""
    shape, body = Shape(), draw_lacquer(rng, ("black", "black", "grey", "white"))
    w = float(rng.uniform(0.8, 1.15))
    h, rim, z0 = w * float(rng.uniform(0.55, 0.6)), float(rng.uniform(0.012, 0.035)), float(rng.uniform(0.05, 0.1))
    m, middle = body.material, z0 + h / 2
    shape.rounded_box((0, 0, middle), (w, 0.05, h), 0.012, m, 3)
    x, low, high, y = w / 2 - rim, z0 + rim * 1.4, z0 + h - rim, -0.0265
    shape.quad([(-x, y, low), (x, y, low), (x, y, high), (-x, y, high)], image(screen(rng)), emission=0.8)
    if rng.random() < 0.5:
        shape.box((0, 0.01, z0 / 2), (0.1, 0.04, z0 + 0.02), m).rounded_box(
            (0, 0, 0.008), (0.4, 0.2, 0.016), 0.006, m, 3
        )
    else:
        for side in (-0.33 * w, 0.33 * w):
            shape.tube([(side, -0.1, 0.008), (side, 0, z0 + 0.03), (side, 0.1, 0.008)], 0.009, m, 6)
    return item("tv", shape.grounded(), body.words)


def make_laptop(rng: Rng) -> Item:
    """Draw an open laptop; its user sits at -y."""
    shape, body = Shape(), draw_lacquer(rng, ("grey", "grey", "black", "white", "blue", "red"))
    w, m = float(rng.uniform(0.31, 0.38)), body.material
    d = w * float(rng.uniform(0.66, 0.72))
    shape.rounded_box((0, 0, 0.009), (w, d, 0.018), 0.006, m, 3)
    x, y, z = w / 2 - 0.008, d / 2 - 0.012, 0.0186
    shape.quad([(-x, -y, z), (x, -y, z), (x, y, z), (-x, y, z)], image(keyboard(ink(body.colour))), texel_scale=1.5)
    lean, hinge = rotate_x(-float(rng.uniform(0.15, 0.5))), np.array([0, d / 2 - 0.005, 0.018])
    high = d * 0.95
    shape.box(hinge + lean @ np.array([0, 0, high / 2]), (w, 0.01, high), m, R=lean)
    corners = [(-x, -0.0055, 0.012), (x, -0.0055, 0.012), (x, -0.0055, high - 0.01), (-x, -0.0055, high - 0.01)]
    shape.quad(
        [hinge + lean @ np.array(c) for c in corners], image(screen(rng, (140, 90))), texel_scale=1.5, emission=0.7
    )
    shape.ellipsoid(
        hinge + lean @ np.array([0, 0.005, high / 2]), (0.018, 0.002, 0.018), plain((0.9, 0.9, 0.9), 0), (10, 6), R=lean
    )
    return item("laptop", shape.grounded(), body.words)


_TOPS = ("table", "coffee table")
KINDS = (
    Kind("tv", make_tv, Placement.ON_SURFACE, surfaces=("tv stand",)),
    Kind("laptop", make_laptop, Placement.ON_SURFACE, surfaces=_TOPS),
)
