"""Preflight: what is wrong with a recording, in plain words, before hours are spent on it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import numpy as np

from m3_ros.errors import RecordingError
from m3_ros.geometry.pose import Transform
from m3_ros.recording import bag, posed_sequence
from m3_ros.recording.frame import Frame
from m3_ros.recording.keyframes import motion_between, sharpness
from m3_ros.recording.messages import peek_header, stamp_ns
from m3_ros.recording.sources import find_source
from m3_ros.recording.storage import Bag, decode
from m3_ros.recording.topics import BagTopics, ChosenTopics

SAMPLES = 40
"""Frames whose pixels are looked at, spread evenly."""
MAX_GAP_S = 1.0
"""Longest silence of a topic that is not reported [s]."""
MAX_SKEW_S = 0.1
"""Largest difference between the clocks of two topics that is not reported [s]."""
BLUR_SHARE = 0.4
"""A frame this much less sharp than the median counts as blurred."""


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """The recording cannot be trained on."""
    WARNING = "warning"
    """The result will suffer."""
    INFO = "info"
    """Good to know."""


@dataclass(frozen=True)
class Finding:
    """One thing about a recording."""

    severity: Severity
    """How bad it is."""
    what: str
    """What was found, with numbers."""
    cure: str = ""
    """What to do about it; empty if nothing."""


def check(path: Path | str, topics: BagTopics | None = None) -> list[Finding]:
    """Look a recording over: topics, rates, clocks, calibration, poses, depth and blur; worst findings first."""
    try:
        found = list(_check(Path(path), topics))
    except RecordingError as error:
        what, _, cure = str(error).rpartition(": ")
        found = [Finding(Severity.ERROR, what or str(error), cure if what else "")]
    return sorted(found, key=lambda finding: list(Severity).index(finding.severity))


def _check(path: Path, topics: BagTopics | None) -> Iterator[Finding]:
    if find_source(path).name == "rosbag2":
        survey = bag.survey(path, topics)
        yield from _check_topics(survey)
        yield from _check_clocks(survey.bag, survey.topics)
        yield from _check_poses(survey.poses)
        kept = dict(list(survey.poses.items())[:: _stride(len(survey.poses))])
        yield from _check_pixels(bag.frames(replace(survey, poses=kept)))
        return
    sequence = posed_sequence.parse(path)
    yield Finding(Severity.INFO, f"{len(sequence.shots)} frames" + ("" if sequence.timed else " without times"))
    yield from _check_poses({shot.stamp_ns: shot.T_map_camera for shot in sequence.shots})
    shots = sequence.shots[:: _stride(len(sequence.shots))]
    yield from _check_pixels(posed_sequence.load(replace(sequence, shots=shots)))


def _stride(count: int) -> int:
    return max(1, count // SAMPLES)


def _check_topics(survey: bag.Survey) -> Iterator[Finding]:
    chosen, posed = survey.topics, len(survey.poses)
    source = f"odometry {chosen.odometry}" if survey.path.by_odometry else "/tf"
    yield Finding(
        Severity.INFO,
        f"camera {chosen.image} with {chosen.camera_info}, depth {chosen.depth or 'none'}, poses from {source} "
        f"in frame '{survey.path.fixed_frame}'; {posed} of {survey.images} images have a pose",
    )
    if posed < survey.images:
        yield Finding(
            Severity.WARNING,
            f"{survey.images - posed} of {survey.images} images have no pose and are left out",
            "start recording after the robot's transforms are there, and stop the images first",
        )
    if chosen.depth is None:
        yield Finding(Severity.WARNING, "there is no depth registered to the images", "record the aligned depth topic")
    elif len(survey.depth_of) < 0.9 * posed:
        yield Finding(
            Severity.WARNING,
            f"only {len(survey.depth_of)} of {posed} images have depth within the tolerance",
            "let both be triggered together, or raise depth_tolerance_s",
        )
    camera = survey.lens.camera
    if abs(camera.cx / camera.width - 0.5) > 0.2 or abs(camera.cy / camera.height - 0.5) > 0.2:
        yield Finding(
            Severity.WARNING,
            f"the principal point ({camera.cx:.0f}, {camera.cy:.0f}) is far from the centre of a "
            f"{camera.width}x{camera.height} image",
            "check that camera_info belongs to this image",
        )


def _check_clocks(recording: Bag, chosen: ChosenTopics) -> Iterator[Finding]:
    """Report silences and rates, and clocks that differ: how long after its stamp each topic was recorded."""
    delays: dict[str, float] = {}
    for topic in sorted({chosen.image, *chosen.tf, *([chosen.odometry] if chosen.odometry else [])}):
        stamps, delay = _stamps(recording, topic, topic in chosen.tf)
        if len(stamps) < 2:
            continue
        delays[topic] = delay
        gaps = np.diff(stamps)
        yield Finding(
            Severity.INFO, f"{topic}: {len(stamps)} messages at {1 / max(float(np.median(gaps)), 1e-9):.1f} Hz"
        )
        if gaps.max() > MAX_GAP_S:
            yield Finding(
                Severity.WARNING,
                f"{topic} is silent for {gaps.max():.1f} s at {stamps[int(gaps.argmax())]:.3f} s",
                "use the Fast DDS profile shipped with this package, or look for a stalled node",
            )
        if gaps.min() < 0:
            yield Finding(
                Severity.WARNING, f"{topic}: stamps run backwards", "do not mix clocks or loop a bag while recording"
            )
    image_delay = delays.pop(chosen.image, None)
    for topic, delay in delays.items():
        if image_delay is not None and abs(delay - image_delay) > MAX_SKEW_S:
            yield Finding(
                Severity.WARNING,
                f"the clocks of {chosen.image} and {topic} differ by {delay - image_delay:+.2f} s",
                "synchronise the computers (chrony), or let both drivers stamp by the same clock",
            )


def _stamps(recording: Bag, topic: str, transforms: bool) -> tuple[list[float], float]:
    """Return a topic's stamps [s] and the median delay of recording [s]."""
    stamps, delays = [], []
    for raw in recording.messages([topic]):
        if not transforms:
            stamp = peek_header(raw.data).stamp_ns
        elif listed := decode(raw).transforms:
            stamp = stamp_ns(listed[0].header)
        else:
            continue
        stamps.append(stamp / 1e9)
        delays.append((raw.log_ns - stamp) / 1e9)
    return (sorted(stamps) if transforms else stamps), float(np.median(delays)) if delays else 0.0


def _check_poses(poses: dict[int, Transform]) -> Iterator[Finding]:
    """Report cameras that lie on their side, jump or stand still."""
    matrices = list(poses.values())
    yield from _check_axes(matrices)
    steps = [motion_between(a, b) for a, b in pairwise(matrices)]
    if not steps:
        yield Finding(
            Severity.WARNING, "there is only one posed frame", "record the robot while it walks through the place"
        )
        return
    distances = np.array([distance for distance, _ in steps])
    angles = np.array([angle for _, angle in steps])
    jumps = np.flatnonzero((distances > max(0.5, 8 * float(np.median(distances)))) | (angles > 1.0))
    if jumps.size:
        first = int(jumps[0])
        yield Finding(
            Severity.WARNING,
            f"the pose jumps {jumps.size} times, first at {list(poses)[first + 1] / 1e9:.3f} s by "
            f"{distances[first]:.2f} m and {np.degrees(angles[first]):.0f} deg between two frames",
            "use odometry that does not jump (the odom frame), or cut the recording there",
        )
    if distances.sum() < 0.3:
        yield Finding(
            Severity.WARNING,
            f"the camera moves only {distances.sum():.2f} m",
            "record the robot while it walks through the place",
        )


def _check_axes(matrices: list[Transform]) -> Iterator[Finding]:
    """Compare the camera's axes with gravity: the map's z is up, a camera's y is down."""
    up = float(np.mean([-T[2, 1] for T in matrices]))
    forward = float(np.mean([T[2, 2] for T in matrices]))
    if up > 0.3 or (abs(up) <= 0.3 and forward < -0.7):  # upright, or looking down
        return
    if forward > 0.7:
        yield Finding(
            Severity.ERROR,
            "the camera seems to look straight up: its images are stamped with a body frame, not an optical one",
            "set the driver's frame_id to the optical frame (z forward, x right, y down)",
        )
    else:
        yield Finding(
            Severity.WARNING,
            f"the camera is not upright: its up axis has a mean z of {up:+.2f} in the map",
            "check the static transform to the optical frame; a camera mounted upside-down is fine as it is",
        )


def _check_pixels(frames: Iterable[Frame]) -> Iterator[Finding]:
    """Report blur, darkness and useless depth over a sample of frames."""
    sharp, light, valid, far = [], [], [], []
    for frame in frames:
        sharp.append(sharpness(frame.rgb))
        light.append(float(frame.rgb.mean()))
        if frame.depth is not None:
            known = frame.depth[frame.depth > 0]
            valid.append(known.size / frame.depth.size)
            far.append(float(np.median(known)) if known.size else 0.0)
    blurred = float(np.mean(np.array(sharp) < BLUR_SHARE * np.median(sharp)))
    yield Finding(Severity.INFO, f"{blurred:.0%} of the frames are much less sharp than the median")
    if blurred > 0.2:
        yield Finding(
            Severity.WARNING, f"{blurred:.0%} of the frames are blurred", "walk more slowly, or shorten the exposure"
        )
    if np.median(light) < 25:
        yield Finding(
            Severity.WARNING, f"the images are dark (mean {np.median(light):.0f} of 255)", "switch on the light"
        )
    if not valid:
        return
    share, distance = float(np.mean(valid)), float(np.median(far))
    yield Finding(Severity.INFO, f"depth is known on {share:.0%} of the pixels, median {distance:.2f} m")
    if share < 0.2:
        yield Finding(Severity.WARNING, f"depth is known on {share:.0%} of the pixels only", "check the depth camera")
    if share > 0 and not 0.1 < distance < 50:
        yield Finding(
            Severity.ERROR, f"the median depth is {distance:g} m", "check the unit: 16UC1 is millimetres, 32FC1 metres"
        )
