"""Materials of a room's own surfaces: floors, walls, ceilings."""

import numpy as np

from m3_ros.sim.finishes import Colour, draw_colour, draw_wood, pick, seed_of
from m3_ros.sim.materials import blotched, fabric, mix, plain, striped, tile_coordinates, wood
from m3_ros.sim.noise import Points, fbm, noise
from m3_ros.sim.patches import RGB, UV, Material

Rng = np.random.Generator


def _pale(c: Colour) -> Colour:
    return (c * np.float32(0.4) + np.float32(0.54)).astype(np.float32)


def _planks(rng: Rng, width: float, length: float) -> Material:
    finish, seed = draw_wood(rng), seed_of(rng)
    light, dark = np.clip(finish.colour * 1.2, 0, 1), finish.colour * 0.8
    grain = np.array((0.5, 0.025, 1), np.float32)
    size = (length, width)

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        u, v, h = tile_coordinates(p, (0, 1), size, 0.37, seed)
        colour = mix(dark, light, h) * (0.72 + 0.5 * fbm(p + h[..., None] * 7, grain, seed, 2))[..., None]
        gap = (v < 0.04) | (u < 0.006)
        return np.clip(np.where(gap[..., None], colour * 0.45, colour), 0, 1)

    return material


def _parquet(rng: Rng) -> Material:
    """Squares of short staves, every other square turned."""
    finish, seed, side = draw_wood(rng), seed_of(rng), float(rng.uniform(0.28, 0.5))
    staves = int(rng.integers(4, 7))
    light, dark = np.clip(finish.colour * 1.15, 0, 1), finish.colour * 0.82

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        u, v, h = tile_coordinates(p, (0, 1), (side, side), 0, seed)
        odd = (np.floor(p[..., 0] / side) + np.floor(p[..., 1] / side)) % 2 > 0
        across, along = np.where(odd, u, v) * staves, np.where(odd, v, u)
        stave = np.floor(across)
        tone = (h + stave * np.float32(0.37)) % 1
        colour = mix(dark, light, tone) * (0.85 + 0.25 * noise(p, 0.03, seed))[..., None]
        gap = (across - stave < 0.06) | (along < 0.015)
        return np.clip(np.where(gap[..., None], colour * 0.6, colour), 0, 1)

    return material


def _tiles(rng: Rng, axes: tuple[int, int], size: tuple[float, float], checker: float) -> Material:
    """Glazed or stone tiles with joints; checker is how dark every other tile is."""
    _, c = draw_colour(rng)
    c = _pale(c) if rng.random() < 0.6 else c
    seed, vary, shift = seed_of(rng), float(rng.uniform(0.02, 0.18)), 0.0 if checker else pick(rng, (0.0, 0.0, 0.5))
    joint = np.full(3, 0.82, np.float32) if rng.random() < 0.5 else c * 0.55

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        u, v, h = tile_coordinates(p, axes, size, shift, seed)
        odd = (np.floor(p[..., axes[0]] / size[0]) + np.floor(p[..., axes[1]] / size[1])) % 2
        shade = (1 - checker * odd) * (1 - vary * h) * (0.92 + 0.14 * noise(p, 0.08, seed))
        gap = (u < 0.03) | (v < 0.03)
        return np.clip(np.where(gap[..., None], joint, c * shade[..., None]), 0, 1)

    return material


def floor_material(rng: Rng) -> Material:
    """Draw a floor of the x-y plane: planks, parquet, tiles, chequered tiles, carpet, concrete or terrazzo."""
    kind = pick(rng, ("planks", "planks", "parquet", "tiles", "chequered", "carpet", "concrete", "terrazzo"))
    _, c = draw_colour(rng)
    if kind == "planks":
        return _planks(rng, float(rng.uniform(0.09, 0.2)), float(rng.uniform(0.8, 1.6)))
    if kind == "parquet":
        return _parquet(rng)
    if kind in ("tiles", "chequered"):
        side = float(rng.uniform(0.2, 0.6))
        return _tiles(rng, (0, 1), (side, side), 0.4 if kind == "chequered" else 0.0)
    if kind == "carpet":
        muted = c * 0.7 + c.mean() * 0.25
        loops = fabric(muted, None, 0.03, seed_of(rng))
        return loops if rng.random() < 0.7 else blotched(muted, muted * 0.75, 0.03, 0.5)
    if kind == "concrete":
        return plain(c * 0.15 + rng.uniform(0.3, 0.6), 0.2, 0.4, seed_of(rng))
    return blotched(_pale(c), c * 0.6, 0.03, 0.62, seed_of(rng))


def _bricks(rng: Rng, u_axis: int) -> Material:
    """Running bond with mortar, red, white-washed or of any colour."""
    seed = seed_of(rng)
    _, c = draw_colour(rng)
    red, white = np.array((0.62, 0.31, 0.22), np.float32), np.array((0.85, 0.83, 0.8), np.float32)
    tone = pick(rng, (red, red, white, _pale(c) * np.float32(0.9)))
    light, dark = np.clip(tone * np.float32(1.2), 0, 1), tone * np.float32(0.8)
    mortar = np.full(3, rng.uniform(0.55, 0.8), np.float32)
    size = (float(rng.uniform(0.2, 0.3)), float(rng.uniform(0.065, 0.1)))

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        u, v, h = tile_coordinates(p, (u_axis, 2), size, 0.5, seed)
        colour = mix(dark, light, h) * (0.75 + 0.45 * fbm(p, 0.04, seed, 2))[..., None]
        gap = (v < 0.13) | (u < 0.05)
        return np.clip(np.where(gap[..., None], mortar * (0.9 + 0.2 * noise(p, 0.02, 2))[..., None], colour), 0, 1)

    return material


def _wainscot(below: Material, above: Material, height: float) -> Material:
    def material(p: Points, uv: UV, n: Points) -> RGB:
        z = p[..., 2:3]
        out = np.where(z < height, below(p, uv, n), above(p, uv, n))
        return np.where(np.abs(z - height) < 0.02, np.float32(0.92), out)

    return material


def _wallpaper(rng: Rng, c: Colour, u_axis: int) -> Material:
    """Stripes or flowers in two shades of a colour."""
    second = np.clip(c * pick(rng, (0.7, 0.85, 1.25)), 0, 1)
    if rng.random() < 0.5:
        return striped(plain(c, 0.02), plain(second, 0.02), u_axis, float(rng.uniform(0.08, 0.4)))
    return blotched(c, second, float(rng.uniform(0.05, 0.15)), 0.6, seed_of(rng))


def _panels(rng: Rng, u_axis: int) -> Material:
    """Upright boards with dark joints."""
    finish, width = draw_wood(rng), float(rng.uniform(0.09, 0.3))
    return striped(finish.along(2), wood(finish.colour * 0.4, finish.colour * 0.3, 2), u_axis, width, 0.95)


def wall_material(rng: Rng, u_axis: int) -> Material:
    """Draw a wall that runs along an axis (0 or 1): paint, bricks, wallpaper, wooden panels, tiles or two of them."""
    kind = pick(rng, ("paint", "paint", "paint", "plaster", "bricks", "paper", "paper", "panels", "tiles", "two"))
    _, c = draw_colour(rng)
    c = _pale(c) if rng.random() < 0.65 else c
    if kind == "bricks":
        return _bricks(rng, u_axis)
    if kind == "paper":
        return _wallpaper(rng, c, u_axis)
    if kind == "panels":
        return _panels(rng, u_axis)
    if kind == "tiles":
        side = float(rng.uniform(0.12, 0.3))
        return _tiles(rng, (u_axis, 2), (side * pick(rng, (1.0, 2.0)), side), 0.0)
    if kind == "two":
        below = draw_wood(rng).along(2) if rng.random() < 0.4 else plain(draw_colour(rng)[1], 0.03, 0.15)
        return _wainscot(below, plain(_pale(c), 0.04, 0.15), float(rng.uniform(0.8, 1.2)))
    return plain(c, 0.12 if kind == "plaster" else 0.04, 0.2, seed_of(rng))


def ceiling_material(rng: Rng) -> Material:
    """Draw a ceiling: near-white paint, or grid panels."""
    white = np.full(3, rng.uniform(0.82, 0.93), np.float32) * np.float32(rng.uniform(0.97, 1.0, 3))
    base = plain(white, 0.02, 0.3)
    if rng.random() < 0.75:
        return base
    side = float(rng.uniform(0.5, 0.7))

    def material(p: Points, uv: UV, n: Points) -> RGB:
        grid = ((p[..., :2] / np.float32(side)) % 1 < 0.03).any(-1, keepdims=True)
        return np.where(grid, white * 0.75, base(p, uv, n))

    return material
