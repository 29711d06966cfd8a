"""Lenses: distorted images as drivers give them, made pinhole images as the core wants them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from m3_ros.errors import RecordingError
from m3_ros.geometry.camera import Camera

OPENCV_CENTRE = 0.5
"""What turns a principal point of OpenCV and ROS (first pixel's centre at 0) into ours (at 0.5) [px]."""

FISHEYE_MODELS = ("equidistant", "fisheye")
POLYNOMIAL_MODELS = ("plumb_bob", "rational_polynomial", "thin_prism", "")


@dataclass(frozen=True)
class Lens:
    """A calibrated lens; principal point in this package's pixels (first pixel's centre at 0.5)."""

    camera: Camera
    """Size, focal lengths and principal point of the distorted image."""
    model: str = ""
    """ROS distortion model: plumb_bob, rational_polynomial, equidistant; empty: none."""
    coefficients: tuple[float, ...] = ()
    """Distortion coefficients in OpenCV's order."""

    def __post_init__(self) -> None:
        if not self.distorted:
            return
        if self.model in FISHEYE_MODELS:
            fits = len(self.coefficients) == 4
        else:
            fits = self.model in POLYNOMIAL_MODELS and len(self.coefficients) in (4, 5, 8, 12, 14)
        if not fits:
            raise RecordingError(
                f"distortion model '{self.model}' with {len(self.coefficients)} coefficients is not known; "
                "known are plumb_bob (4 or 5), rational_polynomial (8) and equidistant (4): "
                "record the rectified image topic instead"
            )

    @property
    def distorted(self) -> bool:
        """Whether the image must be remapped."""
        return any(self.coefficients)

    def resized(self, width: int, height: int) -> "Lens":
        """Return the lens for the same view at another image size."""
        return Lens(self.camera.scaled(width, height), self.model, self.coefficients)

    @cached_property
    def pinhole(self) -> Camera:
        """The camera of the undistorted image: same size, cropped so that no black border is left."""
        if not self.distorted:
            return self.camera
        import cv2

        size = (self.camera.width, self.camera.height)
        if self.model in FISHEYE_MODELS:
            K = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
                self._opencv_K, np.array(self.coefficients), size, np.eye(3), balance=0.0
            )
        else:
            K = cv2.getOptimalNewCameraMatrix(self._opencv_K, np.array(self.coefficients), size, 0.0)[0]
        return Camera(*size, float(K[0, 0]), float(K[1, 1]), float(K[0, 2] + 0.5), float(K[1, 2] + 0.5))

    def undistort(self, image: UInt8[NDArray[np.uint8], "H W 3"]) -> UInt8[NDArray[np.uint8], "H W 3"]:
        """Remap colours to the pinhole image, bilinearly."""
        if not self.distorted:
            return image
        import cv2

        return np.asarray(cv2.remap(image, *self._maps, cv2.INTER_LINEAR), np.uint8)

    def undistort_depth(self, depth: Float[NDArray[np.float32], "H W"]) -> Float[NDArray[np.float32], "H W"]:
        """Remap z-depth [m] to the pinhole image by nearest pixel: depths of two surfaces must not be mixed."""
        if not self.distorted:
            return depth
        import cv2

        return np.asarray(cv2.remap(depth, *self._maps, cv2.INTER_NEAREST), np.float32)

    @property
    def _opencv_K(self) -> NDArray[np.float64]:
        K = self.camera.K
        K[:2, 2] -= OPENCV_CENTRE
        return K

    @cached_property
    def _maps(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        import cv2

        K_new = self.pinhole.K
        K_new[:2, 2] -= OPENCV_CENTRE
        size = (self.camera.width, self.camera.height)
        make = cv2.fisheye.initUndistortRectifyMap if self.model in FISHEYE_MODELS else cv2.initUndistortRectifyMap
        x, y = make(self._opencv_K, np.array(self.coefficients), np.eye(3), K_new, size, cv2.CV_32FC1)
        return x, y
