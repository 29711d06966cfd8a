"""The life of the simulated robot, in a thread of its own: wait for listeners, patrol once, stand, walk to goals."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Event

import numpy as np

from m3_ros.errors import PlanningError
from m3_ros.geometry.pose import Transform, yaw_of
from m3_ros.nodes.robot_publishers import RobotPublishers
from m3_ros.nodes.simulator_settings import SimulatorSettings
from m3_ros.sim import RobotState, SimCamera, T_map_base, World, default_cache_dir
from m3_ros.sim.odometry import Odometry
from m3_ros.sim.patrol import patrol
from m3_ros.sim.quadruped import RADIUS
from m3_ros.sim.walk import walk_path

log = logging.getLogger(__name__)

IDLE_HZ = 10.0
"""Odometry and transforms of a robot that stands still, per second."""
CLOCK_START_NS = 1_000_000_000
"""Simulated time at the start [ns]; zero would mean "no time" in ROS."""


@dataclass
class Life:
    """What is published on `sim/status`."""

    state: str = "building"
    """building, waiting, patrolling, idle, walking or arrived."""
    frames_published: int = 0
    """Pictures so far."""
    pose: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """True x [m], y [m] and heading [rad] in the room."""
    goal: tuple[float, float, float] | None = None
    """Latest goal."""
    goal_free: bool | None = None
    """Whether the robot's footprint fits at the goal."""
    reached: bool | None = None
    """Whether the robot stands at the goal."""
    collision_free: bool = True
    """False as soon as the robot's footprint has touched anything."""
    distance_m: float = 0.0
    """Distance from the goal when the walk ended [m]."""
    message: str = ""
    """Why the last goal was not reached."""
    path: list[tuple[float, float]] = field(default_factory=list)
    """The walk to the latest goal, every 5 cm or so [m]."""


class SimulatedRobot:
    """Lives through patrol and goals; `live` runs in one thread, the other methods may be called from any."""

    def __init__(
        self,
        settings: SimulatorSettings,
        publishers: RobotPublishers,
        now_ns: Callable[[], int],
        publish_status: Callable[..., None],
    ) -> None:
        self._settings, self._publishers = settings, publishers
        self._now_ns, self._publish_status = now_ns, publish_status
        self._odometry = Odometry(settings.odometry)
        self._stop = Event()
        self._goals: SimpleQueue[Transform] = SimpleQueue()
        self._life = Life()
        self._due_s = 0.0

    def go(self, T_map_base_goal: Transform) -> None:
        """Walk to a pose as soon as the patrol is over; a later goal replaces an earlier one."""
        self._goals.put(T_map_base_goal)

    def stop(self) -> None:
        """End `live` soon."""
        self._stop.set()

    def live(self) -> None:
        """Live until stopped.

        Raises:
            SimulationError: the world cannot be built or rendered.
        """
        self._report("building")
        world = World.generate(self._settings.world, default_cache_dir())
        self._free = world.free_space(robot_radius_m=RADIUS)
        walk = patrol(world, self._settings.patrol_settings)
        self._state = walk[0]
        with SimCamera(world, self._settings.camera) as self._camera:
            self._due_s = time.monotonic()
            self._publishers.fixed_frames(self._stamp_ns())
            self._report("waiting")
            while not self._stop.is_set() and self._publishers.watchers < self._settings.wait_for_subscribers:
                self._stand()
            if self._settings.patrol:
                self._report("patrolling")
                frames = self._settings.patrol_frames_max or len(walk)
                self._follow(islice(walk, frames), pictures=True)
            self._report("idle")
            while not self._stop.is_set():
                self._stand()
                goal = self._newest_goal()
                if goal is not None:
                    self._walk_to(goal)

    def _newest_goal(self) -> Transform | None:
        goal = None
        while True:
            try:
                goal = self._goals.get_nowait()
            except Empty:
                return goal

    def _walk_to(self, goal: Transform) -> None:
        """Walk to a goal given in the robot's own, possibly drifted, map."""
        from m3_ros.planner import shortest_path

        true_goal = self._odometry.T_map_odom @ goal
        x, y, yaw = float(true_goal[0, 3]), float(true_goal[1, 3]), yaw_of(true_goal)
        life = self._life
        life.goal, life.goal_free = (x, y, yaw), bool(self._free.is_free((x, y)))
        life.reached, life.message, life.path = None, "", [(self._state.x, self._state.y)]
        self._report("walking")
        try:
            path = shortest_path(self._free, (self._state.x, self._state.y), (x, y))
        except PlanningError as error:
            life.message = str(error)
        else:
            self._follow(walk_path(self._state, path, yaw, self._settings.walk), pictures=self._publishers.watchers > 0)
        life.distance_m = float(np.hypot(self._state.x - x, self._state.y - y))
        life.reached = life.distance_m <= self._settings.goal_tolerance_m
        self._report("arrived" if life.reached else "idle")

    def _follow(self, states: Iterable[RobotState], pictures: bool) -> None:
        """Take on one state after the other in real time, scaled; ends early when stopped or a newer goal waits."""
        for state in states:
            if self._stop.is_set() or (self._life.state == "walking" and not self._goals.empty()):
                return
            self._become(state)
            stamp_ns = self._publish_motion()
            if pictures:
                self._publishers.picture(self._camera.shot(self._state), stamp_ns)
            self._pause(1 / (self._settings.rate_hz * self._settings.time_scale))

    def _become(self, state: RobotState) -> None:
        self._state = state
        life = self._life
        life.collision_free = life.collision_free and bool(self._free.is_free((state.x, state.y)))
        if life.path and np.hypot(state.x - life.path[-1][0], state.y - life.path[-1][1]) > 0.05:
            life.path.append((round(state.x, 3), round(state.y, 3)))

    def _stand(self) -> None:
        state = self._state
        dt = self._settings.time_scale / IDLE_HZ
        self._state = RobotState(state.t + dt, state.x, state.y, state.yaw)
        self._publish_motion()
        self._pause(1 / IDLE_HZ)

    def _publish_motion(self) -> int:
        stamp_ns = self._stamp_ns()
        self._publishers.tick(stamp_ns)
        self._publishers.motion(self._odometry.update(T_map_base(self._state)), self._state, stamp_ns)
        return stamp_ns

    def _stamp_ns(self) -> int:
        return CLOCK_START_NS + round(self._state.t * 1e9) if self._settings.publish_clock else self._now_ns()

    def _pause(self, seconds: float) -> None:
        """Wait until the next moment is due; a robot that is late does not hurry afterwards."""
        self._due_s = max(self._due_s + seconds, time.monotonic() - seconds)
        self._stop.wait(max(0.0, self._due_s - time.monotonic()))

    def _report(self, state: str) -> None:
        life = self._life
        if state != life.state or state == "building":
            log.info("%s", state)
        life.state, life.frames_published = state, self._publishers.frames_published
        if hasattr(self, "_state"):
            life.pose = (self._state.x, self._state.y, self._state.yaw)
        self._publish_status(**vars(life))
