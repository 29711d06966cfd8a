"""What is still free on a room's floor and walls while it is being furnished."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.geometry.pose import Transform, from_yaw

CELL_M = 0.05
CORRIDOR_M = 0.8
"""Narrowest passage that counts as walkable."""
GAP_M = 0.05
"""Smallest gap between two things."""
REACH_M = 1.0
"""A thing on the floor has walkable floor within this distance."""
LARGEST_POCKET = 0.02
"""Share of the walkable floor that a thing may cut off from the rest."""
LEAST_FREE = 0.22
"""Share of the floor that stays walkable."""
WALL_GAP_M = 0.06

Corners = Float[NDArray[np.float64], "4 2"]
Vector = Float[NDArray[np.float64], "3"]
Mask = NDArray[np.uint8]


class FloorPlan:
    """A grid of the floor on which rectangles are placed as long as one can still walk everywhere."""

    def __init__(self, size_x: float, size_y: float) -> None:
        self._half = np.array([size_x, size_y]) / 2
        cells = np.round(2 * self._half / CELL_M).astype(int)
        self._taken: Mask = np.zeros((cells[1], cells[0]), np.uint8)
        self._kept: Mask = np.zeros_like(self._taken)
        self._things: list[Mask] = []

    def contains(self, corners: Corners) -> bool:
        """Tell whether a rectangle lies inside the room."""
        return bool((np.abs(corners) <= self._half + 1e-6).all())

    def place(self, corners: Corners) -> bool:
        """Take a rectangle [m] if it is inside the room, overlaps nothing and leaves the floor walkable."""
        if not self.contains(corners):
            return False
        shape = self._draw(corners)
        if (self._grown(shape, GAP_M) & (self._taken | self._kept)).any():
            return False
        if not self._walkable(self._taken | shape, [*self._things, shape]):
            return False
        self._taken = self._taken | shape
        self._things.append(shape)
        return True

    def reserve(self, corners: Corners) -> bool:
        """Keep a rectangle clear of things if it is clear now."""
        shape = self._draw(corners)
        if (shape & self._taken).any():
            return False
        self._kept = self._kept | shape
        return True

    def _walkable(self, taken: Mask, things: list[Mask]) -> bool:
        import cv2

        framed = np.pad(1 - taken, 1)
        clearance = cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1] * CELL_M
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            (clearance > CORRIDOR_M / 2).astype(np.uint8), connectivity=4
        )
        if count < 2:
            return False
        areas = stats[1:, cv2.CC_STAT_AREA]
        if areas.max() < LEAST_FREE * taken.size * 0.5 or areas.max() < (1 - LARGEST_POCKET) * areas.sum():
            return False
        main = (labels == 1 + int(areas.argmax())).astype(np.uint8)
        near = cv2.distanceTransform(1 - main, cv2.DIST_L2, 5) * CELL_M < REACH_M
        return all(bool((near & (thing > 0)).any()) for thing in things)

    def _draw(self, corners: Corners) -> Mask:
        import cv2

        shape: Mask = np.zeros_like(self._taken)
        pixels = np.round(((corners + self._half) / CELL_M - 0.5) * 256).astype(np.int32)
        cv2.fillConvexPoly(shape, pixels, 1, lineType=cv2.LINE_8, shift=8)
        return shape

    @staticmethod
    def _grown(shape: Mask, distance: float) -> Mask:
        import cv2

        size = 2 * round(distance / CELL_M) + 1
        return np.asarray(cv2.dilate(shape, np.ones((size, size), np.uint8)), np.uint8)


@dataclass
class WallPlan:
    """One wall: what hangs on it or stands before it. Wall 0 lies at +x, then +y, -x, -y."""

    number: int
    size_x: float
    size_y: float
    height: float
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)
    """Rectangles (left, right, low, high) [m] seen from inside."""

    @property
    def length(self) -> float:
        """Length of the wall [m]."""
        return self.size_y if self.number % 2 == 0 else self.size_x

    def pose(self, along: float, height: float) -> Transform:
        """Return T_map_item of a thing with its back on the wall: its -y axis points into the room."""
        angle = self.number * np.pi / 2  # direction of the wall from the middle of the room
        distance = (self.size_x if self.number % 2 == 0 else self.size_y) / 2
        c, s = np.cos(angle), np.sin(angle)
        # the thing's x axis is the wall's outward direction turned by -90 degrees
        return from_yaw(c * distance + s * along, s * distance - c * along, angle - np.pi / 2, height)

    def draw(self, rng: np.random.Generator, lo: Vector, hi: Vector, height: float) -> float | None:
        """Draw a free place along the wall for a thing of these bounds; None when the drawn one is taken."""
        room = (self.length - (hi[0] - lo[0])) / 2 - WALL_GAP_M
        if room < 0 or height + hi[2] > self.height - 0.05:
            return None
        along = float(rng.uniform(-room, room)) - float(lo[0] + hi[0]) / 2
        left, right, low, high = self._rectangle(along, lo, hi, height)
        for a, b, c, d in self.taken:
            if left < b + WALL_GAP_M and right > a - WALL_GAP_M and low < d + WALL_GAP_M and high > c - WALL_GAP_M:
                return None
        return along

    def take(self, along: float, lo: Vector, hi: Vector, height: float) -> None:
        """Mark the place of a thing as taken."""
        self.taken.append(self._rectangle(along, lo, hi, height))

    @staticmethod
    def _rectangle(along: float, lo: Vector, hi: Vector, height: float) -> tuple[float, float, float, float]:
        return float(along + lo[0]), float(along + hi[0]), float(height + lo[2]), float(height + hi[2])
