"""Pinhole cameras. Pixel centres lie at +0.5: the image's corner is (0, 0), the first pixel's centre (0.5, 0.5)."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray


@dataclass(frozen=True)
class Camera:
    """Intrinsics of an undistorted camera."""

    width: int
    """Image width [px]."""
    height: int
    """Image height [px]."""
    fx: float
    """Focal length along x [px]."""
    fy: float
    """Focal length along y [px]."""
    cx: float
    """Principal point x [px]."""
    cy: float
    """Principal point y [px]."""

    def __post_init__(self) -> None:
        values = (self.fx, self.fy, self.cx, self.cy)
        if self.width < 1 or self.height < 1 or not np.isfinite(values).all() or self.fx <= 0 or self.fy <= 0:
            raise ValueError(
                f"a camera needs a size of at least 1x1 and positive focal lengths; got {self.width}x{self.height}, "
                f"fx={self.fx}, fy={self.fy}, cx={self.cx}, cy={self.cy}: check camera_info"
            )

    @property
    def K(self) -> Float[NDArray[np.float64], "3 3"]:
        """The 3x3 intrinsic matrix."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    @classmethod
    def from_fov(cls, width: int, height: int, horizontal_fov: float) -> "Camera":
        """Build a centred camera with square pixels from its horizontal field of view [rad]."""
        f = width / 2 / float(np.tan(horizontal_fov / 2))
        return cls(width, height, f, f, width / 2, height / 2)

    def scaled(self, width: int, height: int) -> "Camera":
        """Return the camera of the same view resized to another image size."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self, width=width, height=height, fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy
        )

    def project(self, points: Float[NDArray[np.float64], "N 3"]) -> Float[NDArray[np.float64], "N 2"]:
        """Project points of the camera frame [m] to pixels; points with z <= 0 give nan."""
        z = np.where(points[:, 2] > 0, points[:, 2], np.nan)
        return np.stack([points[:, 0] / z * self.fx + self.cx, points[:, 1] / z * self.fy + self.cy], axis=1)

    def unproject(self, depth: Float[NDArray[np.float32], "H W"]) -> Float[NDArray[np.float32], "H W 3"]:
        """Return the camera-frame point [m] of each pixel of a z-depth image [m]."""
        u = (np.arange(self.width, dtype=np.float32) + 0.5 - self.cx) / self.fx
        v = (np.arange(self.height, dtype=np.float32) + 0.5 - self.cy) / self.fy
        return np.stack([u[None] * depth, v[:, None] * depth, depth], axis=-1).astype(np.float32)
