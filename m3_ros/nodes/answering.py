"""From a Query request to its response: one loaded memory, its map of the floor, and the rules of the service."""

import logging
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from m3_ros.errors import M3Error, PlanningError, QueryError
from m3_ros.geometry.pose import Transform
from m3_ros.nodes.conversions import pose_to_matrix
from m3_ros.nodes.groundings import goal_of, grounding
from m3_ros.nodes.parameters import Live
from m3_ros.nodes.tf import TransformLookup
from m3_ros.planner import Approach, ApproachSettings, NavigationMap, NavigationSettings, approach
from m3_ros.query import Answer, Candidate, Finder, Status
from m3_ros.recording.transform_buffer import TransformError
from m3_ros.srv import Query

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MemorySettings:
    """Parameters of the memory node."""

    memory_path: Annotated[str, Live()] = ""
    """Folder of the memory to load when the node is configured; empty: none, until `load_memory` is called."""
    encoder: Annotated[str, Live()] = ""
    """Encoder to ask with, one that the memory holds; empty: its first."""
    autostart: bool = True
    """Configure and activate the node by itself; False: a lifecycle manager does."""
    min_probability: Annotated[float, "0..1", Live()] = 0.0
    """Candidates below this are no answers, where a request says nothing; 0: as the calibration says."""
    query_timeout_s: Annotated[float, "0.01..600", Live()] = 10.0
    """A question that takes longer is answered with TIMEOUT [s]."""
    robot_frame: Annotated[str, Live()] = "base_link"
    """Frame of the robot in TF, to prefer standing poses near it where a request says nothing; empty: do not look."""
    robot_radius_m: Annotated[float, "0..2"] = 0.30
    """Radius of the robot's footprint [m]."""
    margin_m: Annotated[float, "0..1"] = 0.05
    """Distance that standing poses keep from things beside the radius [m]."""
    min_distance_m: Annotated[float, "0..10"] = 0.4
    """Least distance of a standing pose from the thing [m]."""
    max_distance_m: Annotated[float, "0..10"] = 1.5
    """Greatest distance of a standing pose from the thing [m]."""
    preferred_distance_m: Annotated[float, "0..10"] = 0.8
    """Best distance of a standing pose from the thing [m]."""

    @property
    def navigation(self) -> NavigationSettings:
        """How the memory becomes a map to walk on."""
        return NavigationSettings(robot_radius_m=self.robot_radius_m, margin_m=self.margin_m)

    @property
    def approach(self) -> ApproachSettings:
        """Where to stand in front of a thing."""
        return ApproachSettings(
            min_distance_m=self.min_distance_m,
            max_distance_m=self.max_distance_m,
            preferred_distance_m=self.preferred_distance_m,
        )


class LoadedMemory:
    """A memory that is ready to be asked."""

    def __init__(self, finder: Finder, path: Path, settings: MemorySettings) -> None:
        self.finder, self.path = finder, path
        self.frame = finder.memory.map_frame
        self._settings = settings

    @classmethod
    def open(cls, path: Path, settings: MemorySettings) -> "LoadedMemory":
        """Load a memory and what its first question needs.

        Raises:
            MemoryFormatError: it cannot be read.
            EncoderError: its encoder cannot be loaded.
        """
        loaded = cls(Finder.open(path, settings.encoder), path, settings)
        loaded.finder.warm_up()
        if loaded.nav_map is None:
            log.warning("answers will have no standing poses")
        return loaded

    @property
    def gaussians(self) -> int:
        """Gaussians in the memory."""
        return len(self.finder.memory.gaussians)

    @cached_property
    def nav_map(self) -> NavigationMap | None:
        """The floor; None: the memory shows none."""
        try:
            return NavigationMap.from_memory(self.finder.memory, self._settings.navigation)
        except PlanningError as error:
            log.warning("no map of the floor: %s", error)
            return None

    def standing_pose(self, candidate: Candidate, robot_xy: NDArray[np.float64] | None) -> Approach | None:
        """Return where to stand in front of a candidate; None: nowhere."""
        if self.nav_map is None:
            return None
        try:
            return approach(self.nav_map, candidate, robot_xy, self._settings.approach)
        except PlanningError as error:
            log.warning("no standing pose: %s", error)
            return None


class TransformFailure(M3Error):
    """A frame of a request is unknown."""


class Asker:
    """Answers requests with a loaded memory."""

    def __init__(self, loaded: LoadedMemory, tf: TransformLookup, settings: MemorySettings, now_ns: int) -> None:
        self._loaded, self._tf, self._settings, self._now_ns = loaded, tf, settings, now_ns

    def respond(self, request: Any) -> Any:
        """Answer one request; every failure is a code and a sentence in the response."""
        start = time.monotonic()
        response = Query.Response()
        try:
            self._answer(request, response)
        except TransformFailure as error:
            response.error_code, response.message = Query.Response.TF_ERROR, str(error)
        except QueryError as error:
            empty = not request.text.strip()
            response.error_code = Query.Response.EMPTY_TEXT if empty else Query.Response.INTERNAL
            response.message = str(error)
        except Exception as error:  # a question must never take the node down
            log.exception("a question failed")
            response.error_code, response.message = Query.Response.INTERNAL, f"{type(error).__name__}: {error}"
        response.latency_s = time.monotonic() - start
        return response

    def _answer(self, request: Any, response: Any) -> None:
        frame = request.frame_id or self._loaded.frame
        T_frame_map = self._transform(frame, self._loaded.frame)
        robot_xy = self._robot_xy(request.robot_pose)
        answer = self._find(request)
        response.status, response.message = int(answer.status), answer.message
        if answer.status not in (Status.FOUND, Status.AMBIGUOUS):
            return
        for candidate in answer.candidates:
            where = self._loaded.standing_pose(candidate, robot_xy)
            response.candidates.append(grounding(request.text, candidate, where, T_frame_map, frame, self._now_ns))
        response.goal_pose = goal_of(response.candidates[0])
        if not response.candidates[0].has_approach:
            response.message += "; there is no free floor to stand on near it"

    def _find(self, request: Any) -> Answer:
        threshold = request.min_probability or self._settings.min_probability or None
        return self._loaded.finder.find(request.text, tuple(request.negatives), max(1, request.top_k), threshold)

    def _robot_xy(self, robot_pose: Any) -> NDArray[np.float64] | None:
        if robot_pose.header.frame_id:
            T_frame_base = pose_to_matrix(robot_pose.pose)
            return np.asarray((self._transform(self._loaded.frame, robot_pose.header.frame_id) @ T_frame_base)[:2, 3])
        if not self._settings.robot_frame:
            return None
        try:
            return self._tf.lookup(self._loaded.frame, self._settings.robot_frame)[:2, 3]
        except TransformError:
            return None  # nobody asked for it; the answer is as good without

    def _transform(self, target: str, source: str) -> Transform:
        if target == source:
            return np.eye(4)
        try:
            return self._tf.lookup(target, source)
        except TransformError as error:
            raise TransformFailure(f"frame {target!r} cannot be reached from {source!r}: {error}") from error
