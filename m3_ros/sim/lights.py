"""Where light comes from in a room: flat rectangles (ceiling panels, windows) and small lamps."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

Vector = Float[NDArray[np.float64], "3"]


@dataclass(frozen=True)
class Light:
    """A diffuse rectangle that shines to one side, or a lamp that shines to all sides when it has no normal."""

    centre: Vector
    """Map frame [m]."""
    half_u: Vector
    """Half of one side [m]."""
    half_v: Vector
    """Half of the other side [m]."""
    normal: Vector | None
    """Unit direction it shines to; None: every direction."""
    radiance: Vector
    """Linear RGB."""
    housing_m: float = 0.06
    """Shadow rays stop this far from the light, so that its own shade or frame casts no shadow."""

    @property
    def area(self) -> float:
        """Area of the rectangle [m^2]."""
        return float(4 * np.linalg.norm(self.half_u) * np.linalg.norm(self.half_v))


def panel(centre: Vector, half_u: Vector, half_v: Vector, normal: Vector, radiance: Vector) -> Light:
    """Return a rectangle that shines along `normal`."""
    return Light(centre, half_u, half_v, normal, radiance)


def lamp(centre: Vector, radiance: Vector, radius_m: float = 0.12) -> Light:
    """Return a lamp that shines to all sides through its shade."""
    return Light(centre, np.array([radius_m, 0, 0]), np.array([0, radius_m, 0]), None, radiance, housing_m=0.25)
