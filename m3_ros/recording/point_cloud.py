"""Point clouds of a recording, in the map: lidar scans of a bag, or the PLY file that a transforms.json names.

Points only help: what is broken about them is named in the log and left out, it does not stop a training.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from m3_ros.errors import RecordingError
from m3_ros.geometry.pose import Transform, apply
from m3_ros.recording import posed_sequence
from m3_ros.recording.bag import is_bag, survey
from m3_ros.recording.messages import peek_header
from m3_ros.recording.motion import CameraPath
from m3_ros.recording.storage import Bag, RawMessage, decode
from m3_ros.recording.topics import BagTopics

log = logging.getLogger(__name__)

CLOUD_TYPE = "sensor_msgs/msg/PointCloud2"
_KINDS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
"""Number types by sensor_msgs/PointField datatype."""
_BETWEEN_M = (0.3, 100.0)
"""Distances from the sensor that are believed [m]: nearer lies the robot itself, and a lost echo is at 0."""
_SCANS = 400
"""Scans read of a topic, evenly spread."""
_VOXEL_M = 0.02
"""Points nearer than this to each other are one [m]."""
_HELD = 3_000_000
"""Points held before they are thinned out."""


@dataclass(frozen=True)
class PointCloud:
    """Measured points of the place."""

    points: Float[NDArray[np.float32], "N 3"]
    """In the map [m]."""
    colours: Float[NDArray[np.float32], "N 3"] | None
    """RGB in [0, 1]; None: the sensor has none."""
    source: str
    """Where they come from, in words."""

    def __len__(self) -> int:
        return len(self.points)


def read_points(path: Path | str, topics: BagTopics | None = None) -> PointCloud | None:
    """Return the point cloud of a recording, thinned to 2 cm; None where there is none, or none that can be used.

    Args:
        path: a recording as `read` takes it.
        topics: the topics of a bag that its frames are read by.

    Raises:
        RecordingError: the recording itself cannot be read.
    """
    path = Path(path)
    if posed_sequence.is_posed_sequence(path):
        sequence = posed_sequence.parse(path)
        if sequence.points is None:
            return None
        try:
            cloud = read_ply_points(sequence.points)
        except RecordingError as error:
            log.warning("going on without the point cloud: %s", error)
            return None
        return thinned(replace(cloud, points=(cloud.points @ sequence.R_map_world.T).astype(np.float32)))
    return _bag_points(path, topics) if is_bag(path) else None


def thinned(cloud: PointCloud, voxel_m: float = _VOXEL_M) -> PointCloud:
    """Keep the first point of each cube [m], and nothing that is not finite."""
    sound = np.isfinite(cloud.points).all(1)
    points = cloud.points[sound]
    if len(points) == 0:
        return PointCloud(points, None if cloud.colours is None else cloud.colours[sound], cloud.source)
    cells = np.clip((points.astype(np.float64) - points.min(0)) / voxel_m, 0, 2**20).astype(np.int64)
    first = np.sort(np.unique((cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2], return_index=True)[1])
    return PointCloud(points[first], None if cloud.colours is None else cloud.colours[sound][first], cloud.source)


def read_ply_points(path: Path) -> PointCloud:
    """Read the vertices of a PLY file, with their colours where it has `red`, `green` and `blue`.

    Raises:
        RecordingError: it is missing or damaged, or has no points.
    """
    from plyfile import PlyData, PlyParseError

    try:
        vertices = PlyData.read(str(path))["vertex"].data
        points = np.stack([np.asarray(vertices[axis], np.float32) for axis in ("x", "y", "z")], 1)
    except FileNotFoundError as error:
        raise RecordingError(f"the point cloud {path} is missing: copy it there or drop `ply_file_path`") from error
    except (PlyParseError, OSError, ValueError, KeyError, IndexError, MemoryError, OverflowError) as error:
        raise RecordingError(
            f"{path} is no point cloud in PLY format ({type(error).__name__}: {error}): write it again"
        ) from error
    sound = np.isfinite(points).all(1)
    if not sound.any():
        raise RecordingError(f"{path} holds no point with finite x, y and z: write it again")
    colours = None
    if {"red", "green", "blue"} <= set(vertices.dtype.names or ()):
        colours = _unit_colours(np.stack([np.asarray(vertices[c]) for c in ("red", "green", "blue")], 1))[sound]
    return PointCloud(points[sound], colours, path.name)


def _unit_colours(colours: NDArray[Any]) -> Float[NDArray[np.float32], "N 3"]:
    """Bring colours to [0, 1]: integers by the range of their type, floats by their largest value."""
    if np.issubdtype(colours.dtype, np.integer):
        top = float(np.iinfo(colours.dtype).max)
    else:
        top = 255.0 if np.nanmax(colours) > 1.5 else 1.0
    return np.asarray(np.nan_to_num(np.clip(colours.astype(np.float32) / np.float32(top), 0, 1)), np.float32)


def _bag_points(path: Path, topics: BagTopics | None) -> PointCloud | None:
    """Put the scans of every cloud topic of a bag into the map."""
    bag = Bag(path)
    found = bag.of_type(CLOUD_TYPE)
    if not found:
        return None
    where = survey(path, topics).path
    parts = [part for topic in found for part in _scans(bag, topic.name, max(1, topic.count // _SCANS), where)]
    if not parts:
        log.warning("%s has point clouds, but none that can be used: going on without them", path)
        return None
    coloured = all(part.colours is not None for part in parts)
    return _merged(parts, coloured, ", ".join(topic.name for topic in found))


def _scans(bag: Bag, topic: str, every: int, where: CameraPath) -> list[PointCloud]:
    """Read every so-manieth scan of a topic; broken ones and those without a pose are counted and told."""
    parts: list[PointCloud] = []
    broken = seen = 0
    for number, raw in enumerate(bag.messages([topic])):
        if number % every:
            continue
        seen += 1
        try:
            parts.append(_in_map(decode_cloud(decode(raw), topic), raw, where))
        except RecordingError as error:
            broken += 1
            reason = error
        if sum(map(len, parts)) > _HELD:
            parts = [_merged(parts, all(part.colours is not None for part in parts), topic)]
    if broken:
        log.warning("%d of %d point clouds on %s are left out; the last: %s", broken, seen, topic, reason)
    return [part for part in parts if len(part)]


def _in_map(cloud: PointCloud, raw: RawMessage, where: CameraPath) -> PointCloud:
    """Move a scan from its sensor's frame into the map as it stood at the stamp."""
    header = peek_header(raw.data)
    frame = header.frame_id.lstrip("/")
    distance = np.linalg.norm(cloud.points, axis=1)
    kept = np.isfinite(distance)
    if frame == where.fixed_frame:
        T_map_sensor: Transform = np.eye(4)
    else:
        T_map_sensor = replace(where, camera_frame=frame).pose(header.stamp_ns)
        kept &= (distance > _BETWEEN_M[0]) & (distance < _BETWEEN_M[1])
    points = apply(T_map_sensor, cloud.points[kept].astype(np.float64)).astype(np.float32)
    return thinned(PointCloud(points, None if cloud.colours is None else cloud.colours[kept], cloud.source))


def _merged(parts: list[PointCloud], coloured: bool, source: str) -> PointCloud:
    points = np.concatenate([part.points for part in parts])
    colours = np.concatenate([part.colours for part in parts if part.colours is not None]) if coloured else None
    return thinned(PointCloud(points, colours, source))


def decode_cloud(message: Any, topic: str) -> PointCloud:
    """Decode a PointCloud2 to points in its own frame; colours where it has a packed `rgb` or `rgba`.

    Raises:
        RecordingError: a field is missing or of no known type, or the data does not fit the stated size.
    """
    fields = {field.name: field for field in message.fields}
    missing = {"x", "y", "z"} - set(fields)
    if missing:
        raise RecordingError(f"{topic}: a point cloud needs the fields x, y and z; it has {sorted(fields)}")
    packed = next((name for name in ("rgb", "rgba") if name in fields), None)
    wanted = ["x", "y", "z"] + ([packed] if packed else [])
    unknown = [name for name in wanted if fields[name].datatype not in _KINDS]
    if unknown:
        raise RecordingError(f"{topic}: field {unknown[0]} has datatype {fields[unknown[0]].datatype}: wanted 1 to 8")
    order = ">" if message.is_bigendian else "<"
    kinds = {name: np.dtype(order + _KINDS[fields[name].datatype]) for name in wanted}
    rows = _rows(message, max(fields[name].offset + kinds[name].itemsize for name in wanted), topic)
    columns = {
        name: np.ascontiguousarray(rows[:, fields[name].offset : fields[name].offset + kind.itemsize]).view(kind)[:, 0]
        for name, kind in kinds.items()
    }
    points = np.stack([columns[axis].astype(np.float32) for axis in ("x", "y", "z")], 1)
    if packed is None or kinds[packed].itemsize != 4:
        return PointCloud(points, None, topic)
    return PointCloud(points, _unpacked_colours(columns[packed].view(order + "u4")), topic)


def _rows(message: Any, needed: int, topic: str) -> Int[NDArray[np.uint8], "N point_step"]:
    """Return the bytes of each point, row padding left out."""
    width, height, step, row = (int(x) for x in (message.width, message.height, message.point_step, message.row_step))
    data = np.frombuffer(message.data, np.uint8)
    if step < needed or row < width * step or data.size < height * row:
        raise RecordingError(
            f"{topic}: a cloud of {width}x{height} points of {step} bytes, {needed} of them used, does not fit "
            f"{data.size} bytes in rows of {row}: the driver or the recording is broken"
        )
    return data[: height * row].reshape(height, row)[:, : width * step].reshape(height * width, step)


def _unpacked_colours(packed: NDArray[Any]) -> Float[NDArray[np.float32], "N 3"]:
    """Split PCL's packed colours 0xAARRGGBB."""
    bits = packed.astype(np.uint32)
    return np.stack([(bits >> shift & 255).astype(np.float32) / 255 for shift in (16, 8, 0)], 1)
