"""Frame: the one thing every source of recordings yields."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from m3_ros.errors import RecordingError
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import Transform, is_rigid


@dataclass(frozen=True)
class Frame:
    """One posed picture of the place."""

    stamp_ns: int
    """Time of exposure [ns], from the message header."""
    rgb: UInt8[NDArray[np.uint8], "H W 3"]
    """Undistorted colours, sRGB."""
    camera: Camera
    """Intrinsics; its size is the size of `rgb`."""
    T_map_camera: Transform
    """Pose of the camera (OpenCV axes) in the map (z up) [m]."""
    depth: Float[NDArray[np.float32], "H W"] | None = None
    """z-depth [m] registered to `rgb`; 0 where unknown."""

    def __post_init__(self) -> None:
        shape = (self.camera.height, self.camera.width)
        if self.rgb.shape != (*shape, 3) or self.rgb.dtype != np.uint8:
            raise RecordingError(
                f"a frame needs an 8-bit RGB image of {shape[1]}x{shape[0]} as its camera says; "
                f"got {self.rgb.dtype} {self.rgb.shape}"
            )
        if self.depth is not None and self.depth.shape != shape:
            raise RecordingError(
                f"depth must be registered to the image ({shape[1]}x{shape[0]}); got {self.depth.shape[::-1]}: "
                "record the aligned depth topic"
            )
        if not is_rigid(self.T_map_camera):
            raise RecordingError(
                f"frame at {self.stamp_ns} ns has no valid pose: the matrix is not a rotation plus translation"
            )
