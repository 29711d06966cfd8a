"""ROS messages as rosbags deserialises them (duck-typed), turned into arrays, lenses and transforms."""

import struct
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from m3_ros.errors import RecordingError
from m3_ros.geometry.camera import Camera
from m3_ros.recording.lens import OPENCV_CENTRE, Lens
from m3_ros.recording.transform_buffer import TransformBuffer

COLOUR_ENCODINGS: dict[str, tuple[int, str | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, "COLOR_BGR2RGB"),
    "8UC3": (3, "COLOR_BGR2RGB"),
    "rgba8": (4, "COLOR_RGBA2RGB"),
    "bgra8": (4, "COLOR_BGRA2RGB"),
    "mono8": (1, "COLOR_GRAY2RGB"),
    "8UC1": (1, "COLOR_GRAY2RGB"),
    "bayer_rggb8": (1, "COLOR_BayerRGGB2RGB"),
    "bayer_bggr8": (1, "COLOR_BayerBGGR2RGB"),
    "bayer_gbrg8": (1, "COLOR_BayerGBRG2RGB"),
    "bayer_grbg8": (1, "COLOR_BayerGRBG2RGB"),
    "yuv422": (2, "COLOR_YUV2RGB_UYVY"),
    "uyvy": (2, "COLOR_YUV2RGB_UYVY"),
    "yuv422_yuy2": (2, "COLOR_YUV2RGB_YUYV"),
    "yuyv": (2, "COLOR_YUV2RGB_YUYV"),
}
"""Encoding -> bytes a pixel, OpenCV's conversion to RGB (None: it is RGB)."""

DEPTH_ENCODINGS = {"16UC1": np.uint16, "mono16": np.uint16, "32FC1": np.float32}
"""Depth encodings: integers are millimetres, floats metres."""

COMPRESSED_DEPTH_HEADER = 12
"""Bytes before the PNG in a compressedDepth message: format enum (int32), quantisation a and b (float32)."""


class Header(NamedTuple):
    """What every stamped message begins with."""

    stamp_ns: int
    """Time of the measurement [ns]."""
    frame_id: str
    """Frame of the measurement."""


def stamp_ns(header: Any) -> int:
    """Return a message header's stamp [ns]."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def peek_header(cdr: bytes | memoryview) -> Header:
    """Read stamp and frame of a stamped message without decoding the rest.

    Raises:
        RecordingError: the bytes are too short to be a stamped message.
    """
    order = "<" if len(cdr) > 1 and cdr[1] & 1 else ">"
    try:
        seconds, nanoseconds, length = struct.unpack_from(order + "iII", cdr, 4)
    except struct.error as error:
        raise RecordingError(
            f"a message of {len(cdr)} bytes is too short for a header: the bag is damaged, record it again"
        ) from error
    frame = bytes(cdr[16 : 16 + length]).rstrip(b"\0").decode("utf-8", "replace")
    return Header(seconds * 1_000_000_000 + nanoseconds, frame)


def _pixels(message: Any, dtype: Any, channels: int, topic: str) -> NDArray[Any]:
    """Return the pixels of a raw Image, honouring row padding (step) and byte order."""
    kind = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    row = int(message.width) * channels * kind.itemsize
    data = np.frombuffer(message.data, np.uint8)
    if message.step < row or data.size < message.height * message.step:
        raise RecordingError(
            f"{topic}: an image of {message.width}x{message.height} {message.encoding} needs "
            f"{message.height * max(row, message.step)} bytes; got {data.size} with step {message.step}: "
            "the driver or the recording is broken"
        )
    rows = data[: message.height * message.step].reshape(message.height, message.step)[:, :row]
    shape = (message.height, message.width) if channels == 1 else (message.height, message.width, channels)
    pixels = np.ascontiguousarray(rows).view(kind).reshape(shape)
    return np.asarray(pixels.astype(kind.newbyteorder("="), copy=False))


def decode_colour(message: Any, topic: str) -> UInt8[NDArray[np.uint8], "H W 3"]:
    """Decode a raw or compressed image message to RGB.

    Raises:
        RecordingError: the encoding is not known, or the data does not fit it.
    """
    if hasattr(message, "format"):
        return decode_picture(message.data, f"{topic} ({message.format})")
    if message.encoding not in COLOUR_ENCODINGS:
        raise RecordingError(
            f"{topic}: image encoding '{message.encoding}' is not known; known are {', '.join(COLOUR_ENCODINGS)}: "
            "choose another image topic or let the driver publish rgb8"
        )
    import cv2

    channels, conversion = COLOUR_ENCODINGS[message.encoding]
    pixels = _pixels(message, np.uint8, channels, topic)
    return pixels if conversion is None else np.asarray(cv2.cvtColor(pixels, getattr(cv2, conversion)), np.uint8)


def decode_picture(data: Any, name: str) -> UInt8[NDArray[np.uint8], "H W 3"]:
    """Decode JPEG, PNG or any other picture OpenCV knows to RGB, unrotated.

    Raises:
        RecordingError: it is no readable picture.
    """
    picture = _decode(data, name, colour=True)
    return np.asarray(picture, np.uint8)


def decode_depth_picture(data: Any, name: str) -> NDArray[Any]:
    """Decode a one-channel depth picture with its own number type.

    Raises:
        RecordingError: it is no readable picture or has several channels.
    """
    picture = _decode(data, name, colour=False)
    if picture.ndim != 2:
        raise RecordingError(
            f"{name}: depth needs one channel of 16 bits; got {picture.dtype} {picture.shape}: this is a colour picture"
        )
    return picture


def _decode(data: Any, name: str, colour: bool) -> NDArray[Any]:
    import cv2

    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION if colour else cv2.IMREAD_UNCHANGED
    buffer = np.frombuffer(data, np.uint8)
    try:
        picture = cv2.imdecode(buffer, flags) if buffer.size else None
    except cv2.error:
        picture = None
    if picture is None:
        raise RecordingError(
            f"{name}: {buffer.size} bytes are no readable picture: the file is damaged, or not JPEG or PNG"
        )
    return np.asarray(picture)


def metres(depth: NDArray[Any], unit_m: float) -> Float[NDArray[np.float32], "H W"]:
    """Scale raw depth to metres, with 0 wherever it is unknown (0, negative, nan, infinite)."""
    scaled = depth.astype(np.float32) * np.float32(unit_m)
    return np.where(np.isfinite(scaled) & (scaled > 0), scaled, np.float32(0))


def decode_depth(message: Any, topic: str) -> Float[NDArray[np.float32], "H W"]:
    """Decode a raw, compressed or compressedDepth message to metres, 0 where unknown.

    Raises:
        RecordingError: the encoding is not known, or the data does not fit it.
    """
    if hasattr(message, "format"):
        return _decode_compressed_depth(message, topic)
    if message.encoding not in DEPTH_ENCODINGS:
        raise RecordingError(
            f"{topic}: depth encoding '{message.encoding}' is not known; known are "
            f"{', '.join(DEPTH_ENCODINGS)} and compressedDepth: choose another depth topic"
        )
    dtype = DEPTH_ENCODINGS[message.encoding]
    return metres(_pixels(message, dtype, 1, topic), 1.0 if dtype is np.float32 else 0.001)


def _decode_compressed_depth(message: Any, topic: str) -> Float[NDArray[np.float32], "H W"]:
    """Decode PNG depth, with or without the 12-byte header of compressed_depth_image_transport."""
    name = f"{topic} ({message.format})"
    data = np.frombuffer(message.data, np.uint8)
    if "compressedDepth" not in message.format:
        return metres(decode_depth_picture(data, name), 0.001)
    if "rvl" in message.format.lower():
        raise RecordingError(
            f"{name}: RVL-compressed depth is not supported: record with png, or record the raw depth topic"
        )
    raw = decode_depth_picture(data[COMPRESSED_DEPTH_HEADER:], name)
    if not message.format.startswith("32FC1"):
        return metres(raw, 0.001)
    _, a, b = struct.unpack_from("<iff", data.tobytes()[:COMPRESSED_DEPTH_HEADER])
    with np.errstate(divide="ignore"):  # inverse depth: z = a / (raw - b), raw 0 is unknown
        depth = a / (raw.astype(np.float32) - np.float32(b))
    return metres(np.where(raw == 0, 0, depth), 1.0)


def is_depth_message(message: Any, topic: str) -> bool:
    """Tell whether an image message carries depth rather than colour."""
    if hasattr(message, "format"):
        return "compressedDepth" in message.format or "16UC1" in message.format or "depth" in topic.lower()
    return message.encoding in ("16UC1", "32FC1") or (message.encoding == "mono16" and "depth" in topic.lower())


def lens_of(info: Any, topic: str, rectified: bool) -> Lens:
    """Build the lens a CameraInfo describes; of a rectified image its projection P, without distortion.

    ROS counts pixels from the centre of the first one, we from its corner: the principal point moves by half a pixel.

    Raises:
        RecordingError: the camera is not calibrated or its model is not known.
    """
    K = np.asarray(info.p, np.float64).reshape(3, 4)[:, :3] if rectified else np.asarray(info.k).reshape(3, 3)
    if not K[0, 0] > 0 or not K[1, 1] > 0 or info.width < 1 or info.height < 1:
        raise RecordingError(
            f"{topic}: the camera is not calibrated (size {info.width}x{info.height}, fx={K[0, 0]:g}, fy={K[1, 1]:g}): "
            "calibrate it with camera_calibration and record again"
        )
    cx, cy = float(K[0, 2]) + OPENCV_CENTRE, float(K[1, 2]) + OPENCV_CENTRE
    camera = Camera(int(info.width), int(info.height), float(K[0, 0]), float(K[1, 1]), cx, cy)
    if rectified:
        return Lens(camera)
    return Lens(camera, info.distortion_model, tuple(float(d) for d in info.d))


def add_transforms(buffer: TransformBuffer, message: Any, static: bool) -> None:
    """Put every transform of a TFMessage into a buffer."""
    for stamped in message.transforms:
        t, q = stamped.transform.translation, stamped.transform.rotation
        buffer.add(
            stamped.header.frame_id,
            stamped.child_frame_id,
            stamp_ns(stamped.header),
            (t.x, t.y, t.z),
            (q.w, q.x, q.y, q.z),
            static,
        )


def add_odometry(buffer: TransformBuffer, message: Any) -> None:
    """Put an Odometry's pose into a buffer as the transform of its child frame."""
    p, q = message.pose.pose.position, message.pose.pose.orientation
    buffer.add(
        message.header.frame_id,
        message.child_frame_id,
        stamp_ns(message.header),
        (p.x, p.y, p.z),
        (q.w, q.x, q.y, q.z),
    )
