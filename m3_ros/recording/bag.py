"""Posed frames out of any rosbag2 recording."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.errors import RecordingError
from m3_ros.geometry.pose import Transform
from m3_ros.recording.frame import Frame
from m3_ros.recording.lens import Lens
from m3_ros.recording.messages import (
    add_odometry,
    add_transforms,
    decode_colour,
    decode_depth,
    lens_of,
    peek_header,
)
from m3_ros.recording.motion import CameraPath, Motion, camera_path
from m3_ros.recording.storage import SUFFIXES, Bag, RawMessage, decode
from m3_ros.recording.summary import RecordingSummary
from m3_ros.recording.topics import BagTopics, ChosenTopics, choose_topics
from m3_ros.recording.transform_buffer import TransformError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Survey:
    """What one pass over a bag finds out before any image is decoded."""

    bag: Bag
    """The open bag."""
    topics: ChosenTopics
    """What is read from it."""
    lens: Lens
    """Calibration at the size of the images."""
    path: CameraPath
    """Where the camera was."""
    poses: dict[int, Transform]
    """T_map_camera by image stamp [ns], of the images that have one, in order of recording."""
    images: int
    """Images in the bag, with or without a pose."""
    depth_of: dict[int, int]
    """Depth stamp by image stamp [ns]."""


def is_bag(path: Path) -> bool:
    """Tell whether a path looks like a rosbag2 recording."""
    if path.is_file():
        return path.suffix in (*SUFFIXES, ".bag")
    return (path / "metadata.yaml").is_file() or any(
        file.suffix in (*SUFFIXES, ".zstd") for pattern in ("*", "*/*") for file in path.glob(pattern)
    )


def read_bag(path: Path, topics: BagTopics | None = None) -> Iterator[Frame]:
    """Yield the posed frames of a bag, stamped by the image headers; images without a pose are left out and counted.

    Raises:
        RecordingError: something needed is missing or damaged, or more than half the images have no pose.
    """
    yield from frames(survey(path, topics))


def survey(path: Path, topics: BagTopics | None = None) -> Survey:
    """Read transforms, odometry, calibration and all stamps of a bag.

    Raises:
        RecordingError: as `read_bag`.
    """
    wanted = topics or BagTopics()
    bag = Bag(path)
    chosen = choose_topics(bag, wanted)
    motion, stamps, frame_ids = _scan(bag, chosen)
    lens = _lens(bag, chosen)
    camera_frame = frame_ids[chosen.image] or frame_ids[chosen.camera_info]
    if not camera_frame:
        raise RecordingError(
            f"{chosen.image} and {chosen.camera_info} name no frame_id: set the driver's frame id to the optical frame"
        )
    where = camera_path(
        motion, camera_frame.lstrip("/"), wanted.fixed_frame, prefer_odometry=wanted.odometry is not None
    )
    poses = _poses(bag.path, where, stamps[chosen.image])
    depth_stamps = stamps.get(chosen.depth or "", [])
    depth_of = _nearest(list(poses), depth_stamps, wanted.depth_tolerance_s)
    return Survey(
        bag, _checked_depth(bag, chosen, lens, wanted, motion), lens, where, poses, len(stamps[chosen.image]), depth_of
    )


def describe_bag(path: Path, topics: BagTopics | None = None) -> RecordingSummary:
    """Summarise a bag.

    Raises:
        RecordingError: as `read_bag`.
    """
    found = survey(path, topics)
    stamps = list(found.poses)
    return RecordingSummary(
        path=path,
        kind="rosbag2",
        frames=len(stamps),
        skipped=found.images - len(stamps),
        duration_s=(max(stamps) - min(stamps)) / 1e9,
        width=found.lens.camera.width,
        height=found.lens.camera.height,
        has_depth=found.topics.depth is not None and bool(found.depth_of),
        fixed_frame=found.path.fixed_frame,
        topics=found.bag.topics,
    )


def frames(found: Survey) -> Iterator[Frame]:
    """Yield the frames of a surveyed bag, holding only those whose depth has not come yet."""
    waiting: dict[int, RawMessage] = {}
    depths: dict[int, RawMessage] = {}
    depth_of = found.depth_of if found.topics.depth else {}
    users = Counter(depth_of.values())
    yielded: set[int] = set()
    wanted = [topic for topic in (found.topics.image, found.topics.depth) if topic]
    for raw in found.bag.messages(wanted):
        stamp = peek_header(raw.data).stamp_ns
        if raw.topic == found.topics.image:
            if stamp in found.poses and stamp not in yielded:
                yielded.add(stamp)
                waiting[stamp] = raw
        elif stamp in users:
            depths[stamp] = raw
        while waiting and _is_complete(next(iter(waiting)), depth_of, depths):
            ready = next(iter(waiting))
            depth_stamp = depth_of.get(ready)
            yield _frame(found, ready, waiting.pop(ready), None if depth_stamp is None else depths[depth_stamp])
            if depth_stamp is not None:
                users[depth_stamp] -= 1
                if users[depth_stamp] == 0:
                    depths.pop(depth_stamp)


def _is_complete(stamp: int, depth_of: dict[int, int], depths: dict[int, RawMessage]) -> bool:
    return stamp not in depth_of or depth_of[stamp] in depths


def _scan(bag: Bag, chosen: ChosenTopics) -> tuple[Motion, dict[str, list[int]], dict[str, str]]:
    """Read all motion, and the stamps and frame ids of the images, in one pass."""
    motion = Motion()
    stamps: dict[str, list[int]] = {}
    frame_ids: dict[str, str] = {}
    invalid = count = 0
    for raw in bag.messages(chosen.all):
        count += 1
        try:
            if raw.topic in chosen.tf or raw.topic in chosen.tf_static:
                add_transforms(motion.tf, decode(raw), raw.topic in chosen.tf_static)
            elif raw.topic == chosen.odometry:
                message = decode(raw)
                add_odometry(motion.odometry, message)
                motion.odometry_frames = (message.header.frame_id.lstrip("/"), message.child_frame_id.lstrip("/"))
            else:
                header = peek_header(raw.data)
                frame_ids.setdefault(raw.topic, header.frame_id)
                stamps.setdefault(raw.topic, []).append(header.stamp_ns)
        except TransformError as error:
            invalid += 1
            reason = error
    if invalid:
        log.warning("%s: %d messages with invalid transforms left out; the last: %s", bag.path, invalid, reason)
    stated = sum(topic.count for topic in bag.topics if topic.name in chosen.all)
    if count != stated:
        log.warning("%s should hold %d messages on the topics that are read, but %d came out", bag.path, stated, count)
    return motion, stamps, frame_ids


def _lens(bag: Bag, chosen: ChosenTopics) -> Lens:
    """Return the calibration at the size of the images."""
    image = decode_colour(decode(bag.first(chosen.image)), chosen.image)
    lens = lens_of(decode(bag.first(chosen.camera_info)), chosen.camera_info, rectified="rect" in chosen.image)
    height, width = image.shape[:2]
    stated = lens.camera
    if (stated.width, stated.height) == (width, height):
        return lens
    if abs(stated.width * height - stated.height * width) > stated.width + stated.height:
        raise RecordingError(
            f"{chosen.camera_info} is for {stated.width}x{stated.height}, but {chosen.image} is {width}x{height}: "
            "it belongs to another camera, name the right camera_info"
        )
    log.warning(
        "%s is for %dx%d, the images are %dx%d; scaling it",
        chosen.camera_info,
        stated.width,
        stated.height,
        width,
        height,
    )
    return lens.resized(width, height)


def _checked_depth(bag: Bag, chosen: ChosenTopics, lens: Lens, wanted: BagTopics, motion: Motion) -> ChosenTopics:
    """Drop depth that is not registered to the image; refuse it if it was asked for."""
    if chosen.depth is None:
        return chosen
    raw = bag.first(chosen.depth)
    height, width = decode_depth(decode(raw), chosen.depth).shape
    frame, image_frame = peek_header(raw.data).frame_id, peek_header(bag.first(chosen.image).data).frame_id
    stamp = peek_header(raw.data).stamp_ns
    same_view = abs(lens.camera.width * height - lens.camera.height * width) <= lens.camera.width + lens.camera.height
    if same_view and (frame == image_frame or _coincide(motion, frame, image_frame, stamp)):
        return chosen
    problem = (
        f"{chosen.depth} ({width}x{height}, frame '{frame}') is not registered to {chosen.image} "
        f"({lens.camera.width}x{lens.camera.height}, frame '{image_frame}')"
    )
    if wanted.depth:
        raise RecordingError(f"{problem}: record the depth aligned to colour")
    log.warning("%s; reading without depth", problem)
    return ChosenTopics(chosen.image, chosen.camera_info, None, chosen.odometry, chosen.tf, chosen.tf_static)


def _coincide(motion: Motion, frame: str, other: str, stamp: int) -> bool:
    """Tell whether two frames are one under two names (1 mm, 1 mrad)."""
    try:
        return bool(np.allclose(motion.tf.lookup(other, frame, stamp), np.eye(4), atol=1e-3))
    except TransformError:
        return False


def _poses(path: Path, where: CameraPath, stamps: list[int]) -> dict[int, Transform]:
    """Look up the pose of every image; refuse the bag if more than half have none."""
    poses: dict[int, Transform] = {}
    missing: list[int] = []
    reason: TransformError | None = None
    for stamp in stamps:
        try:
            poses[stamp] = where.pose(stamp)
        except TransformError as error:
            missing.append(stamp)
            reason = error
    if len(missing) * 2 > len(stamps):
        raise RecordingError(
            f"{path}: {len(missing)} of {len(stamps)} images have no pose: {_gap(where, stamps, reason)}"
        )
    if missing:
        log.warning("%s: %d of %d images have no pose and are left out: %s", path, len(missing), len(stamps), reason)
    return poses


def _gap(where: CameraPath, stamps: list[int], reason: TransformError | None) -> str:
    span = where.span
    if span is None or span.start_ns > span.end_ns:
        return str(reason)
    source = "odometry" if where.by_odometry else "/tf"
    return (
        f"images run from {min(stamps) / 1e9:.3f} s to {max(stamps) / 1e9:.3f} s, {source} "
        f"('{where.fixed_frame}' to '{where.camera_frame}') from {span.start_ns / 1e9:.3f} s to "
        f"{span.end_ns / 1e9:.3f} s: record both for the whole time, with clocks that agree"
    )


def _nearest(stamps: list[int], others: list[int], tolerance_s: float) -> dict[int, int]:
    """Match each stamp with the nearest other one within a tolerance."""
    if not others:
        return {}
    sorted_others = np.unique(np.array(others, np.int64))
    limit = int(tolerance_s * 1e9)
    matches = {}
    for stamp in stamps:
        i = int(np.searchsorted(sorted_others, stamp))
        candidates = sorted_others[max(0, i - 1) : i + 1]
        near = int(candidates[np.abs(candidates - stamp).argmin()])
        if abs(near - stamp) <= limit:
            matches[stamp] = near
    return matches


def _frame(found: Survey, stamp: int, image: RawMessage, depth: RawMessage | None) -> Frame:
    lens = found.lens
    rgb = decode_colour(decode(image), image.topic)
    if rgb.shape[:2] != (lens.camera.height, lens.camera.width):
        raise RecordingError(
            f"{image.topic}: the image at {stamp / 1e9:.3f} s is {rgb.shape[1]}x{rgb.shape[0]}, the first was "
            f"{lens.camera.width}x{lens.camera.height}: record with one resolution"
        )
    metres = None if depth is None else lens.undistort_depth(_fitted(decode(depth), depth.topic, lens))
    return Frame(stamp, lens.undistort(rgb), lens.pinhole, found.poses[stamp], metres)


def _fitted(message: Any, topic: str, lens: Lens) -> Float[NDArray[np.float32], "H W"]:
    """Decode depth and bring it to the image's size by nearest pixel."""
    depth = decode_depth(message, topic)
    size = (lens.camera.width, lens.camera.height)
    if depth.shape[::-1] == size:
        return depth
    import cv2

    return np.asarray(cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST_EXACT), np.float32)
