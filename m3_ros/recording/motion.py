"""Where the camera was: poses from /tf, or from odometry where /tf does not reach a fixed frame."""

from dataclasses import dataclass, field

from m3_ros.errors import RecordingError
from m3_ros.geometry.pose import Transform
from m3_ros.recording.transform_buffer import Span, TransformBuffer

PREFERRED_FIXED_FRAMES = ("map", "odom")
"""Frames of REP-105 that stand still, best first."""


@dataclass
class Motion:
    """Everything a recording says about moving frames; filled while it is surveyed."""

    tf: TransformBuffer = field(default_factory=TransformBuffer)
    """Transforms of /tf and /tf_static."""
    odometry: TransformBuffer = field(default_factory=TransformBuffer)
    """Poses of one odometry topic."""
    odometry_frames: tuple[str, str] | None = None
    """Parent and child frame of the odometry."""


@dataclass(frozen=True)
class CameraPath:
    """Gives `T_map_camera` at any recorded time."""

    fixed_frame: str
    """The frame that becomes the map."""
    camera_frame: str
    """Optical frame of the images."""
    motion: Motion
    """What was recorded."""
    by_odometry: bool
    """Whether the moving part comes from odometry, not from /tf."""

    def pose(self, stamp_ns: int) -> Transform:
        """Return T_map_camera at a stamp.

        Raises:
            TransformError: it is not known then.
        """
        if not self.by_odometry or self.motion.odometry_frames is None:
            return self.motion.tf.lookup(self.fixed_frame, self.camera_frame, stamp_ns)
        parent, child = self.motion.odometry_frames
        T_fixed_base = self.motion.odometry.lookup(parent, child, stamp_ns)
        return T_fixed_base @ self.motion.tf.lookup(child, self.camera_frame, stamp_ns)

    @property
    def span(self) -> Span | None:
        """The time that moving transforms cover; None: nothing moves."""
        if not self.by_odometry or self.motion.odometry_frames is None:
            return self.motion.tf.span(self.camera_frame, self.fixed_frame)
        parent, child = self.motion.odometry_frames
        return self.motion.odometry.span(child, parent)


def camera_path(
    motion: Motion, camera_frame: str, fixed_frame: str | None, prefer_odometry: bool = False
) -> CameraPath:
    """Decide where poses come from.

    /tf is taken if it leads from the camera through moving transforms to `fixed_frame` (None: map, else odom, else the
    root); otherwise odometry with the static transform from its child frame to the camera.

    Raises:
        RecordingError: neither is there, and which topic is missing.
    """
    chain = motion.tf.ancestors(camera_frame)
    odometry = motion.odometry_frames
    if fixed_frame is not None:
        target = fixed_frame
    else:
        target = next((frame for frame in PREFERRED_FIXED_FRAMES if frame in chain), chain[-1])
    tf_moves = target in chain and bool(motion.tf.moving_edges(camera_frame, target))
    ends_on_robot = odometry is not None and target == odometry[1]
    if tf_moves and not ends_on_robot and not (prefer_odometry and odometry is not None):
        return CameraPath(target, camera_frame, motion, by_odometry=False)
    if odometry is None:
        raise RecordingError(_no_motion(camera_frame, chain, fixed_frame))
    parent, child = odometry
    if child != camera_frame and child not in chain:
        raise RecordingError(
            f"odometry moves '{child}', but no transform leads from there to the camera frame '{camera_frame}' "
            f"(it is below {' < '.join(chain[1:]) or 'nothing'}): record /tf_static"
        )
    if fixed_frame not in (None, parent):
        raise RecordingError(
            f"frame '{fixed_frame}' is not above '{camera_frame}' in /tf, and odometry is in "
            f"'{parent}': choose that one"
        )
    return CameraPath(parent, camera_frame, motion, by_odometry=True)


def _no_motion(camera_frame: str, chain: list[str], fixed_frame: str | None) -> str:
    wanted = f"'{fixed_frame}'" if fixed_frame else "a fixed frame (map or odom)"
    return (
        f"no pose for the images: no moving transform leads from {wanted} to the camera frame '{camera_frame}' "
        f"(known above it: {' < '.join(chain[1:]) or 'nothing'}), and there is no odometry: "
        "record /tf and /tf_static, or nav_msgs/Odometry"
    )
