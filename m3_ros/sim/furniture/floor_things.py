"""Things that stand about on floors: balls, boxes, cones, bins, bags."""

import numpy as np

from m3_ros.sim.finishes import around, pick
from m3_ros.sim.items import Item, Kind, Placement, item
from m3_ros.sim.noise import Points
from m3_ros.sim.patches import RGB, UV, Material, Rotation, Shape, rotate_x, rotate_z

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


def make_ball(rng: Rng) -> Item:
    """Draw a football: white hexagons, dark pentagons."""
    radius = around(rng, 0.115, 0.12)
    black = (0.06, 0.06, 0.07)
    dark = pick(rng, (black, black, black, (0.1, 0.15, 0.5), (0.65, 0.08, 0.1), (0.05, 0.4, 0.2)))
    turn = rotate_z(float(rng.uniform(0, 6.28))) @ rotate_x(float(rng.uniform(0, 6.28)))
    shape = Shape().ellipsoid((0, 0, radius), (radius,) * 3, _football(radius, dark, turn), (32, 20), texel_scale=1.6)
    return item("soccer ball", shape, ("white", "round"))


KINDS: tuple[Kind, ...] = (Kind("soccer ball", make_ball, Placement.FLOOR),)
