"""Bottles and books."""

import numpy as np

from m3_ros.sim.finishes import around, draw_colour, draw_lacquer, pick
from m3_ros.sim.items import Item, Kind, Placement, item
from m3_ros.sim.materials import banded, plain
from m3_ros.sim.noise import Points
from m3_ros.sim.patches import RGB, UV, Material, Shape, rotate_y, rotate_z

Rng = np.random.Generator
_TOPS = ("table", "coffee table", "dresser")


def make_bottle(rng: Rng, variant: str) -> Item:
    """Draw a bottle: of wine, of water, or a wide one with a spray head."""
    shape, (name, c) = (
        Shape(),
        draw_colour(rng, ("green", "brown", "black", "white", "blue", "turquoise", "red", "yellow")),
    )
    glass, label = plain(c, 0.03), plain(draw_colour(rng)[1], 0.05)
    r, h = float(rng.uniform(0.036, 0.046)), float(rng.uniform(0.26, 0.34))
    low = float(rng.uniform(0.12, 0.25))
    if variant == "wine":
        profile = [(0, 0), (r, 0.003), (r, h * 0.58), (r * 0.8, h * 0.68), (r * 0.36, h * 0.76), (r * 0.34, h), (0, h)]
    elif variant == "water":
        profile = [(0, 0), (r, 0.003), (r * 0.92, h * 0.3), (r, h * 0.36), (r, h * 0.7), (r * 0.45, h * 0.88)]
        profile += [(r * 0.45, h), (0, h)]
    else:
        r *= 1.1
        profile = [
            (0, 0),
            (r, 0.003),
            (r, h * 0.45),
            (r * 0.5, h * 0.62),
            (r * 0.32, h * 0.7),
            (r * 0.32, h * 0.8),
            (0, h * 0.8),
        ]
    shape.lathe((0, 0, 0), profile, banded([low, low + 0.24], [glass, label, glass]), 20, cells=14, texel_scale=1.5)
    cap = plain(draw_colour(rng)[1], 0.03)
    if variant == "spray":
        shape.rounded_box((0, -0.02, h * 0.88), (0.035, 0.09, 0.045), 0.012, cap, 4)
        shape.tube([(0, -0.05, h * 0.84), (0, -0.055, h * 0.72)], 0.007, cap, 5)
    else:
        wide = r * (0.4 if variant == "wine" else 0.52)
        shape.cylinder((0, 0, h - 0.03), wide, 0.04, cap, sides=14)
    k = float(rng.uniform(1.0, 1.2))
    return item("bottle", shape.stretched(k, k, k).grounded(), (name,))


def _lines(seed: int) -> Material:
    """A page of print: grey lines on cream, some shorter."""

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        row = np.floor(uv[..., 1] * 14)
        short = 0.55 + 0.4 * ((row * 7 + seed) % 5) / 4
        u, v = uv[..., 0], uv[..., 1]
        inked = ((uv[..., 1] * 14) % 1 < 0.45) & (u > 0.1) & (u < short) & (v > 0.06) & (v < 0.94)
        tone = np.where(inked, np.float32(0.45), np.float32(0.9))[..., None]
        return np.asarray(tone * np.array([1, 0.98, 0.93], np.float32), np.float32)

    return material


def _volume(shape: Shape, rng: Rng, z: float, size: tuple[float, float, float]) -> tuple[str, ...]:
    """A closed book lying at a height [m], its spine to -y; returns its colour."""
    w, d, thick = size
    cover, paper, one = draw_lacquer(rng), plain((0.9, 0.87, 0.8), 0.05), Shape()
    one.box((0, 0.004, thick / 2), (w - 0.008, d - 0.008, thick - 0.008), paper)
    for level in (0.002, thick - 0.002):
        one.box((0, 0, level), (w, d, 0.004), cover.material)
    band = plain(np.clip(1 - cover.colour, 0.1, 0.9), 0.02)
    one.box((0, -d / 2, thick / 2), (w, 0.006, thick), cover.material)
    one.box((w * 0.1, -d / 2 - 0.002, thick / 2), (w * 0.45, 0.006, thick * 0.5), band)
    one.box((0, 0, thick), (w * 0.6, d * 0.3, 0.002), band, skip=("z-",))
    shape.join(one, rotate_z(float(rng.normal(0, 0.15))), (0, 0, z))
    return cover.words


def make_book(rng: Rng, variant: str) -> Item:
    """Draw books: a stack of closed ones, one lying open, or a few standing between two ends."""
    shape = Shape()
    w, d = float(rng.uniform(0.22, 0.29)), float(rng.uniform(0.16, 0.21))
    words: tuple[str, ...] = ()
    if variant == "stack":
        z = 0.0
        for _ in range(int(rng.integers(2, 6))):
            thick = float(rng.uniform(0.025, 0.05))
            words = _volume(shape, rng, z, (around(rng, w, 0.1), around(rng, d, 0.1), thick))
            z += thick
        return item("book", shape.grounded(), words)
    if variant == "open":
        cover = draw_lacquer(rng)
        t = np.linspace(0, 1, 7)
        for side in (-1, 1):
            rise = 0.012 + 0.028 * np.sin(np.pi * t**0.6)
            x = side * d * t
            rows = [np.stack([x, np.full(7, y), rise], 1) for y in (-w / 2, w / 2)]
            grid = np.array(rows) if side > 0 else np.array(rows)[:, ::-1]
            shape.add(grid, _lines(int(rng.integers(50))), texel_scale=2)
            edge = np.array([np.stack([x, np.full(7, -w / 2), np.full(7, 0.006)], 1), rows[0]])
            shape.add(edge if side > 0 else edge[:, ::-1], plain((0.86, 0.83, 0.75), 0.05))
            shape.box((side * d / 2, 0, 0.004), (d + 0.01, w + 0.012, 0.008), cover.material)
        return item("book", shape.grounded(), ("open", *cover.words))
    right = 0.0
    for _ in range(int(rng.integers(4, 8))):
        thick, tall, cover = float(rng.uniform(0.022, 0.045)), float(rng.uniform(0.2, 0.28)), draw_lacquer(rng)
        lean = rotate_y(float(rng.uniform(0, 0.12)) if rng.random() < 0.3 else 0.0)
        shape.box((right + thick / 2, 0, tall / 2), (thick * 0.94, d, tall), cover.material, R=lean)
        band = plain(np.clip(1 - cover.colour, 0.1, 0.9), 0.02)
        shape.box((right + thick / 2, -d / 2 - 0.002, tall * 0.6), (thick * 0.7, 0.006, tall * 0.35), band, R=lean)
        right += thick + 0.003
    end = plain(pick(rng, ((0.1, 0.1, 0.1), (0.8, 0.8, 0.8), (0.5, 0.3, 0.15))), 0.03)
    for at in (-0.012, right + 0.012):
        shape.rounded_box((at, 0, 0.08), (0.014, d * 0.7, 0.16), 0.005, end, 3)
    return item("book", shape.grounded(), ())


KINDS = (
    Kind("bottle", make_bottle, ("wine", "water", "spray"), Placement.ON_SURFACE, surfaces=_TOPS),
    Kind("book", make_book, ("stack", "stack", "open", "row"), Placement.ON_SURFACE, surfaces=_TOPS),
)
