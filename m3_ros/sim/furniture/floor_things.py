"""Things that stand about on floors: balls, cones, bins, boxes, fire extinguishers."""

import numpy as np

from m3_ros.sim.finishes import around, draw_lacquer, draw_metal, pick, seed_of
from m3_ros.sim.items import Item, Kind, Placement, item
from m3_ros.sim.materials import banded, image, plain, striped, wicker
from m3_ros.sim.noise import Points
from m3_ros.sim.patches import RGB, UV, Material, Rotation, Shape, rotate_x, rotate_z
from m3_ros.sim.pictures import box_label, ink, safety_label

Rng = np.random.Generator


def _icosahedron() -> tuple[Points, Points]:
    """Return the unit directions of its 12 corners and 20 faces: the pentagons and hexagons of a football."""
    g = (1 + 5**0.5) / 2
    v = np.array([[a, b * g, 0] for a in (-1, 1) for b in (-1, 1)], np.float64)
    v = np.concatenate([v, v[:, [2, 0, 1]], v[:, [1, 2, 0]]])
    v /= np.linalg.norm(v[0])
    near = v @ v.T > 0.4
    corners = ((i, j, k) for i in range(12) for j in range(i) for k in range(j))
    f = np.array([v[i] + v[j] + v[k] for i, j, k in corners if near[i, j] and near[j, k] and near[i, k]])
    return v.astype(np.float32), (f / np.linalg.norm(f, axis=1, keepdims=True)).astype(np.float32)


def _football(radius: float, dark: tuple[float, float, float], turn: Rotation) -> Material:
    pentagons, hexagons = (np.asarray(d @ turn, np.float32) for d in _icosahedron())
    centre = np.array([0, 0, radius], np.float32)
    black, white, seam = np.array(dark, np.float32), np.full(3, 0.93, np.float32), np.full(3, 0.45, np.float32)

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        d = p - centre
        d = d / np.maximum(np.linalg.norm(d, axis=-1, keepdims=True), 1e-6)
        angle = np.arccos(np.clip((d @ pentagons.T).max(-1), -1, 1))
        nearest = np.sort(np.arccos(np.clip(d @ hexagons.T, -1, 1)), -1)
        patch = angle < 0.36
        line = (nearest[..., 1] - nearest[..., 0] < 0.05) & ~patch
        return np.where(patch[..., None], black, np.where(line[..., None], seam, white))

    return material


def _swirls(radius: float, dark: tuple[float, float, float], turn: Rotation) -> Material:
    """A modern football: three bent bands on white."""
    ink_colour, white = np.array(dark, np.float32), np.full(3, 0.93, np.float32)
    centre = np.array([0, 0, radius], np.float32)

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        d = (p - centre) @ turn.astype(np.float32) / np.float32(radius)
        swirl = np.sin(3 * np.arctan2(d[..., 1], d[..., 0]) + 4 * d[..., 2])
        return np.where(
            (swirl > 0.55)[..., None], ink_colour, np.where((np.abs(swirl) < 0.05)[..., None], 0.5 * white, white)
        )

    return material


def make_ball(rng: Rng, variant: str) -> Item:
    """Draw a football: white hexagons and dark pentagons, or bent bands."""
    radius = around(rng, 0.115, 0.12)
    black = (0.06, 0.06, 0.07)
    dark = pick(rng, (black, black, black, (0.1, 0.15, 0.5), (0.65, 0.08, 0.1), (0.05, 0.4, 0.2)))
    turn = rotate_z(float(rng.uniform(0, 6.28))) @ rotate_x(float(rng.uniform(0, 6.28)))
    material = (_football if variant == "hexagons" else _swirls)(radius, dark, turn)
    shape = Shape().ellipsoid((0, 0, radius), (radius,) * 3, material, (32, 20), texel_scale=1.6)
    return item("soccer ball", shape, ("white", "round"))


def make_cone(rng: Rng, variant: str) -> Item:
    """Draw an orange traffic cone with one or two white bands, on a square foot or a heavy round one."""
    shape, orange = Shape(), plain(np.array((0.96, 0.36, 0.06)) * rng.uniform(0.9, 1.03), 0.03)
    white, h, r = plain((0.95, 0.95, 0.95), 0.02), float(rng.uniform(0.38, 0.72)), float(rng.uniform(0.1, 0.14))
    if variant == "square foot":
        shape.rounded_box((0, 0, 0.018), (2.8 * r, 2.8 * r, 0.036), 0.012, orange, 4)
    else:
        foot = [(1.5 * r, 0), (1.55 * r, 0.03), (1.3 * r, 0.06), (0.9 * r, 0.07), (0, 0.07)]
        shape.lathe((0, 0, 0), foot, plain((0.08, 0.08, 0.09), 0.05), 8, cells=6)
        r *= 0.8
    two = rng.random() < 0.6
    bands = [0.3, 0.48, 0.64, 0.78] if two else [0.42, 0.7]
    material = banded(bands, [orange, white] * (len(bands) // 2) + [orange])
    shape.lathe((0, 0, 0.03), [(r, 0), (0.024, h)], material, 24, cells=9)
    shape.lathe((0, 0, 0.03), [(0.024, h), (0, h)], orange, 12, cells=1)
    return item("traffic cone", shape.grounded(), ("orange", "striped"))


def _square_bin(shape: Shape, m: Material, lid: Material, w: float, h: float) -> None:
    """A swing-lid bin."""
    d = 0.75 * w
    shape.rounded_box((0, 0, h / 2), (w, d, h), 0.03, m)
    roof = [(-w / 2, -d / 2, h), (w / 2, -d / 2, h), (w / 2, 0, h * 1.16), (-w / 2, 0, h * 1.16)]
    rear = [(w / 2, d / 2, h), (-w / 2, d / 2, h), (-w / 2, 0, h * 1.16), (w / 2, 0, h * 1.16)]
    shape.quad(roof, lid).quad(rear, lid)
    for x in (-1, 1):
        corners = [
            (x * w / 2, -x * d / 2, h),
            (x * w / 2, x * d / 2, h),
            (x * w / 2, 0, h * 1.16),
            (x * w / 2, 0, h * 1.16),
        ]
        shape.quad(corners, lid)
    shape.box((0, 0, h), (w + 0.01, d + 0.01, 0.02), lid)


def make_bin(rng: Rng, variant: str) -> Item:
    """Draw a trash bin: an open tapered bucket or basket, a pedal bin, or one with a swing lid."""
    shape, body = Shape(), draw_lacquer(rng)
    lid = body.material if rng.random() < 0.5 else draw_metal(rng).material
    r, h, c = float(rng.uniform(0.11, 0.17)), float(rng.uniform(0.28, 0.5)), body.colour
    words = body.words
    if variant == "pedal":
        shape.cylinder((0, 0, 0.02), r, h, body.material, sides=24).cylinder((0, 0, 0), r * 0.97, 0.03, lid, sides=24)
        shape.lathe((0, 0, h + 0.02), [(r * 1.03, 0), (r * 1.03, 0.02), (r * 0.7, 0.07), (0, 0.09)], lid, 24)
        shape.box((0, -r - 0.02, 0.02), (0.09, 0.06, 0.015), lid)
    elif variant == "swing lid":
        _square_bin(shape, body.material, lid, 2 * r, h * 1.2)
    else:
        m = wicker(c, 0.03) if variant == "basket" else striped(body.material, plain(c * 0.8, 0.02), 2, 0.04, 0.7)
        inside = plain(c * 0.7, 0.02)
        low, rim = r * float(rng.uniform(0.68, 0.9)), r + 0.008
        shape.lathe((0, 0, 0), [(0, 0.001), (low, 0), (r, h)], m, 28)
        shape.lathe((0, 0, 0), [(r, h - 0.015), (rim, h - 0.015), (rim, h), (r - 0.008, h)], body.material, 28)
        shape.lathe((0, 0, 0), [(r - 0.008, h), (low - 0.008, 0.02), (0, 0.02)], inside, 28)
        if variant == "basket":
            t = np.linspace(0, np.pi, 7)
            for x in (-r, r):
                bow = np.stack([np.full(7, x), 0.05 * np.cos(t), h - 0.01 + 0.05 * np.sin(t)], 1)
                shape.tube(bow, 0.009, body.material, 5)
        if rng.random() < 0.5:
            for _ in range(3):
                x, y = rng.uniform(-0.4, 0.4, 2) * r
                shape.ellipsoid(
                    (x, y, h * 0.75), (0.4 * r, 0.38 * r, 0.3 * r), plain((0.92, 0.92, 0.9), 0.2, 0.02), (9, 6)
                )
    return item("trash bin", shape.grounded(), words)


def make_box(rng: Rng, variant: str) -> Item:
    """Draw a cardboard box, taped or with its flaps open."""
    shape, board = Shape(), np.array((0.70, 0.53, 0.34)) * rng.uniform(0.85, 1.12)
    x, y, z = (float(v) for v in rng.uniform((0.3, 0.28, 0.2), (0.58, 0.46, 0.48)))
    m = plain(board, 0.05, 0.02, seed_of(rng))
    label = image(box_label(rng, ink(board)))
    shape.box(
        (0, 0, z / 2), (x, y, z), m, faces={"y-": label, "x-": label, "x+": label, "y+": label}, skip=("z+", "z-")
    )
    if variant == "closed":
        tape = plain((0.82, 0.72, 0.52), 0.03)
        shape.quad([(-x / 2, -y / 2, z), (x / 2, -y / 2, z), (x / 2, y / 2, z), (-x / 2, y / 2, z)], m)
        shape.box((0, 0, z + 0.001), (x, 0.05, 0.003), tape, skip=("z-",))
        return item("cardboard box", shape.grounded(), ("brown", "cardboard"))
    dark = plain(board * 0.8, 0.05)
    shape.box((0, 0, z / 2), (0.01 - x, 0.01 - y, 0.01 - z), dark, skip=("z-",))  # inside out: seen from within
    for side in (-1, 1):
        lean = rotate_x(-side * float(rng.uniform(0.5, 2.2)))
        hinge = np.array([0, side * y / 2, z])
        shape.box(hinge + lean @ np.array([0, 0, 0.22 * y]), (x, 0.006, 0.44 * y), m, R=lean)
    return item("cardboard box", shape.grounded(), ("brown", "cardboard", "open"))


def make_extinguisher(rng: Rng, variant: str) -> Item:
    """Draw a red fire extinguisher with a hose, or with the black horn of a gas one."""
    shape, red = Shape(), plain(np.array((0.84, 0.05, 0.05)) * rng.uniform(0.88, 1.05), 0.02)
    black = plain((0.05, 0.05, 0.05), 0.02)
    body = [(0, 0), (0.07, 0), (0.075, 0.01), (0.075, 0.36), (0.06, 0.41), (0.025, 0.44), (0.022, 0.47), (0, 0.47)]
    shape.lathe((0, 0, 0), body, red, 20, cells=12)
    shape.box((0.03, 0, 0.50), (0.12, 0.025, 0.02), black).box((0.02, 0, 0.475), (0.09, 0.025, 0.015), black)
    if variant == "horn":
        shape.tube([(-0.02, 0, 0.47), (-0.1, 0, 0.47), (-0.13, -0.02, 0.42)], 0.012, black)
        shape.lathe((-0.13, -0.02, 0.14), [(0.055, 0), (0.05, 0.06), (0.022, 0.28), (0, 0.28)], black, 14)
    else:
        hose = [(-0.02, 0, 0.47), (-0.08, 0, 0.46), (-0.095, 0, 0.38), (-0.09, 0, 0.2), (-0.088, 0, 0.1)]
        shape.tube(hose, 0.011, black)
        if rng.random() < 0.5:
            shape.cylinder((-0.088, 0, 0.04), 0.026, 0.1, black, 0.012, sides=10)
    a = np.linspace(-np.pi / 2 - 0.68, -np.pi / 2 + 0.68, 7)
    low, high = sorted(float(v) for v in rng.uniform((0.1, 0.26), (0.18, 0.34)))
    shape.add(
        [np.stack([0.0765 * np.cos(a), 0.0765 * np.sin(a), 0 * a + z], 1) for z in (low, high)],
        image(safety_label()),
        texel_scale=2,
    )
    wide = around(rng, 1, 0.15)
    return item("fire extinguisher", shape.stretched(wide, wide, around(rng, 1, 0.2)).grounded(), ("red",))


KINDS = (
    Kind("soccer ball", make_ball, ("hexagons", "hexagons", "bands"), Placement.FLOOR),
    Kind("traffic cone", make_cone, ("square foot", "square foot", "round foot"), Placement.FLOOR),
    Kind("trash bin", make_bin, ("bucket", "basket", "pedal", "swing lid"), Placement.FLOOR),
    Kind("cardboard box", make_box, ("closed", "open"), Placement.FLOOR),
    Kind("fire extinguisher", make_extinguisher, ("hose", "hose", "horn"), Placement.FLOOR),
)
