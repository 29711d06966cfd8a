"""Image messages to arrays and back: decoded as the reader of recordings does, exotic encodings by cv_bridge.

cv_bridge is not imported otherwise: the builds of Humble and Jazzy abort beside NumPy 2
(ros-perception/vision_opencv#535).
"""

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from m3_ros.errors import RecordingError
from m3_ros.nodes.conversions import header
from m3_ros.recording.messages import COLOUR_ENCODINGS, decode_colour, decode_depth

WRITTEN: dict[str, tuple[type[np.generic], int]] = {
    "rgb8": (np.uint8, 3),
    "bgr8": (np.uint8, 3),
    "mono8": (np.uint8, 1),
    "16UC1": (np.uint16, 1),
    "32FC1": (np.float32, 1),
}
"""Pixel type and number of channels of the encodings that from_numpy writes."""


def to_rgb(message: Image | CompressedImage, topic: str = "image") -> UInt8[NDArray[np.uint8], "H W 3"]:
    """Decode a colour image message, honouring row padding and byte order.

    Raises:
        RecordingError: the encoding is unknown here and cv_bridge is missing, or the data do not fit the encoding.
    """
    if hasattr(message, "format") or message.encoding in COLOUR_ENCODINGS:
        return decode_colour(message, topic)
    try:
        from cv_bridge import CvBridge
    except (ImportError, AttributeError) as error:
        raise RecordingError(
            f"{topic}: image encoding {message.encoding!r} is unknown (known: {', '.join(COLOUR_ENCODINGS)}) and "
            f"cv_bridge is not usable ({error}): let the driver publish rgb8"
        ) from error
    return np.asarray(CvBridge().imgmsg_to_cv2(message, "rgb8"), np.uint8)


def to_depth(message: Image | CompressedImage, topic: str = "depth") -> Float[NDArray[np.float32], "H W"]:
    """Decode a depth image message to metres, 0 where unknown.

    Raises:
        RecordingError: the encoding is unknown, or the data do not fit it.
    """
    return decode_depth(message, topic)


def from_numpy(pixels: NDArray[Any], encoding: str, frame_id: str, stamp_ns: int) -> Image:
    """Build an image message from [H, W] or [H, W, channels].

    Raises:
        ValueError: the array does not fit the encoding.
    """
    kind, channels = WRITTEN[encoding]
    expected = pixels.shape[:2] if channels == 1 else (*pixels.shape[:2], channels)
    if pixels.dtype != kind or pixels.shape != expected:
        raise ValueError(f"{encoding} needs {np.dtype(kind)} {expected}; got {pixels.dtype} {pixels.shape}")
    message = Image(header=header(frame_id, stamp_ns), encoding=encoding)
    message.height, message.width = pixels.shape[:2]
    message.step = message.width * channels * pixels.dtype.itemsize
    # Assigning an array or a list makes rclpy check each element: 20 to 50 ms for 640x480. This takes 0.03 ms.
    message.data.frombytes(np.ascontiguousarray(pixels).data.cast("B"))
    return message


def depth_to_millimetres(depth: Float[NDArray[np.float32], "H W"]) -> NDArray[np.uint16]:
    """Return depth [m] as the 16-bit millimetres of 16UC1 (REP-118); 0 where unknown or beyond 65 m."""
    millimetres = np.rint(depth * np.float32(1000))
    return np.where(np.isfinite(millimetres) & (millimetres < 65536), millimetres, 0).astype(np.uint16)
