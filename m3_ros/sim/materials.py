"""Procedural materials: colour as a function of the local point, so that no texture is ever stretched."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from m3_ros.sim.noise import Points, Values, cell_hash, fbm, noise
from m3_ros.sim.patches import RGB, UV, Material


def rgb(colour: ArrayLike) -> NDArray[np.float32]:
    """Return a colour as float32, clipped to 0..1."""
    return np.clip(np.asarray(colour, np.float32), 0, 1)


def mix(a: RGB, b: RGB, t: Values) -> RGB:
    """Blend two colours: a where t is 0, b where t is 1."""
    w = np.asarray(t, np.float32)[..., None]
    out: RGB = a + (b - a) * w
    return out


def _limit(colour: RGB) -> RGB:
    return np.clip(colour, 0, 1)


def plain(colour: ArrayLike, variation: float = 0.06, scale: float = 0.04, seed: int = 1) -> Material:
    """Return one colour with a faint cloudiness of a scale [m]."""
    c = rgb(colour)

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        if variation == 0:
            return np.broadcast_to(c, p.shape)
        shade = (1 - variation + 2 * variation * fbm(p, scale, seed, 2))[..., None]
        return _limit(c * shade)

    return material


def fabric(colour: ArrayLike, second: ArrayLike | None = None, weave: float = 0.012, seed: int = 3) -> Material:
    """Return woven cloth; the second colour (default: darker) shows between the threads."""
    c = rgb(colour)
    c2 = c * 0.72 if second is None else rgb(second)
    k = np.float32(np.pi / weave)

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        x, y, z = p[..., 0], p[..., 1], p[..., 2]
        threads = 0.5 + 0.25 * np.sin((x + z) * k) + 0.25 * np.sin((y - z) * k)
        return mix(c2, c, np.clip(0.55 * threads + 0.6 * fbm(p, 0.06, seed, 2) - 0.05, 0, 1))

    return material


def leather(colour: ArrayLike, seed: int = 4) -> Material:
    """Return leather: fine grain and worn, lighter patches."""
    c = rgb(colour)

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        grain = noise(p, 0.008, seed)
        worn = fbm(p, 0.2, seed + 5, 2)
        return _limit(c * (0.78 + 0.2 * grain + 0.35 * worn * worn)[..., None])

    return material


def wood(light: ArrayLike, dark: ArrayLike, axis: int = 0, ring: float = 0.035, seed: int = 5) -> Material:
    """Return wood whose grain runs along an axis (0, 1, 2); ring is the spacing of its year rings [m]."""
    a, b = rgb(light), rgb(dark)
    stretch = np.full(3, 0.05, np.float32)
    stretch[axis] = 0.6
    fine = stretch * np.float32(0.12)
    fine[axis] += 0.2
    first, second = (i for i in range(3) if i != axis)
    k = np.float32(np.pi / ring)

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        rings = np.abs(np.sin((p[..., first] * np.float32(0.7) + p[..., second]) * k + 9 * fbm(p, stretch, seed, 2)))
        return mix(b, a, np.clip(0.25 + 0.6 * rings + 0.35 * (noise(p, fine, seed + 9) - 0.5), 0, 1))

    return material


def striped(a: Material, b: Material, axis: int, period: float, share: float = 0.5) -> Material:
    """Alternate two materials along an axis; share is the part of the period [m] of the first."""

    def material(p: Points, uv: UV, n: Points) -> RGB:
        first = (p[..., axis] / np.float32(period)) % 1 < share
        return np.where(first[..., None], a(p, uv, n), b(p, uv, n))

    return material


def checked(colour: ArrayLike, second: ArrayLike, period: float) -> Material:
    """Return tartan-like cloth: bands along every axis that mix where they cross."""
    c, c2 = rgb(colour), rgb(second)

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        bands: Values = ((p / np.float32(period)) % 1 < 0.5).sum(-1).astype(np.float32) / np.float32(3)
        return _limit(mix(c, c2, bands) * (0.92 + 0.08 * noise(p, 0.01, 2))[..., None])

    return material


def dotted(colour: ArrayLike, second: ArrayLike, period: float) -> Material:
    """Return dots of the second colour in a lattice of a period [m]."""
    c, c2 = rgb(colour), rgb(second)

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        d = np.sin(p * np.float32(2 * np.pi / period))
        s = (d[..., 0] * d[..., 2] + d[..., 1] * d[..., 2] + d[..., 0] * d[..., 1]) > 0.55
        return _limit(np.where(s[..., None], c2, c) * (0.94 + 0.06 * noise(p, 0.01, 2))[..., None])

    return material


def blotched(colour: ArrayLike, second: ArrayLike, scale: float, threshold: float = 0.55, seed: int = 6) -> Material:
    """Return irregular flecks of the second colour: marble, flowers, terrazzo, by scale [m]."""
    c, c2 = rgb(colour), rgb(second)

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        f = fbm(p, scale, seed, 2)
        shade = (0.9 + 0.15 * noise(p, scale * 3, seed + 3))[..., None]
        return _limit(mix(c, c2, np.clip((f - threshold) * 12 + 0.5, 0, 1)) * shade)

    return material


def wicker(colour: ArrayLike, pitch: float = 0.03) -> Material:
    """Return basket weave: over and under in a lattice of a pitch [m] about the z axis."""
    c = rgb(colour)

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        around = np.arctan2(p[..., 1], p[..., 0]) * np.float32(0.18 / pitch)
        row = p[..., 2] / np.float32(pitch)
        over = np.sin(np.pi * around) * np.where(np.floor(row) % 2 > 0, np.float32(1), np.float32(-1))
        thread = np.abs(np.sin(np.pi * row))
        return _limit(c * (0.35 + 0.45 * thread + 0.2 * over * thread)[..., None])

    return material


def banded(levels: Sequence[float], materials: Sequence[Material]) -> Material:
    """Change material at levels of v (0..1): one material more than levels."""

    def material(p: Points, uv: UV, n: Points) -> RGB:
        out = materials[0](p, uv, n)
        for level, other in zip(levels, materials[1:], strict=True):
            out = np.where((uv[..., 1] > level)[..., None], other(p, uv, n), out)
        return out

    return material


def image(picture: Image.Image) -> Material:
    """Spread a picture over the patch, bilinearly."""
    pixels = np.asarray(picture.convert("RGB"), np.float32) / np.float32(255)
    height, width = pixels.shape[:2]

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        x = np.clip(uv[..., 0] * width - 0.5, 0, width - 1.001)
        y = np.clip((1 - uv[..., 1]) * height - 0.5, 0, height - 1.001)
        i, j = x.astype(np.int64), y.astype(np.int64)
        fx, fy = (x - i).astype(np.float32), (y - j).astype(np.float32)
        i1, j1 = np.minimum(i + 1, width - 1), np.minimum(j + 1, height - 1)
        return mix(mix(pixels[j, i], pixels[j, i1], fx), mix(pixels[j1, i], pixels[j1, i1], fx), fy)

    return material


def tile_coordinates(
    p: Points, axes: tuple[int, int], size: tuple[float, float], shift: float, seed: int
) -> tuple[Values, Values, Values]:
    """Cut a plane into tiles and return where in its tile each point lies (u, v in 0..1) and a random number per tile.

    Args:
        p: Local points [m].
        axes: The axes of u and v.
        size: A tile's length along u and v [m].
        shift: How far every other row is shifted, as a part of a tile.
        seed: Seed of the numbers.
    """
    v = p[..., axes[1]] / np.float32(size[1])
    row = np.floor(v)
    u = p[..., axes[0]] / np.float32(size[0]) + np.float32(shift) * row
    column = np.floor(u)
    return u - column, v - row, cell_hash(column, row, seed)
