"""Which topics of a bag are the camera, its calibration, its depth and the robot's motion."""

import logging
from dataclasses import dataclass

from m3_ros.errors import RecordingError
from m3_ros.recording.messages import is_depth_message
from m3_ros.recording.storage import Bag, decode

log = logging.getLogger(__name__)

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
ODOMETRY_TYPE = "nav_msgs/msg/Odometry"
TF_TYPE = "tf2_msgs/msg/TFMessage"
TRANSPORTS = ("compressed", "compressedDepth", "raw", "theora", "zstd", "ffmpeg")
REGISTERED_NAMES = ("aligned", "registered")


@dataclass(frozen=True)
class BagTopics:
    """What to read from a bag; every None is found out from the bag itself."""

    image: str | None = None
    """Colour image topic, raw or compressed."""
    camera_info: str | None = None
    """Calibration of that image."""
    depth: str | None = None
    """Depth topic registered to the image; the empty string reads no depth."""
    odometry: str | None = None
    """nav_msgs/Odometry to take poses from instead of /tf."""
    fixed_frame: str | None = None
    """Frame of the poses; None: map if it is in /tf, else odom, else the root."""
    depth_tolerance_s: float = 0.03
    """Largest difference of the stamps of an image and its depth [s]."""


@dataclass(frozen=True)
class ChosenTopics:
    """The topics a bag is read by."""

    image: str
    """Colour image topic."""
    camera_info: str
    """Calibration topic."""
    depth: str | None
    """Depth topic; None: no depth."""
    odometry: str | None
    """Odometry topic; None: there is none."""
    tf: tuple[str, ...]
    """Topics of moving transforms."""
    tf_static: tuple[str, ...]
    """Topics of static transforms."""

    @property
    def all(self) -> frozenset[str]:
        """Every topic there is."""
        named = (self.image, self.camera_info, self.depth, self.odometry)
        return frozenset(name for name in named if name) | {*self.tf, *self.tf_static}


@dataclass(frozen=True)
class _Camera:
    """A colour topic with what belongs to it."""

    image: str
    info: str | None
    depth: str | None
    colour: bool
    count: int

    @property
    def rank(self) -> tuple[bool, bool, bool, int]:
        return self.info is not None, self.depth is not None, self.colour, self.count


def choose_topics(bag: Bag, wanted: BagTopics) -> ChosenTopics:
    """Pick the topics to read, honouring every explicit choice.

    Raises:
        RecordingError: a topic that is needed or was asked for is missing.
    """
    for name in (wanted.image, wanted.camera_info, wanted.depth, wanted.odometry):
        if name and bag.named(name) is None:
            raise RecordingError(f"{bag.path} has no messages on {name}; it holds {_listing(bag)}: choose one of these")
    camera = _choose_camera(bag, wanted)
    if camera.info is None:
        raise RecordingError(
            f"{bag.path} has no camera_info for {camera.image}; it holds {_listing(bag)}: record "
            f"{_namespace(camera.image)}/camera_info too, or name the topic"
        )
    transforms = [topic.name for topic in bag.of_type(TF_TYPE)]
    return ChosenTopics(
        camera.image,
        camera.info,
        camera.depth,
        wanted.odometry or _choose_odometry(bag),
        tuple(name for name in transforms if not name.endswith("tf_static")),
        tuple(name for name in transforms if name.endswith("tf_static")),
    )


def _choose_camera(bag: Bag, wanted: BagTopics) -> _Camera:
    colour, depth = _image_topics(bag)
    if wanted.image:
        colour = [wanted.image]
    if not colour:
        raise RecordingError(
            f"{bag.path} has no colour image topic; it holds {_listing(bag)}: record the camera's image topic"
        )
    depth_of = _match_depths(colour, depth)
    cameras = [_camera(bag, image, depth_of.get(image), wanted) for image in colour]
    best = max(cameras, key=lambda camera: camera.rank)
    if len(cameras) > 1:
        others = ", ".join(camera.image for camera in cameras if camera is not best)
        log.info("reading camera %s (depth: %s); also there: %s", best.image, best.depth or "none", others)
    return best


def _camera(bag: Bag, image: str, depth: str | None, wanted: BagTopics) -> _Camera:
    message = decode(bag.first(image))
    topic = bag.named(image)
    return _Camera(
        image,
        wanted.camera_info or _find_info(bag, image),
        depth if wanted.depth is None else wanted.depth or None,
        "mono" not in str(getattr(message, "encoding", "")),
        topic.count if topic else 0,
    )


def _image_topics(bag: Bag) -> tuple[list[str], list[str]]:
    """Return the colour topics and the depth topics."""
    colour: list[str] = []
    depth: list[str] = []
    for topic in bag.of_type(*IMAGE_TYPES):
        kind = depth if is_depth_message(decode(bag.first(topic.name)), topic.name) else colour
        kind.append(topic.name)
    return colour, depth


def _match_depths(colour: list[str], depth: list[str]) -> dict[str, str]:
    """Give each colour topic the depth topic that is nearest by name, registered ones first."""
    matches = {}
    for image in colour:
        near = [name for name in depth if len(colour) == 1 or _shared_parts(image, name) > 0]
        if near:
            matches[image] = max((*_closeness(image, name), name) for name in near)[-1]
    return matches


def _closeness(image: str, depth: str) -> tuple[int, bool, bool]:
    registered = any(word in depth for word in REGISTERED_NAMES)
    return _shared_parts(image, depth), registered, "compressed" not in depth


def _shared_parts(a: str, b: str) -> int:
    """Count the leading name parts that two topics share."""
    count = 0
    for x, y in zip(_namespace(a).split("/")[1:], _namespace(b).split("/")[1:], strict=False):
        if x != y:
            break
        count += 1
    return count


def _find_info(bag: Bag, image: str) -> str | None:
    """Return the camera_info beside an image; else the only colour one of the bag."""
    beside = f"{_namespace(image)}/camera_info"
    if bag.named(beside):
        return beside
    infos = [topic.name for topic in bag.of_type(CAMERA_INFO_TYPE) if "depth" not in topic.name]
    if len(infos) == 1 and len({_namespace(name) for name in _image_topics(bag)[0]}) == 1:
        log.info("no %s; taking %s as the calibration of %s", beside, infos[0], image)
        return infos[0]
    return None


def _choose_odometry(bag: Bag) -> str | None:
    topics = bag.of_type(ODOMETRY_TYPE)
    return max(topics, key=lambda topic: (topic.name == "/odom", topic.count)).name if topics else None


def _namespace(topic: str) -> str:
    """Return the namespace of an image topic, its transport left out: /camera of /camera/image_raw/compressed."""
    parts = topic.split("/")
    if parts[-1] in TRANSPORTS:
        parts = parts[:-1]
    return "/".join(parts[:-1])


def _listing(bag: Bag) -> str:
    return ", ".join(f"{topic.name} ({topic.msgtype.split('/')[-1]})" for topic in bag.topics if topic.count)
