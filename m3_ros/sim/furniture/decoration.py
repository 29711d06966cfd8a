"""Rugs, plants, paintings, clocks."""

import numpy as np

from m3_ros.sim.finishes import Colour, draw_colour, draw_fabric, draw_finish, pick, seed_of
from m3_ros.sim.items import Item, Kind, Placement, item
from m3_ros.sim.materials import fabric, image, mix, plain, rgb, wicker
from m3_ros.sim.noise import Points, noise
from m3_ros.sim.patches import RGB, UV, Grid, Material, Shape, rotate_x
from m3_ros.sim.pictures import clock_face, painting

Rng = np.random.Generator


def _woven(rng: Rng, half: tuple[float, float], palette: list[Colour], oval: bool) -> Material:
    """Return a rug's pattern of three colours: diamonds, bands or rings within a border."""
    colours, kind, period = np.stack(palette), int(rng.integers(3)), float(rng.uniform(0.1, 0.2))
    border = float(rng.uniform(0.05, 0.12))
    a, b = half

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        x, y = np.abs(p[..., 0]), np.abs(p[..., 1])
        reach = np.hypot(x / a, y / b) if oval else np.maximum(x / a, y / b)
        distance = (x + y, x, np.hypot(x, y))[kind]
        index = np.floor(distance / np.float32(period)).astype(np.int64) % 3
        index = np.where(reach > 1 - border, 1, np.where(reach > 1 - 1.5 * border, 2, index))
        return np.clip(colours[index] * (0.8 + 0.3 * noise(p, 0.012, 6))[..., None], 0, 1)

    return material


def make_rug(rng: Rng, variant: str) -> Item:
    """Draw a rug: rectangular, round or oval; patterned, striped or plain."""
    shape, oval = Shape(), variant == "round"
    a, b = float(rng.uniform(0.6, 1.15)), float(rng.uniform(0.45, 0.8))
    a = b if oval and rng.random() < 0.6 else a
    (name, c), second, third = draw_colour(rng), draw_colour(rng)[1], draw_colour(rng)[1]
    words: tuple[str, ...] = (name,)
    if rng.random() < 0.6:
        m, words = _woven(rng, (a, b), [c, second, third], oval), ("patterned",)
    elif rng.random() < 0.5:
        cloth = draw_fabric(rng, 0.8)
        m, words = cloth.material, cloth.words
    else:
        m = fabric(c, c * 0.8, 0.05, seed_of(rng))
    if oval:
        t = np.linspace(0, 2 * np.pi, 33)
        ring = np.stack([a * np.cos(t), b * np.sin(t)], -1)
        rows = [np.column_stack([ring * k, np.full(33, 0.012)]) for k in (1, 0.75, 0.5, 0.25, 0.001)]
        shape.add(rows, m).add([np.column_stack([ring, np.zeros(33)]), rows[0]], m)
    else:
        shape.box((0, 0, 0.006), (2 * a, 2 * b, 0.012), m, skip=("z-",))
    return item("rug", shape, words)


def _leaf(shape: Shape, spine: Grid, width: np.ndarray, side: np.ndarray, m: Material) -> None:
    """Add a folded leaf along a spine of points [m], seen from both sides."""
    lift = np.array([0, 0, 0.012])
    grid = np.stack([spine - side * width[:, None] + lift, spine - lift, spine + side * width[:, None] + lift], 1)
    shape.add(grid, m, texel_scale=1.2).add((grid - np.array([0, 0, 0.003]))[:, ::-1], m, texel_scale=0.8)


def _leaf_material(rng: Rng, green: Colour) -> Material:
    dark, light = rgb(green * rng.uniform(0.75, 1.1)), rgb(green * 1.35 + 0.1)

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        v = np.abs(uv[..., 0] - 0.5)
        vein, rib = np.clip(1 - v * 14, 0, 1) * 0.8, np.sin(uv[..., 1] * 60 + v * 30) > 0.6
        return mix(dark, light, vein + rib * np.float32(0.2))

    return material


def _broad_leaves(shape: Shape, rng: Rng, z0: float, green: Colour, reach: float) -> None:
    """Arching leaves from one root."""
    t = np.linspace(0, 1, 7)
    for i in range(int(rng.integers(14, 24))):
        a, length, up = i * 2.4 + rng.uniform(-0.2, 0.2), reach * rng.uniform(0.35, 0.62), rng.uniform(0.35, 1.15)
        r = 0.02 + length * t * np.cos(up * (1 - 0.35 * t))
        z = z0 + length * t * np.sin(up) * 1.55 - 0.5 * length * t**2.4 * (1.3 - up * 0.6)
        width = 0.085 * np.sin(np.pi * np.clip(t * 0.93 + 0.05, 0, 1)) * (0.7 + length) + 0.004
        spine = np.stack([r * np.cos(a), r * np.sin(a), z], 1)
        _leaf(shape, spine, width, np.array([-np.sin(a), np.cos(a), 0]), _leaf_material(rng, green))


def _blades(shape: Shape, rng: Rng, z0: float, green: Colour, reach: float) -> None:
    """Upright pointed blades, like mother-in-law's tongue."""
    t = np.linspace(0, 1, 5)
    for i in range(int(rng.integers(9, 16))):
        a, length, lean = i * 2.4, reach * rng.uniform(0.5, 1.0), rng.uniform(0.02, 0.18)
        spine = np.stack([(0.03 + lean * t) * np.cos(a), (0.03 + lean * t) * np.sin(a), z0 + length * t], 1)
        width = 0.032 * np.clip(1.15 - t**3, 0.05, 1)
        side = np.array([-np.sin(a), np.cos(a), 0])
        grid = np.stack([spine - side * width[:, None], spine + side * width[:, None]], 1)
        m = _leaf_material(rng, green)
        shape.add(grid, m, texel_scale=1.2).add((grid - np.array([np.cos(a), np.sin(a), 0]) * 0.003)[:, ::-1], m)


def _tree(shape: Shape, rng: Rng, z0: float, green: Colour, reach: float) -> None:
    """A stem with leaves about a crown."""
    top = z0 + reach * float(rng.uniform(0.8, 1.2))
    stem = [(0, 0, z0 - 0.03), (0.02, 0.01, (z0 + top) / 2), (0, 0, top)]
    shape.tube(stem, (0.018, 0.015, 0.01), plain((0.36, 0.25, 0.15), 0.15, 0.02))
    t = np.linspace(0, 1, 4)
    for i in range(int(rng.integers(20, 32))):
        a, high, length = i * 2.4, rng.uniform(0.45, 1.05), rng.uniform(0.14, 0.26)
        start = 0.05 + 0.1 * rng.random()
        r = start + length * t
        z = z0 + (top - z0) * high + length * (0.7 * t - 0.9 * t**2)
        spine = np.stack([r * np.cos(a), r * np.sin(a), z], 1)
        width = 0.05 * np.sin(np.pi * np.clip(t * 0.9 + 0.07, 0, 1)) + 0.003
        _leaf(shape, spine, width, np.array([-np.sin(a), np.cos(a), 0]), _leaf_material(rng, green))


def _pot(shape: Shape, rng: Rng) -> float:
    """Add a pot of clay, glaze or wicker and return the height of its soil [m]."""
    c = rgb((0.72, 0.36, 0.22)) if rng.random() < 0.35 else draw_colour(rng)[1]
    m = wicker(c, 0.035) if rng.random() < 0.25 else plain(c, 0.06, 0.03)
    r, h, soil = float(rng.uniform(0.13, 0.2)), float(rng.uniform(0.2, 0.36)), plain((0.2, 0.14, 0.1), 0.3, 0.01)
    if rng.random() < 0.3:
        shape.rounded_box((0, 0, h / 2), (1.8 * r, 1.8 * r, h), 0.015, m, 4)
        shape.box((0, 0, h), (1.6 * r, 1.6 * r, 0.004), soil, skip=("z-",))
        return h
    low = r * float(rng.uniform(0.6, 0.95))
    rim = [(r * 1.07, h * 0.84), (r * 1.07, h), (r * 0.92, h), (r * 0.9, h - 0.03)]
    shape.lathe((0, 0, 0), [(low, 0), (r, h * 0.84), *rim], m, 24)
    shape.lathe((0, 0, 0), [(r * 0.92, h - 0.03), (0, h - 0.025)], soil, 20)
    return h - 0.03


_GREENS = ((0.22, 0.56, 0.18), (0.16, 0.42, 0.2), (0.36, 0.58, 0.2), (0.3, 0.5, 0.36))


def make_plant(rng: Rng, variant: str) -> Item:
    """Draw a potted plant: broad arching leaves, upright blades, or a small tree."""
    shape = Shape()
    soil = _pot(shape, rng)
    green = rgb(pick(rng, _GREENS))
    grow = {"leaves": _broad_leaves, "blades": _blades, "tree": _tree}[variant]
    grow(shape, rng, soil, green, float(rng.uniform(0.75, 1.15)) * (0.75 if grow is _blades else 1.0))
    return item("plant", shape.grounded(), ("green",))


def _canvas(rng: Rng) -> Item:
    """Draw two or three canvases without frames that share one picture."""
    shape, edge = Shape(), plain((0.85, 0.82, 0.76), 0.05)
    count, h = int(rng.integers(2, 4)), float(rng.uniform(0.4, 0.75))
    w, gap = float(rng.uniform(0.8, 1.15)) / count, 0.04
    for k in range(count):
        x, z = (k - (count - 1) / 2) * (w + gap), 0.06 * (k % 2) * float(rng.random() < 0.5)
        shape.box((x, -0.02, z), (w, 0.04, h), edge, skip=("y+", "y-"))
        a, b = x - w / 2, x + w / 2
        corners = [(a, -0.04, z - h / 2), (b, -0.04, z - h / 2), (b, -0.04, z + h / 2), (a, -0.04, z + h / 2)]
        shape.quad(corners, image(painting(rng, (96, max(32, round(96 * h / w))))), texel_scale=1.2)
    return item("painting", shape.backed(floor=False))


def make_painting(rng: Rng, variant: str) -> Item:
    """Draw a framed picture, wide, square or tall, with or without a white mount; or canvases without a frame."""
    if variant == "canvas":
        return _canvas(rng)
    shape, frame = Shape(), draw_finish(rng, 0.5)
    w = float(rng.uniform(0.45, 1.15))
    h = min(w * float(rng.uniform(0.6, 1.4)), 0.95)
    rim, thick = float(rng.uniform(0.02, 0.06)), 0.03
    for x in (-1, 1):
        shape.box((x * (w - rim) / 2, -thick / 2, 0), (rim, thick, h), frame.along(2), skip=("y+",))
        shape.box(
            (0, -thick / 2, x * (h - rim) / 2), (w - 2 * rim, thick, rim), frame.along(0), skip=("y+", "x+", "x-")
        )
    a, b = w / 2 - rim, h / 2 - rim
    if rng.random() < 0.4:
        white, edge = plain((0.94, 0.93, 0.9), 0.02), float(rng.uniform(0.03, 0.08))
        shape.quad([(-a, -0.017, -b), (a, -0.017, -b), (a, -0.017, b), (-a, -0.017, b)], white)
        a, b = a - edge, b - edge
    size = (144, max(32, round(144 * b / a)))
    corners = [(-a, -0.019, -b), (a, -0.019, -b), (a, -0.019, b), (-a, -0.019, b)]
    shape.quad(corners, image(painting(rng, size)), texel_scale=1.2)
    return item("painting", shape.backed(floor=False), frame.words[:1])


def make_clock(rng: Rng, variant: str) -> Item:
    """Draw a wall clock, round or square."""
    shape, rim, dial = Shape(), draw_finish(rng, 0.3), image(clock_face(rng))
    r = float(rng.uniform(0.13, 0.21))
    m, upright = rim.along(2), rotate_x(np.pi / 2)
    if variant == "round":
        shape.lathe((0, 0, 0), [(r, 0), (r, 0.04), (r * 0.9, 0.04), (r * 0.88, 0.025)], m, 28, R=upright)
        turn = np.linspace(0, 2 * np.pi, 29)
        k = np.linspace(r * 0.9, 1e-4, 6)[:, None]
        x, z = k * np.cos(turn), k * np.sin(turn)
        shape.add(np.stack([x, np.full_like(x, -0.026), z], -1), _on_disc(dial, r * 0.93), texel_scale=1.5)
    else:
        shape.rounded_box((0, -0.018, 0), (2 * r, 0.036, 2 * r), 0.012, m, 4)
        a = r * 0.85
        shape.quad([(-a, -0.0375, -a), (a, -0.0375, -a), (a, -0.0375, a), (-a, -0.0375, a)], dial, texel_scale=1.5)
    return item("clock", shape.backed(floor=False), rim.words)


def _on_disc(picture: Material, radius: float) -> Material:
    """Spread a picture over x and z within a radius [m] instead of over u and v."""

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        return picture(p, np.clip(p[..., [0, 2]] / np.float32(2 * radius) + np.float32(0.5), 0, 1), n)

    return material


KINDS = (
    Kind("rug", make_rug, ("rectangular", "rectangular", "round"), Placement.FLAT),
    Kind("plant", make_plant, ("leaves", "leaves", "blades", "tree"), Placement.FLOOR),
    Kind("painting", make_painting, ("framed", "framed", "canvas"), Placement.ON_WALL, wall_height=(1.2, 1.65)),
    Kind("clock", make_clock, ("round", "round", "square"), Placement.ON_WALL, wall_height=(1.35, 1.95)),
)
