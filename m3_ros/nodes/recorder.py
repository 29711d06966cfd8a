"""The recorder node: camera, calibration, depth, odometry and transforms into an MCAP bag; nothing lost."""

import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from rclpy.node import Node
from std_srvs.srv import Trigger

from m3_ros.errors import RecordingError
from m3_ros.nodes.capture import Capture, Wanted
from m3_ros.nodes.locations import local_path
from m3_ros.nodes.parameters import Live, Parameters
from m3_ros.nodes.recorder_watch import Silence, Watch, require_images
from m3_ros.nodes.reporting import Health, Reporter
from m3_ros.nodes.runtime import run
from m3_ros.recording.topics import CAMERA_INFO_TYPE, IMAGE_TYPES, ODOMETRY_TYPE, TF_TYPE

POLL_S = 0.1
REPORT_S = 1.0


@dataclass(frozen=True)
class RecorderSettings:
    """Parameters of the recorder node."""

    bag_path: Annotated[str, Live()] = ""
    """Folder of the bag, which must not exist; empty: recordings/<time> below the working directory."""
    image_topic: str = "/camera/image_raw"
    """Colour images."""
    prefer_compressed: bool = True
    """Record <image_topic>/compressed instead where it is offered."""
    camera_info_topic: str = "/camera/camera_info"
    """Calibration of the images."""
    depth_topic: str = "/camera/depth/image_raw"
    """Depth registered to the images; empty: none is recorded."""
    odom_topic: str = "/odom"
    """nav_msgs/Odometry; empty: poses come from transforms alone."""
    record_tf: bool = True
    """Record /tf and /tf_static."""
    auto_start: bool = True
    """Start recording at once; False: wait for ~/start."""
    missing_after_s: Annotated[float, "0.5..3600"] = 5.0
    """A topic that is silent for so long is complained about [s]."""
    sync_slop_s: Annotated[float, "0.0001..1"] = 0.03
    """Stamps of an image, its camera_info and its depth may differ by so much [s]."""


def wanted_topics(settings: RecorderSettings) -> list[Wanted]:
    """Return what to record, in the order of subscribing: the images come last."""
    image_types = IMAGE_TYPES[::-1] if settings.prefer_compressed else IMAGE_TYPES
    topics = [
        Wanted("/tf_static", (TF_TYPE,), "tf_static") if settings.record_tf else None,
        Wanted("/tf", (TF_TYPE,), "tf") if settings.record_tf else None,
        Wanted(settings.odom_topic, (ODOMETRY_TYPE,), "odometry"),
        Wanted(settings.camera_info_topic, (CAMERA_INFO_TYPE,), "camera_info"),
        Wanted(settings.depth_topic, IMAGE_TYPES, "depth"),
        Wanted(settings.image_topic, image_types, "image"),
    ]
    return [w for w in topics if w is not None and w.topic]


class Recorder(Node):
    """Records one bag at a time."""

    def __init__(self) -> None:
        super().__init__("recorder", namespace="m3")
        self.parameters = Parameters(self, RecorderSettings)
        self._wanted = wanted_topics(self.parameters.current)
        if not any(w.role == "image" for w in self._wanted):
            raise RecordingError("the recorder needs images: set the parameter image_topic")
        self._report = Reporter(self)
        self._capture: Capture | None = None
        self._watch = Watch(self._wanted, self.parameters.current.sync_slop_s)
        self._silence = Silence(self._wanted, self.parameters.current.missing_after_s)
        self._complaints: dict[str, str] = {}
        self._rates: dict[str, int] = {}
        self.create_service(Trigger, "~/start", self._on_start)
        self.create_service(Trigger, "~/stop", self._on_stop)
        self.create_timer(POLL_S, self._poll)
        self.create_timer(REPORT_S, self._publish)
        self._report.status(state="idle")
        if self.parameters.current.auto_start:
            self.start()

    def start(self) -> Path:
        """Begin a new bag.

        Raises:
            RecordingError: the bag exists already or cannot be written.
        """
        settings = self.parameters.current
        path = local_path(settings.bag_path or f"recordings/{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}")
        self._watch = Watch(self._wanted, settings.sync_slop_s)
        self._silence = Silence(self._wanted, settings.missing_after_s)
        self._capture = Capture(self, path, self._wanted, self._watch.see)
        self.get_logger().info(f"recording to {path}")
        self._publish()
        return path

    def stop(self) -> str:
        """Finish the bag and return a sentence about it; a bag without a single image is removed.

        Raises:
            RecordingError: the bag cannot be trained on, or could not be written.
        """
        capture, self._capture = self._capture, None
        if capture is None:
            return "nothing is being recorded"
        capture.close()
        roles = self._watch.roles
        message = f"recorded {roles['image']} images to {capture.path}"
        self._report.status(state="stopped", path=str(capture.path), counts=capture.counts, dropped=capture.dropped)
        if not roles["image"] or self._watch.failure:
            shutil.rmtree(capture.path, ignore_errors=True)
        if self._watch.failure:
            return ""  # the error itself is on its way to the user
        if not roles["image"]:
            require_images(roles, self._wanted, f"no recording was kept at {capture.path}")
        require_images(roles, self._wanted, f"{message}, but it cannot be trained on")
        return message

    def close(self) -> None:
        """Finish the bag when the node ends."""
        if self._capture is not None and (message := self.stop()):
            self.get_logger().info(message)

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._capture is not None:
            response.success, response.message = False, f"already recording to {self._capture.path}: call ~/stop first"
            return response
        try:
            response.success, response.message = True, str(self.start())
        except RecordingError as error:
            response.success, response.message = False, str(error)
        return response

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._capture is not None
        try:
            response.message = self.stop()
        except RecordingError as error:
            response.success, response.message = False, str(error)
        return response

    def _poll(self) -> None:
        if self._capture is not None:
            self._capture.poll()

    def _publish(self) -> None:
        """Say how it goes, and complain once about every topic that is silent."""
        capture = self._capture
        if capture is None:
            self._report.diagnostics(Health(True, "not recording", {}))
            return
        complaints = self._silence.complaints(self, self._watch.roles, self.get_clock().now().nanoseconds / 1e9)
        skew = self._watch.skew_complaint()
        if skew:
            complaints["stamps"] = skew
        if capture.dropped:
            complaints["dropped"] = (
                f"{capture.dropped} messages were dropped: the disk is too slow; record compressed images"
            )
        for kind in complaints.keys() - self._complaints.keys():
            self.get_logger().warning(complaints[kind])
        self._complaints = complaints
        rates = {f"{topic} [Hz]": (n - self._rates.get(topic, 0)) / REPORT_S for topic, n in capture.counts.items()}
        self._rates = capture.counts
        values = {
            **capture.counts,
            **rates,
            "worst_skew_s": round(self._watch.worst_skew_s, 6),
            "dropped": capture.dropped,
        }
        self._report.diagnostics(Health(not complaints, "; ".join(complaints.values()) or "recording", values))
        warnings = list(complaints.values())
        self._report.status(
            state="recording", path=str(capture.path), counts=capture.counts, dropped=capture.dropped, warnings=warnings
        )


def main(args: list[str] | None = None) -> int:
    """Run the recorder node."""
    return run(Recorder, args)


if __name__ == "__main__":
    sys.exit(main())
