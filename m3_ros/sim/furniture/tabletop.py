"""Small things for tables, shelves and sofas: mugs, vases, rubber ducks, teddy bears."""

import numpy as np

from m3_ros.sim.finishes import Colour, around, draw_colour, pick, seed_of
from m3_ros.sim.items import Item, Kind, Placement, item
from m3_ros.sim.materials import banded, blotched, dotted, fabric, plain, striped
from m3_ros.sim.patches import Grid, Material, Shape, rotate_x, rotate_y, rotate_z

Rng = np.random.Generator
_FRONT = rotate_z(-np.pi / 2)  # animals are built looking along +x; their front is -y
_BLACK = plain((0.03, 0.03, 0.03), 0)


def _glaze(rng: Rng, c: Colour, period: float) -> tuple[Material, tuple[str, ...]]:
    """Return a glaze of one colour, or banded, dotted, striped or mottled."""
    base, other = plain(c, 0.03), draw_colour(rng, ("white", "black", "blue", "beige", "yellow"))[1]
    kind = rng.random()
    if kind < 0.55:
        return base, ()
    if kind < 0.7:
        a = float(rng.uniform(0.25, 0.6))
        return banded([a, a + 0.25], [base, plain(other, 0.03), base]), ()
    if kind < 0.8:
        return dotted(c, other, period), ("dotted",)
    if kind < 0.9:
        return striped(base, plain(other, 0.03), 2, period, 0.6), ("striped",)
    return blotched(c, c * 0.7, period, 0.55, seed_of(rng)), ()


def make_mug(rng: Rng, variant: str) -> Item:
    """Draw a mug, straight, tapered or bellied, or a low cup on a saucer, with a handle; full or empty."""
    shape, (name, c) = Shape(), draw_colour(rng)
    m, words = _glaze(rng, c, float(rng.uniform(0.015, 0.035)))
    r, h = float(rng.uniform(0.036, 0.048)), float(rng.uniform(0.075, 0.125))
    belly, top = (1.0, 1.25) if variant == "cup" else pick(rng, ((1.0, 1.0), (0.95, 1.12), (1.2, 0.98), (0.85, 1.0)))
    h *= 0.7 if variant == "cup" else 1.0
    foot = r * (0.75 if belly < 1 else 0.92)
    outside = [(foot, 0), (r * belly, h * 0.3), (r * belly, h * 0.55), (r * top, h)]
    shape.lathe((0, 0, 0), outside, m, 24, texel_scale=1.4)
    inner, level = r * top - 0.005, h * float(rng.uniform(0.3, 0.85))
    rim = plain(c if rng.random() < 0.5 else (0.93, 0.92, 0.9), 0.02)
    drink = plain(pick(rng, ((0.2, 0.11, 0.05), (0.45, 0.25, 0.1), (0.9, 0.89, 0.86))), 0.02)
    shape.lathe((0, 0, 0), [(r * top, h), (inner, h), (min(inner, r * belly) * 0.92, level)], rim, 24)
    shape.lathe((0, 0, 0), [(min(inner, r * belly) * 0.93, level), (0, level)], drink, 24)
    t = np.linspace(-1.45, 1.45, 9)
    grip, size = h * 0.34, h * float(rng.uniform(0.26, 0.36))
    shape.tube(
        np.stack([r * belly - 0.004 + size * np.cos(t), 0 * t, h * 0.48 + grip * np.sin(t)], 1),
        0.0075,
        rim if rng.random() < 0.3 else m,
    )
    if variant == "cup":
        plate = [(r * 0.9, -0.01), (r * 1.7, -0.002), (r * 1.75, 0.004), (r, -0.002), (0, -0.002)]
        shape.lathe((0, 0, 0), plate, m, 24)
    k = float(rng.uniform(1.0, 1.3))
    return item("mug", shape.stretched(k, k, k).grounded(), (name, *words))


_VASES = (
    [(0.05, 0), (0.085, 0.07), (0.075, 0.13), (0.035, 0.19), (0.045, 0.22)],
    [(0.045, 0), (0.05, 0.1), (0.06, 0.2), (0.075, 0.26)],
    [(0.06, 0), (0.11, 0.06), (0.105, 0.12), (0.05, 0.17), (0.03, 0.24), (0.04, 0.27)],
    [(0.055, 0), (0.055, 0.24)],
    [(0.035, 0), (0.05, 0.06), (0.09, 0.17), (0.085, 0.22), (0.05, 0.25), (0.055, 0.27)],
)


def _bouquet(shape: Shape, rng: Rng, mouth: float) -> None:
    """Stems out of the mouth [m] with blossoms, or bare with buds."""
    bare, petal = rng.random() < 0.25, [plain(draw_colour(rng)[1], 0.1, 0.01) for _ in range(2)]
    stem = plain((0.35, 0.25, 0.15) if bare else (0.2, 0.5, 0.15), 0.1)
    for i in range(int(rng.integers(3, 7))):
        a, length, lean = i * 2.4, float(rng.uniform(0.14, 0.26)), float(rng.uniform(0.03, 0.1))
        end = np.array([np.cos(a) * lean, np.sin(a) * lean, mouth + length])
        shape.tube([(0, 0, mouth - 0.06), end * 0.5 + np.array([0, 0, 0.5 * mouth]), end], 0.004, stem, 5)
        r = 0.01 if bare else float(rng.uniform(0.025, 0.042))
        shape.ellipsoid(end, (r, r, r * 0.8), petal[i % 2], (10, 7))


def make_vase(rng: Rng, variant: str) -> Item:
    """Draw a turned vase of one of five profiles or a square one, with or without flowers."""
    shape, (name, c) = Shape(), draw_colour(rng)
    m, words = _glaze(rng, c, float(rng.uniform(0.025, 0.07)))
    profile = np.array(pick(rng, _VASES)) * (around(rng, 1, 0.15), around(rng, 1.1, 0.2))
    r, h = profile[-1]
    if variant == "square":
        r = float(rng.uniform(0.045, 0.07))
        shape.rounded_box((0, 0, h / 2), (2 * r, 2 * r, h), 0.01, m, 4, texel_scale=1.3)
        shape.box((0, 0, h), (1.7 * r, 1.7 * r, 0.004), plain(c * 0.4, 0.02), skip=("z-",))
    else:
        shape.lathe((0, 0, 0), profile, m, 24, cells=12, texel_scale=1.3)
        shape.lathe((0, 0, 0), [(r, h), (r - 0.008, h), (r * 0.8, h - 0.05), (0, h - 0.06)], plain(c * 0.5, 0.02), 20)
    if rng.random() < 0.6:
        _bouquet(shape, rng, float(h))
    return item("vase", shape, (name, *words))


def _duck_body(sphere: Grid) -> Grid:
    """Pull the rear of a unit sphere up into a tail and flatten its underside."""
    points = sphere.copy()
    points[..., 2] += 0.65 * np.clip(-points[..., 0], 0, 1) ** 2.2
    points[..., 2] = np.maximum(points[..., 2], -0.7)
    return points


def make_duck(rng: Rng, variant: str) -> Item:
    """Draw a rubber duck, mostly yellow, or one on a board with wheels to pull along."""
    duck = Shape()
    name, c = draw_colour(rng, ("yellow",)) if rng.random() < 0.65 else draw_colour(rng)
    m, wing, bill = plain(c, 0.02), plain(c * 0.93, 0.02), plain((0.96, 0.42, 0.05), 0.02)
    duck.ellipsoid((0, 0, 0.062), (0.12, 0.085, 0.075), m, (22, 14), bend=_duck_body)
    duck.ellipsoid((0.065, 0, 0.165), (0.062, 0.058, 0.060), m, (18, 12))
    duck.ellipsoid((0.128, 0, 0.155), (0.034, 0.034, 0.012), bill, (12, 8))
    duck.ellipsoid((0.122, 0, 0.146), (0.026, 0.028, 0.009), bill, (12, 8))
    for y in (-1, 1):
        duck.ellipsoid((0.108, y * 0.034, 0.182), (0.011, 0.011, 0.013), _BLACK, (10, 6), texel_scale=2)
        duck.ellipsoid((-0.01, y * 0.078, 0.075), (0.065, 0.018, 0.038), wing, (14, 8), R=rotate_y(0.25))
    if rng.random() < 0.2:
        hat = plain(draw_colour(rng)[1], 0.03)
        duck.cylinder((0.06, 0, 0.215), 0.05, 0.008, hat).cylinder((0.06, 0, 0.22), 0.032, 0.035, hat)
    if variant == "on wheels":
        board, wheel = plain(draw_colour(rng)[1], 0.05), plain(draw_colour(rng)[1], 0.05)
        duck.rounded_box((0, 0, -0.005), (0.26, 0.13, 0.025), 0.01, board, 3)
        for front in (-0.09, 0.09):
            for side in (-0.075, 0.055):
                duck.cylinder((front, side, -0.02), 0.035, 0.02, wheel, R=rotate_x(-np.pi / 2), sides=12)
    k = float(rng.uniform(0.7, 1.25))
    shape = Shape().join(duck, _FRONT).stretched(k * around(rng, 1, 0.1), k * around(rng, 1, 0.1), k)
    return item("duck", shape.grounded(), (name,))


def make_teddy(rng: Rng, variant: str) -> Item:
    """Draw a sitting or standing teddy bear of plush, sometimes with a bow tie or a jumper."""
    bear = Shape()
    name, c = draw_colour(rng, ("brown", "brown", "beige", "white", "grey")) if rng.random() < 0.7 else draw_colour(rng)
    fur, pale = fabric(c, c * 0.72, 0.008), np.clip(c * 0.45 + 0.42, 0, 1)
    tan = fabric(pale, pale * 0.85, 0.008)
    jumper = fabric(draw_colour(rng)[1]) if rng.random() < 0.25 else None
    small, mid = (12, 8), (16, 10)
    bear.ellipsoid((0, 0, 0.14), (0.10, 0.11, 0.135), jumper or fur, mid)
    if jumper is None:
        bear.ellipsoid((0.045, 0, 0.14), (0.065, 0.075, 0.10), tan, mid)
    bear.ellipsoid((0.01, 0, 0.335), (0.098, 0.105, 0.095), fur, mid)
    bear.ellipsoid((0.085, 0, 0.315), (0.045, 0.05, 0.038), tan, small)
    bear.ellipsoid((0.128, 0, 0.33), (0.014, 0.02, 0.013), _BLACK, (10, 6), texel_scale=2)
    for y in (-1, 1):
        bear.ellipsoid((0, y * 0.085, 0.42), (0.022, 0.042, 0.042), fur, small)
        bear.ellipsoid((0.014, y * 0.085, 0.42), (0.014, 0.026, 0.026), tan, small)
        bear.ellipsoid((0.088, y * 0.042, 0.365), (0.012, 0.012, 0.014), _BLACK, (10, 6), texel_scale=2)
        bear.ellipsoid(
            (0.05, y * 0.12, 0.19), (0.10, 0.042, 0.044), jumper or fur, mid, R=rotate_z(y * -0.25) @ rotate_y(0.5)
        )
        if variant == "standing":
            bear.ellipsoid((0.01, y * 0.06, -0.02), (0.055, 0.052, 0.12), fur, mid)
            bear.ellipsoid((0.04, y * 0.065, -0.12), (0.075, 0.05, 0.03), fur, small)
        else:
            bear.ellipsoid((0.13, y * 0.085, 0.045), (0.12, 0.055, 0.055), fur, mid, R=rotate_z(y * 0.2))
            bear.ellipsoid((0.238, y * 0.108, 0.05), (0.018, 0.042, 0.042), tan, small, R=rotate_z(y * 0.2))
        if jumper is None and seed_of(rng) % 10 < 3:
            bear.ellipsoid((0.095, y * 0.035, 0.245), (0.02, 0.035, 0.025), fabric((0.7, 0.1, 0.12)), (10, 6))
    k = float(rng.uniform(0.75, 1.25))
    shape = (
        Shape().join(bear, _FRONT).stretched(k * around(rng, 1, 0.1), k * around(rng, 1, 0.1), k * around(rng, 1, 0.08))
    )
    return item("teddy bear", shape.grounded(), (name,))


_TOPS = ("table", "coffee table")
_SEATS = ("sofa", "bed")
KINDS = (
    Kind("mug", make_mug, ("mug", "mug", "cup"), Placement.ON_SURFACE, surfaces=_TOPS),
    Kind("vase", make_vase, ("turned", "turned", "square"), Placement.ON_SURFACE, surfaces=(*_TOPS, "dresser")),
    Kind("duck", make_duck, ("bath", "bath", "on wheels"), Placement.SURFACE_OR_FLOOR, surfaces=_TOPS),
    Kind(
        "teddy bear",
        make_teddy,
        ("sitting", "sitting", "standing"),
        Placement.SURFACE_OR_FLOOR,
        surfaces=(*_SEATS, *_TOPS),
    ),
)
