"""Boxes: upright oriented boxes of objects on a floor."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.geometry.pose import Transform


@dataclass(frozen=True)
class OrientedBox:
    """A box with its own frame: `T_map_box` puts its centre and axes into the map."""

    T_map_box: Transform
    """Pose of the centre; the axes are those of the box."""
    size: Float[NDArray[np.float64], "3"]
    """Full edge lengths [m]."""

    @property
    def centre(self) -> Float[NDArray[np.float64], "3"]:
        """Centre in the map [m]."""
        return self.T_map_box[:3, 3]

    @property
    def corners(self) -> Float[NDArray[np.float64], "8 3"]:
        """The eight corners in the map [m]."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
        return np.asarray((signs * self.size / 2) @ self.T_map_box[:3, :3].T + self.centre)

    def contains(self, points: Float[NDArray[np.float64], "N 3"], margin: float = 0.0) -> NDArray[np.bool_]:
        """Tell which points [m] lie inside, the box grown by `margin` [m] on every side."""
        local = (points - self.centre) @ self.T_map_box[:3, :3]
        return np.asarray((np.abs(local) <= self.size / 2 + margin).all(axis=1))


def upright_box(points: Float[NDArray[np.float64], "N 3"], quantile: float = 0.02) -> OrientedBox:
    """Fit the smallest upright box (rotated about z only) around points [m] but for the `quantile` at each end.

    Raises:
        ValueError: there are no points.
    """
    if len(points) == 0:
        raise ValueError("a box needs at least one point; got none")
    best: tuple[float, float, NDArray[np.float64], NDArray[np.float64]] | None = None
    for yaw in np.deg2rad(np.arange(0, 90, 5)):
        c, s = np.cos(yaw), np.sin(yaw)
        local = points[:, :2] @ np.array([[c, -s], [s, c]])
        low, high = np.quantile(local, [quantile, 1 - quantile], axis=0)
        area = float(np.prod(high - low))
        if best is None or area < best[0] - 1e-12:
            best = (area, float(yaw), low, high)
    if best is None:
        raise ValueError("a box needs at least one orientation to try")
    _, yaw, low, high = best
    c, s = np.cos(yaw), np.sin(yaw)
    bottom, top = np.quantile(points[:, 2], [quantile, 1 - quantile])
    T = np.eye(4)
    T[:2, :2] = [[c, -s], [s, c]]
    T[:2, 3] = np.array([[c, -s], [s, c]]) @ ((low + high) / 2)
    T[2, 3] = (bottom + top) / 2
    return OrientedBox(T, np.array([*(high - low), top - bottom], np.float64))
