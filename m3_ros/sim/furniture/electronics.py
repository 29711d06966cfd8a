"""Televisions, monitors and laptops."""

import numpy as np

from m3_ros.sim.finishes import Finish, draw_finish, draw_lacquer
from m3_ros.sim.items import Item, Kind, Placement, item
from m3_ros.sim.materials import image, plain
from m3_ros.sim.patches import Shape, rotate_x
from m3_ros.sim.pictures import ink, keyboard, screen

Rng = np.random.Generator


def _tube_tv(rng: Rng, body: Finish) -> Item:
    """Draw an old television: a deep case, a bulging screen, knobs, sometimes an aerial."""
    shape, m = Shape(), body.along(0)
    w, d = float(rng.uniform(0.55, 0.78)), float(rng.uniform(0.28, 0.34))
    h, dark = w * float(rng.uniform(0.72, 0.8)), plain((0.08, 0.08, 0.09), 0.03)
    shape.rounded_box((0, 0, h / 2 + 0.02), (w, d, h), 0.03, m, 4)
    shape.rounded_box((0, d / 2, h / 2 + 0.02), (w * 0.7, 0.12, h * 0.7), 0.06, dark, 4)
    t = np.linspace(-1, 1, 9)
    x, z = np.meshgrid(t, t)
    bulge = -d / 2 - 0.004 - 0.025 * (1 - 0.5 * x**2 - 0.5 * z**2)
    wide, high, shift = w * 0.37, h * 0.39, -w * 0.08
    shape.add(
        np.stack([shift + wide * x, bulge, h / 2 + 0.02 + high * z], -1),
        image(screen(rng)),
        texel_scale=1.2,
        emission=0.8,
    )
    for k in range(2):
        knob = (w * 0.39, -d / 2 - 0.02, h * (0.75 - 0.2 * k))
        shape.cylinder(knob, 0.026, 0.03, dark, R=rotate_x(-np.pi / 2), sides=12)
    shape.box((w * 0.39, -d / 2 - 0.003, h * 0.28), (w * 0.12, 0.01, h * 0.28), dark)
    if rng.random() < 0.5:
        for side in (-1, 1):
            shape.tube([(0, 0, h), (side * 0.2, 0, h + 0.3)], 0.005, dark, 5)
    return item("tv", shape.grounded(), body.words[:1])


def make_tv(rng: Rng, variant: str) -> Item:
    """Draw a television: flat, on a foot or two, or a deep old one."""
    if variant == "tube":
        return _tube_tv(rng, draw_finish(rng, 0.4))
    shape, body = Shape(), draw_lacquer(rng, ("black", "black", "grey", "white"))
    w = float(rng.uniform(0.8, 1.15))
    h, rim, z0 = w * float(rng.uniform(0.55, 0.6)), float(rng.uniform(0.012, 0.035)), float(rng.uniform(0.05, 0.1))
    m, middle = body.material, z0 + h / 2
    shape.rounded_box((0, 0, middle), (w, 0.05, h), 0.012, m, 3)
    x, low, high, y = w / 2 - rim, z0 + rim * 1.4, z0 + h - rim, -0.0265
    shape.quad([(-x, y, low), (x, y, low), (x, y, high), (-x, y, high)], image(screen(rng)), emission=0.8)
    if variant == "one foot":
        shape.box((0, 0.01, z0 / 2), (0.1, 0.04, z0 + 0.02), m).rounded_box(
            (0, 0, 0.008), (0.4, 0.2, 0.016), 0.006, m, 3
        )
    else:
        for side in (-0.33 * w, 0.33 * w):
            shape.tube([(side, -0.1, 0.008), (side, 0, z0 + 0.03), (side, 0.1, 0.008)], 0.009, m, 6)
    return item("tv", shape.grounded(), body.words)


def make_monitor(rng: Rng, variant: str) -> Item:
    """Draw a computer's monitor: wide, upright, or an old deep one."""
    shape, body = Shape(), draw_lacquer(rng, ("black", "black", "grey", "white"))
    m, w = body.material, float(rng.uniform(0.46, 0.62))
    h = w * 0.58
    if variant == "upright":
        w, h = h * 1.05, w * 0.95
    z0, lean, deep = float(rng.uniform(0.1, 0.16)), rotate_x(-float(rng.uniform(0, 0.15))), 0.03
    if variant == "tube":
        w, deep, z0 = 0.42, 0.1, 0.06
        h = 0.36
        shape.rounded_box((0, 0.16, z0 + h / 2), (w * 0.75, 0.26, h * 0.75), 0.06, m, 4)
    at = np.array([0, 0, z0 + h / 2])
    shape.rounded_box(at, (w, deep, h), 0.01, m, 3, R=lean)
    x, z, y = w / 2 - 0.015 - deep / 4, h / 2 - 0.015 - deep / 4, -deep / 2 - 0.002
    corners = [(-x, y, -z), (x, y, -z), (x, y, z), (-x, y, z)]
    shape.quad(
        [at + lean @ np.array(c) for c in corners], image(screen(rng, desktop=True)), texel_scale=1.4, emission=0.8
    )
    shape.box((0, 0.035, z0 / 2 + 0.03), (0.06, 0.03, z0 + 0.06), m)
    shape.rounded_box((0, 0.03, 0.008), (0.24, 0.19, 0.016), 0.007, m, 3)
    return item("monitor", shape.grounded(), body.words)


def make_laptop(rng: Rng, variant: str) -> Item:
    """Draw an open laptop, or a slab that leans on its own stand behind a keyboard; its user sits at -y."""
    shape, body = Shape(), draw_lacquer(rng, ("grey", "grey", "black", "white", "blue", "red"))
    w, m = float(rng.uniform(0.31, 0.38)), body.material
    d = w * float(rng.uniform(0.66, 0.72))
    shape.rounded_box((0, 0, 0.009), (w, d, 0.018), 0.006, m, 3)
    x, y, z = w / 2 - 0.008, d / 2 - 0.012, 0.0186
    shape.quad([(-x, -y, z), (x, -y, z), (x, y, z), (-x, y, z)], image(keyboard(ink(body.colour))), texel_scale=1.5)
    lean, hinge = rotate_x(-float(rng.uniform(0.15, 0.5))), np.array([0, d / 2 - 0.005, 0.018])
    high = d * 0.95
    if variant == "detachable":
        hinge[1] -= 0.2 * d
        prop = hinge + lean @ np.array([0, 0.006, 0.6 * high])
        foot = np.array([0, d / 2 + 0.08, 0.002])
        shape.quad(
            [(w * x, *(foot if z < 0 else prop)[1:]) for x, z in ((0.4, -1), (-0.4, -1), (-0.4, 1), (0.4, 1))], m
        )
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
    Kind("tv", make_tv, ("one foot", "two feet", "tube"), Placement.ON_SURFACE, surfaces=("tv stand",)),
    Kind("monitor", make_monitor, ("wide", "upright", "tube"), Placement.ON_SURFACE, surfaces=("table",)),
    Kind("laptop", make_laptop, ("open", "open", "detachable"), Placement.ON_SURFACE, surfaces=_TOPS),
)
