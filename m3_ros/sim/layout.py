"""A seed -> a furnished room: its size, what stands where, and its lights.

Things never overlap, and the floor between them stays walkable: every accepted thing leaves one connected free area
with passages at least `CORRIDOR_M` wide, from which each thing on the floor can be approached.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.errors import SimulationError
from m3_ros.geometry.pose import Transform, from_yaw
from m3_ros.sim.floorplan import FloorPlan, WallPlan
from m3_ros.sim.kinds import KINDS, Item, Kind, Placement
from m3_ros.sim.lights import Light, lamp, panel
from m3_ros.sim.materials import plain
from m3_ros.sim.patches import Shape
from m3_ros.sim.shell import ceiling_material, floor_material, wall_material

SMALLEST_ROOM_M, LARGEST_ROOM_M = (4.6, 4.0, 2.4), (7.0, 6.0, 2.9)
SMALLEST_COMPLETE_M, LARGEST_COMPLETE_M = (6.8, 5.8, 2.5), (7.4, 6.2, 2.7)
PRESENCE = 0.5
"""Share of the kinds that a random room tries to hold."""
OFTEN = {
    **dict.fromkeys(("chair", "tv", "monitor", "cushion", "plant", "tv stand", "table"), 0.85),
    **dict.fromkeys(("lamp", "mug", "ladder", "umbrella", "coffee table", "sofa", "trash bin"), 0.65),
}
"""The same for kinds that are hard to place or to learn, or that others stand on."""
DEMO_SEED = 12
"""With `complete`, a pleasant living room; each thing in it is seen often on the patrol."""
TRIES = 40
"""Places tried for a thing."""
DRAWS = 6
"""Things of a kind tried in a complete room, where one must fit."""
RUG_THICKNESS_M = 0.002
SEVERAL = {"chair": 4, "book": 3, "mug": 3, "cushion": 3, "painting": 3, "plant": 2, "window": 2, "ceiling light": 2}
"""Largest number of a kind in a random room, where it is not 2."""
BULKY = ("table", "coffee table", "bed", "sofa", "armchair", "bookshelf", "wardrobe", "refrigerator", "dresser")
"""Kinds that are placed before others of their sort."""
NOT_IN_A_LIVING_ROOM = (
    *("bed", "wardrobe", "dresser", "refrigerator", "washing machine", "microwave", "armchair", "curtain", "monitor"),
    *("umbrella", "ladder"),
)
"""Kinds that a complete room does without."""
COMPLETE = {"chair": 3, "ceiling light": 2, "painting": 2, "cushion": 2, **dict.fromkeys(NOT_IN_A_LIVING_ROOM, 0)}
"""Number of a kind in a complete room, where it is not 1."""


@dataclass(frozen=True)
class Placed:
    """One thing in its place."""

    item: Item
    T_map_item: Transform
    name: str
    """Its kind, with a number from the second of its kind on."""


@dataclass(frozen=True)
class Room:
    """A furnished room; the map frame lies in the middle of its floor."""

    seed: int
    size: tuple[float, float, float]
    """Along x, y and z [m]."""
    items: tuple[Placed, ...]
    """Floor, ceiling and walls first."""
    lights: tuple[Light, ...]


def build_room(seed: int, *, complete: bool = False, left_out: Collection[str] = ()) -> Room:
    """Furnish the room of a seed.

    Args:
        seed: Chooses everything.
        complete: Try to place one of each kind that fits a living room in a large room, not a random choice.
        left_out: Shapes that no thing has, as "chair/office".

    Raises:
        SimulationError: there is no such shape.
    """
    known = {f"{kind.name}/{shape}" for kind in KINDS.values() for shape in kind.shapes}
    if strange := sorted(set(left_out) - known):
        raise SimulationError(f"no shape is called {strange[0]!r}: choose from {', '.join(sorted(known))}")
    builder = _Builder(np.random.default_rng(seed), complete, frozenset(left_out))
    builder.furnish()
    return Room(seed, builder.size, tuple(builder.placed), tuple(builder.lights()))


@dataclass(frozen=True)
class _Surface:
    """The support of a placed thing and what already stands on it."""

    base: Placed
    taken: list[tuple[float, float, float]] = field(default_factory=list)
    """Centre and radius [m] in the base's frame."""


class _Builder:
    """Places one thing after another."""

    def __init__(self, rng: np.random.Generator, complete: bool, left_out: frozenset[str]) -> None:
        self.rng, self.complete, self.left_out = rng, complete, left_out
        lo, hi = (SMALLEST_COMPLETE_M, LARGEST_COMPLETE_M) if complete else (SMALLEST_ROOM_M, LARGEST_ROOM_M)
        x, y, z = (float(v) for v in rng.uniform(lo, hi))
        self.size = (x, y, z)
        self.floor = FloorPlan(x, y)
        self.walls = [WallPlan(k, x, y, z) for k in range(4)]
        self.placed: list[Placed] = []
        self.surfaces: list[_Surface] = []
        self.count: Counter[str] = Counter()
        self._number_of_lights = 2 if complete or max(x, y) > 5.4 else int(rng.integers(1, 3))

    def furnish(self) -> None:
        """Place the shell and then all kinds, the ones that need most room first."""
        for item in _shell(self.size, self.rng):
            self._put(item, np.eye(4))
        for kind in self._wanted():
            for _ in range(DRAWS if self.complete else 1):
                drawn = kind.draw(self.rng, self.left_out)
                if drawn is None or any(self._try(kind, drawn) for _ in range(TRIES)):
                    break

    def lights(self) -> list[Light]:
        """Return the lights of the placed things; a room without any gets a panel in the middle of its ceiling."""
        rng = self.rng
        tint = rng.uniform(0.8, 1, 3) * np.array([1.1, 1.0, 0.9])
        lights = []
        for placed in self.placed:
            lo, hi = _box_in_map(placed)
            centre, half = (lo + hi) / 2, np.maximum((hi - lo) / 2, 0.15)
            if KINDS_PLACEMENT.get(placed.item.kind) is Placement.CEILING:
                centre[2] = lo[2] - 0.02
                radiance = tint * rng.uniform(9, 14) * np.clip(0.5 / (half[0] * half[1] * 4), 0.5, 4)
                lights.append(panel(centre, half * [1, 0, 0], half * [0, 1, 0], np.array([0, 0, -1.0]), radiance))
            elif placed.item.kind == "window":
                lights.append(_daylight(placed, rng.uniform(3, 12) * np.array([0.85, 0.93, 1.0])))
            elif placed.item.lamp is not None:
                at = placed.T_map_item[:3, :3] @ placed.item.lamp + placed.T_map_item[:3, 3]
                lights.append(lamp(at, rng.uniform(1.5, 7) * np.array([1.0, 0.8, 0.5])))
        if not any(light.normal is not None and light.normal[2] < 0 for light in lights):
            middle = np.array([0, 0, self.size[2] - 0.02])
            lights.append(
                panel(middle, np.array([0.5, 0, 0]), np.array([0, 0.5, 0]), np.array([0, 0, -1.0]), 12 * tint)
            )
        return lights

    def _wanted(self) -> list[Kind]:
        """Draw which things to place, in the order of placing."""
        rank = {
            Placement.CEILING: 0,
            Placement.AGAINST_WALL: 2,
            Placement.FLAT: 4,
            Placement.FLOOR: 3,
            Placement.ON_SURFACE: 5,
            Placement.SURFACE_OR_FLOOR: 6,
            Placement.ON_WALL: 7,
        }
        wanted: list[tuple[float, Kind]] = []
        for kind in KINDS.values():
            first = kind.name in ("door", "window")
            for number in range(self._number(kind.name)):
                order = 1.0 if first else rank[kind.placement] - (0.5 if kind.name in BULKY else 0.0)
                wanted.append((order + 0.4 * min(number, 1) + 0.3 * self.rng.random(), kind))
        return [kind for _, kind in sorted(wanted, key=lambda entry: entry[0])]

    def _number(self, name: str) -> int:
        if self.complete:
            return COMPLETE.get(name, 1)
        if name == "ceiling light":
            return self._number_of_lights
        if self.rng.random() > OFTEN.get(name, PRESENCE):
            return 0
        most = SEVERAL.get(name, 2)
        return 1 if self.rng.random() < 0.6 else int(self.rng.integers(1, most + 1))

    def _try(self, kind: Kind, item: Item) -> bool:
        place = kind.placement
        if place is Placement.CEILING:
            return self._try_ceiling(item)
        if place in (Placement.AGAINST_WALL, Placement.ON_WALL):
            return self._try_wall(kind, item)
        if place is Placement.FLAT:
            return self._try_flat(item)
        if place is Placement.ON_SURFACE or (place is Placement.SURFACE_OR_FLOOR and self.rng.random() < 0.6):
            return self._try_surface(kind, item)
        return self._try_floor(item)

    def _try_ceiling(self, item: Item) -> bool:
        x, y, z = self.size
        number = self.count[item.kind]
        spread = 0.0 if number == 0 and self._number_of_lights == 1 else 0.25 * (1 if number % 2 else -1)
        at = (np.array([x >= y, x < y]) * spread + self.rng.uniform(-0.05, 0.05, 2)) * (x, y)
        lo, hi = item.bounds
        for other in self.placed:
            if KINDS_PLACEMENT.get(other.item.kind) is Placement.CEILING:
                gap = np.abs(other.T_map_item[:2, 3] - at) - (hi - lo)[:2]
                if (gap < 0.3).all():
                    return False
        self._put(item, from_yaw(at[0], at[1], float(self.rng.integers(4)) * np.pi / 2, z))
        return True

    def _try_wall(self, kind: Kind, item: Item) -> bool:
        wall = self.walls[int(self.rng.integers(4))]
        lo, hi = item.bounds
        standing = kind.placement is Placement.AGAINST_WALL
        height = 0.0 if standing else float(self.rng.uniform(*kind.wall_height))
        spot = wall.draw(self.rng, lo, hi, height)
        if spot is None:
            return False
        T = wall.pose(spot, height)
        if standing and not self.floor.place(_footprint(item, T)):
            return False
        if kind.name == "door" and not self.floor.reserve(_footprint(item, T, front=0.8)):
            return False
        wall.take(spot, lo, hi, height)
        self._put(item, T)
        return True

    def _try_flat(self, item: Item) -> bool:
        x, y, _ = self.size
        at = self.rng.uniform(-0.3, 0.3, 2) * (x, y)
        T = from_yaw(at[0], at[1], self._square_yaw(), RUG_THICKNESS_M)
        if not self.floor.contains(_footprint(item, T)):
            return False
        self._put(item, T)
        return True

    def _try_floor(self, item: Item) -> bool:
        lo, hi = item.bounds
        large = float((hi - lo)[:2].max()) > 0.7
        table = next((p for p in self.placed if p.item.kind == "table"), None)
        if item.kind == "chair" and table is not None and self.rng.random() < 0.6:
            T = self._beside(table, hi - lo)
        else:
            x, y = self.rng.uniform(-0.5, 0.5, 2) * self.size[:2]
            T = from_yaw(x, y, self._square_yaw() if large else float(self.rng.uniform(-np.pi, np.pi)))
        if not self.floor.place(_footprint(item, T)):
            return False
        self._put(item, T)
        return True

    def _beside(self, table: Placed, size: Float[NDArray[np.float64], "3"]) -> Transform:
        """Draw a pose at one side of a table, facing it."""
        lo, hi = table.item.bounds
        side = int(self.rng.integers(4))
        angle = side * np.pi / 2  # direction from the table to the chair, in the table's frame
        half = (hi - lo)[0 if side % 2 == 0 else 1] / 2
        gap = half + size[1] / 2 + self.rng.uniform(0.06, 0.2)
        along = self.rng.uniform(-0.25, 0.25) * (hi - lo)[1 if side % 2 == 0 else 0]
        c, s = np.cos(angle), np.sin(angle)
        local = from_yaw(c * gap - s * along, s * gap + c * along, angle - np.pi / 2 + self.rng.normal(0, 0.15))
        return np.asarray(table.T_map_item @ local)

    def _try_surface(self, kind: Kind, item: Item) -> bool:
        options = [s for s in self.surfaces if s.base.item.kind in kind.surfaces]
        if not options:
            return False
        surface = options[int(self.rng.integers(len(options)))]
        support = surface.base.item.support
        if support is None:
            return False
        lo, hi = item.bounds
        half = (hi - lo)[:2] / 2
        room = np.array([support.half_x, support.half_y]) - 0.8 * half
        if (room < -0.06).any():
            return False
        x, y = self.rng.uniform(-1, 1, 2) * np.maximum(room, 0)
        y += support.centre_y
        radius = float(half.max() if half.max() < 2 * half.min() else half.mean())
        if any(np.hypot(x - a, y - b) < radius + r for a, b, r in surface.taken):
            return False
        surface.taken.append((x, y, radius))
        yaw = self.rng.normal(0, 0.25) if max(half) > 0.12 else self.rng.uniform(-np.pi, np.pi)
        if room.min() < 0.03:  # it just fits: straight
            yaw = 0.0
        self._put(item, surface.base.T_map_item @ from_yaw(x, y, float(yaw), support.height))
        return True

    def _square_yaw(self) -> float:
        return float(self.rng.integers(4) * np.pi / 2 + self.rng.normal(0, 0.12) * (self.rng.random() < 0.5))

    def _put(self, item: Item, T_map_item: Transform) -> None:
        self.count[item.kind] += 1
        number = self.count[item.kind]
        placed = Placed(item, T_map_item, item.kind if number == 1 else f"{item.kind} {number}")
        self.placed.append(placed)
        if item.support is not None:
            self.surfaces.append(_Surface(placed))


KINDS_PLACEMENT = {kind.name: kind.placement for kind in KINDS.values()}


def _footprint(item: Item, T_map_item: Transform, front: float = 0.0) -> Float[NDArray[np.float64], "4 2"]:
    """Return the corners of a thing's rectangle on the floor, with some metres more in front of it."""
    (x0, y0, _), (x1, y1, _) = item.bounds
    corners = np.array([[x0, y0 - front], [x1, y0 - front], [x1, y1], [x0, y1]])
    return np.asarray(corners @ T_map_item[:2, :2].T + T_map_item[:2, 3])


def _box_in_map(placed: Placed) -> tuple[Float[NDArray[np.float64], "3"], Float[NDArray[np.float64], "3"]]:
    lo, hi = placed.item.bounds
    corners = np.array([[x, y, z] for x in (lo[0], hi[0]) for y in (lo[1], hi[1]) for z in (lo[2], hi[2])])
    points = corners @ placed.T_map_item[:3, :3].T + placed.T_map_item[:3, 3]
    return points.min(axis=0), points.max(axis=0)


def _daylight(window: Placed, radiance: Float[NDArray[np.float64], "3"]) -> Light:
    lo, hi = window.item.bounds
    R, at = window.T_map_item[:3, :3], window.T_map_item[:3, 3]
    local = np.array([(lo[0] + hi[0]) / 2, lo[1] - 0.02, (lo[2] + hi[2]) / 2])
    half = (hi - lo) / 2 * 0.9
    return panel(R @ local + at, R @ [half[0], 0, 0], R @ [0, 0, half[2]], R @ [0, -1.0, 0], radiance)


def _shell(size: tuple[float, float, float], rng: np.random.Generator) -> list[Item]:
    """Return floor, ceiling and four walls with skirting boards, in the map frame."""
    x, y, z = size[0] / 2, size[1] / 2, size[2]
    floor = Shape().quad([(-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, y, 0)], floor_material(rng))
    ceiling = Shape().quad([(-x, y, z), (x, y, z), (x, -y, z), (-x, -y, z)], ceiling_material(rng), texel_scale=0.4)
    items = [Item("floor", tuple(floor.patches), (), None), Item("ceiling", tuple(ceiling.patches), (), None)]
    corners = [(x, y), (x, -y), (-x, -y), (-x, y)]
    board = plain(rng.uniform(0.75, 0.95, 3) * rng.uniform(0.3, 1), 0.02)
    same = wall_material(rng, 0) if rng.random() < 0.4 else None
    for k in range(4):
        a, b = np.array(corners[k]), np.array(corners[(k + 1) % 4])
        axis = 1 if k % 2 == 0 else 0
        material = wall_material(rng, axis) if same is None or rng.random() < 0.3 else same
        wall = Shape().quad([(*a, 0), (*b, 0), (*b, z), (*a, z)], material)
        centre, inward = (a + b) / 2, -(a + b) / np.linalg.norm(a + b)
        length = np.abs(b - a) + 0.02 * np.abs(inward)
        wall.box((*(centre + 0.01 * inward), 0.05), (*length, 0.1), board, texel_scale=0.6, skip=("z-",))
        items.append(Item("wall", tuple(wall.patches), (), None))
    return items
