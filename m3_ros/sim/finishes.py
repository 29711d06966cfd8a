"""Colours with names, and random surface finishes that come with the words a person would use for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from m3_ros.sim.materials import blotched, checked, dotted, fabric, leather, plain, striped, wood
from m3_ros.sim.patches import Material

Colour = NDArray[np.float32]
T = TypeVar("T")

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.8, 0.12, 0.1),
    "blue": (0.15, 0.3, 0.75),
    "green": (0.15, 0.52, 0.2),
    "yellow": (0.93, 0.8, 0.15),
    "orange": (0.95, 0.5, 0.1),
    "purple": (0.45, 0.15, 0.6),
    "pink": (0.95, 0.55, 0.7),
    "brown": (0.42, 0.26, 0.14),
    "black": (0.09, 0.09, 0.1),
    "white": (0.92, 0.92, 0.9),
    "grey": (0.5, 0.5, 0.52),
    "turquoise": (0.15, 0.65, 0.65),
    "beige": (0.85, 0.75, 0.58),
}
"""Colour words and what they mean in sRGB."""

_WOODS: tuple[tuple[tuple[float, float, float], tuple[float, float, float], tuple[str, ...]], ...] = (
    ((0.72, 0.47, 0.25), (0.48, 0.28, 0.13), ("wooden", "brown")),
    ((0.45, 0.28, 0.15), (0.30, 0.17, 0.09), ("wooden", "brown", "dark")),
    ((0.88, 0.70, 0.45), (0.70, 0.50, 0.28), ("wooden", "light")),
    ((0.90, 0.83, 0.70), (0.76, 0.66, 0.50), ("wooden", "light")),
    ((0.32, 0.22, 0.16), (0.20, 0.13, 0.09), ("wooden", "dark")),
    ((0.62, 0.33, 0.19), (0.42, 0.19, 0.10), ("wooden", "brown")),
    ((0.62, 0.58, 0.52), (0.45, 0.41, 0.36), ("wooden", "grey")),
)


_METALS = (
    ("black", (0.1, 0.1, 0.11)),
    ("grey", (0.62, 0.63, 0.65)),
    ("golden", (0.78, 0.62, 0.28)),
    ("white", (0.9, 0.9, 0.9)),
)


@dataclass(frozen=True)
class Finish:
    """A surface finish for all parts of one thing."""

    along: Callable[[int], Material]
    """The material with its grain along an axis (0, 1, 2)."""
    words: tuple[str, ...]
    """Words that fit it."""
    colour: Colour
    """Its main colour, sRGB."""

    @property
    def material(self) -> Material:
        """The material with its grain along x."""
        return self.along(0)


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Draw one of a few options."""
    return options[int(rng.integers(len(options)))]


def seed_of(rng: np.random.Generator) -> int:
    """Draw a seed for a pattern."""
    return int(rng.integers(1 << 16))


def around(rng: np.random.Generator, value: float, share: float = 0.25) -> float:
    """Draw a number around a value, at most a share away from it."""
    return float(value * rng.uniform(1 - share, 1 + share))


def draw_colour(rng: np.random.Generator, names: Sequence[str] | None = None) -> tuple[str, Colour]:
    """Draw a colour word and a shade of it."""
    name = pick(rng, tuple(COLOURS) if names is None else tuple(names))
    shade = np.array(COLOURS[name]) * rng.uniform(0.82, 1.12) + rng.normal(0, 0.02, 3)
    return name, np.clip(shade, 0.03, 0.97).astype(np.float32)


def draw_wood(rng: np.random.Generator) -> Finish:
    """Draw a kind of wood."""
    light, dark, words = pick(rng, _WOODS)
    gain, ring, seed = rng.uniform(0.9, 1.08), float(rng.uniform(0.02, 0.06)), seed_of(rng)
    a, b = (np.clip(np.array(c, np.float32) * np.float32(gain), 0, 1) for c in (light, dark))
    return Finish(lambda axis: wood(a, b, axis, ring, seed), words, (a + b) / 2)


def draw_lacquer(rng: np.random.Generator, names: Sequence[str] | None = None) -> Finish:
    """Draw an even coat of paint, plastic or powder-coated metal."""
    name, c = draw_colour(rng, names)
    material = plain(c, float(rng.uniform(0.01, 0.05)), 0.08, seed_of(rng))
    return Finish(lambda _: material, (name,), c)


def draw_finish(rng: np.random.Generator, wooden: float = 0.5) -> Finish:
    """Draw wood (with a probability), or paint, sometimes with the grain showing through."""
    if rng.random() < wooden:
        return draw_wood(rng)
    if rng.random() < 0.7:
        return draw_lacquer(rng)
    name, c = draw_colour(rng)
    ring, seed = float(rng.uniform(0.02, 0.06)), seed_of(rng)
    return Finish(lambda axis: wood(c, c * 0.8, axis, ring, seed), (name,), c)


def draw_metal(rng: np.random.Generator) -> Finish:
    """Draw the metal of legs, frames and handles."""
    name, c = pick(rng, _METALS)
    material = plain(c, 0.03, 0.05, seed_of(rng))
    return Finish(lambda _: material, (name,), np.array(c, np.float32))


def _second_colour(rng: np.random.Generator, c: Colour) -> Colour:
    """Draw the other colour of a pattern: a shade of the first, or an off-white, or near black."""
    kind = rng.random()
    if kind < 0.5:
        return c * 0.6 if c.mean() > 0.3 else np.clip(c * 1.5 + 0.25, 0, 1)
    return np.array((0.93, 0.9, 0.84) if c.mean() < 0.6 else (0.2, 0.2, 0.24), np.float32)


def draw_fabric(rng: np.random.Generator, patterned: float = 0.4) -> Finish:
    """Draw cloth: plain weave or leather, or (with a probability) stripes, checks, dots, flowers."""
    name, c = draw_colour(rng)
    seed = seed_of(rng)
    if rng.random() >= patterned:
        if rng.random() < 0.25:
            m = leather(c, seed)
            return Finish(lambda _: m, (name, "leather"), c)
        m = fabric(c, None, float(rng.uniform(0.008, 0.03)), seed)
        return Finish(lambda _: m, (name,), c)
    second, period = _second_colour(rng, c), float(rng.uniform(0.05, 0.16))
    kind = pick(rng, ("striped", "checked", "dotted", "floral"))
    if kind == "striped":
        a, b = fabric(c, None, 0.012, seed), fabric(second, None, 0.012, seed)
        return Finish(lambda axis: striped(a, b, axis, period, 0.62), (name, "striped"), c)
    if kind == "checked":
        m = checked(c, second, period)
    elif kind == "dotted":
        m = dotted(c, second, period)
    else:
        m = blotched(c, second, period * 0.7, 0.6, seed)
    words = (name, kind) if kind != "floral" else (name, "patterned")
    return Finish(lambda _: m, words, c)
