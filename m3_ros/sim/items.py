"""What a thing of the simulated world is: its patches, the words that fit it, where it may stand."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.sim.patches import Patch, Shape


@dataclass(frozen=True)
class Support:
    """A top surface that other things may stand on, in the item frame."""

    height: float
    """Height [m]."""
    half_x: float
    """Half its width [m]."""
    half_y: float
    """Half its depth [m]."""
    centre_y: float = 0.0
    """Its centre along y [m]: things with their back at y = 0 have it in front of them."""


@dataclass(frozen=True)
class Item:
    """One thing, in its own frame: x right, z up, its front faces -y."""

    kind: str
    """Name of its kind."""
    patches: tuple[Patch, ...]
    """Its surface; where the frame's origin lies depends on the placement."""
    colours: tuple[str, ...]
    """Words that fit it, such as "red", "wooden"; may be empty."""
    support: Support | None
    """Where other things may stand on it."""
    lamp: tuple[float, float, float] | None = None
    """Position of a light in the item frame [m]."""
    shape: str = ""
    """Which of its kind's shapes it has."""

    @property
    def bounds(self) -> tuple[Float[NDArray[np.float64], "3"], Float[NDArray[np.float64], "3"]]:
        """Smallest and largest corner of all its points [m]."""
        points = np.concatenate([p.grid.reshape(-1, 3) for p in self.patches])
        return points.min(axis=0), points.max(axis=0)


class Placement(Enum):
    """Where things of a kind go, and with it where their origin lies."""

    FLOOR = auto()
    """Free on the floor: stands on z = 0, centred on the origin in x and y."""
    AGAINST_WALL = auto()
    """On the floor with its back to a wall: stands on z = 0, all of it at y <= 0."""
    ON_WALL = auto()
    """Hangs on a wall: all of it at y <= 0, the origin at the middle of its back (doors: at the floor)."""
    ON_SURFACE = auto()
    """On the support of another thing: stands on z = 0, centred in x and y."""
    SURFACE_OR_FLOOR = auto()
    """On a support or on the floor: stands on z = 0, centred in x and y."""
    CEILING = auto()
    """Hangs from the ceiling: all of it at z <= 0."""
    FLAT = auto()
    """Lies on the floor, others may stand on it: its underside is z = 0, centred in x and y."""


@dataclass(frozen=True)
class Kind:
    """A kind of thing and how to draw one."""

    name: str
    """What people call it."""
    make: Callable[[np.random.Generator, str], Item]
    """Draws size, proportions, colours and textures of a thing of one of the shapes."""
    shapes: tuple[str, ...]
    """Its shapes: meshes that differ in their parts, not only in size and colour. Named twice, drawn twice as often."""
    placement: Placement
    """Where it goes."""
    wall_height: tuple[float, float] = (0.0, 0.0)
    """On a wall: range of the origin's height above the floor [m]."""
    surfaces: tuple[str, ...] = ()
    """Kinds it may stand on."""

    def draw(self, rng: np.random.Generator, left_out: Collection[str] = ()) -> Item | None:
        """Draw a thing of any shape that is not left out (as "chair/office"); None when none remains."""
        shapes = [shape for shape in self.shapes if f"{self.name}/{shape}" not in left_out]
        if not shapes:
            return None
        shape = shapes[int(rng.integers(len(shapes)))]
        return replace(self.make(rng, shape), shape=shape)


def item(kind: str, shape: Shape, words: tuple[str, ...] = (), support: Support | None = None) -> Item:
    """Finish a shape as an item without a lamp; repeated words are dropped."""
    return Item(kind, tuple(shape.patches), tuple(dict.fromkeys(words)), support)
