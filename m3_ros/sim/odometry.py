"""Legged odometry: exact poses that drift with the distance walked and turned."""

from dataclasses import dataclass

import numpy as np

from m3_ros.geometry.pose import Transform, from_yaw, inverse, yaw_of


@dataclass(frozen=True)
class OdometrySettings:
    """How wrong odometry is. All zero: exact."""

    slip: float = 0.0
    """Share by which walked distances are measured too long."""
    noise_m: float = 0.0
    """Standard deviation of the position after one metre [m]; grows with the square root of the distance."""
    yaw_drift: float = 0.0
    """Systematic turn [rad/m]."""
    yaw_noise: float = 0.0
    """Standard deviation of the heading after one metre [rad]; grows with the square root of the distance."""
    seed: int = 0
    """Seed of the noise."""


class Odometry:
    """Turns exact poses into reported ones; the odom and the map frame agree at the first pose."""

    def __init__(self, settings: OdometrySettings | None = None) -> None:
        self.settings = settings or OdometrySettings()
        self._rng = np.random.default_rng(self.settings.seed)
        self._last: Transform | None = None
        self._T_odom_map: Transform = np.eye(4)

    @property
    def T_map_odom(self) -> Transform:
        """The drift so far, as a localisation would correct it."""
        return inverse(self._T_odom_map)

    def update(self, T_map_base: Transform) -> Transform:
        """Take the next exact pose; returns T_odom_base."""
        last, self._last = self._last, T_map_base
        if last is not None:
            step = inverse(last) @ T_map_base
            distance = float(np.hypot(step[0, 3], step[1, 3]))
            error = self._error(step, distance + 0.1 * abs(yaw_of(step)))
            if error is not None:
                self._T_odom_map = self._T_odom_map @ T_map_base @ error @ inverse(T_map_base)
        return self._T_odom_map @ T_map_base

    def _error(self, step: Transform, distance: float) -> Transform | None:
        """Return the wrong motion measured on top of a step, in the base frame; None when odometry is exact."""
        wrong = self.settings
        if not any((wrong.slip, wrong.noise_m, wrong.yaw_drift, wrong.yaw_noise)):
            return None
        root = np.sqrt(distance)
        x, y = step[:2, 3] * wrong.slip + self._rng.normal(0, 1, 2) * wrong.noise_m * root
        yaw = wrong.yaw_drift * distance + self._rng.normal() * wrong.yaw_noise * root
        return from_yaw(float(x), float(y), float(yaw))
