"""The quadruped under gravity: twelve servos trot on the ground and the trunk goes where the feet carry it."""

from collections.abc import Iterator

import numpy as np

from m3_ros.errors import SimulationError
from m3_ros.geometry.pose import Transform, quat_to_matrix, transform, yaw_of
from m3_ros.sim.model import import_mujoco
from m3_ros.sim.patrol import STEP_M, PatrolSettings, patrol_path
from m3_ros.sim.quadruped import RobotState, configuration, trot
from m3_ros.sim.world import World

STRIDE_HZ, LIFT_M, HIP_HEIGHT_M = 2.5, 0.06, 0.28  # a longer stride falls over
FASTEST = 0.4  # m/s
FASTEST_TURN = 1.6  # rad/s that the feet are asked for; they slip, so the trunk turns less
LOOK_AHEAD_M = 0.35
UPRIGHT = 0.7  # cosine of the largest tilt


class PhysicsRobot:
    """A robot that walks by contact forces on flat ground; it does not feel the furniture."""

    def __init__(self, world: World, start: RobotState) -> None:
        self._mujoco = import_mujoco()
        self._model, self._t = world.model, 0.0
        self._data = self._mujoco.MjData(self._model)
        self._data.qpos[:] = configuration(start)
        self.drive(0.0, 0.0, 0.3)  # settle on the feet

    @property
    def t(self) -> float:
        """Time since the start [s]."""
        return self._t

    @property
    def T_map_base(self) -> Transform:
        """Pose of the trunk now."""
        return transform(quat_to_matrix(self._data.qpos[3:7]), self._data.qpos[:3])

    def drive(self, vx: float, yaw_rate: float, dt: float) -> Transform:
        """Trot for `dt` seconds at a wanted forward speed [m/s] and turn [rad/s]; returns the new T_map_base.

        Raises:
            SimulationError: the robot fell over.
        """
        vx, yaw_rate = float(np.clip(vx, -FASTEST, FASTEST)), float(np.clip(yaw_rate, -FASTEST_TURN, FASTEST_TURN))
        for _ in range(max(1, round(dt / self._model.opt.timestep))):
            wish = RobotState(self._t, 0, 0, 0, vx, 0.0, yaw_rate)
            self._data.ctrl[:] = trot(wish, HIP_HEIGHT_M, STRIDE_HZ, LIFT_M)
            self._mujoco.mj_step(self._model, self._data)
            self._t += self._model.opt.timestep
        pose = self.T_map_base
        if pose[2, 2] < UPRIGHT:
            raise SimulationError(f"the robot fell at ({pose[0, 3]:.2f}, {pose[1, 3]:.2f}): ask for a slower walk")
        return pose


def physics_patrol(world: World, settings: PatrolSettings | None = None) -> Iterator[tuple[float, Transform]]:
    """Walk the patrol once under physics; yields time [s] and T_map_base at the settings' rate.

    Raises:
        SimulationError: the robot fell over, or never came round.
    """
    walk = settings or PatrolSettings()
    path = patrol_path(world, walk)
    ahead = round(LOOK_AHEAD_M / STEP_M)
    heading = np.arctan2(*(path[ahead] - path[0])[::-1])
    robot = PhysicsRobot(world, RobotState(0, float(path[0, 0]), float(path[0, 1]), float(heading)))
    at, speed, turn, deadline = 0, 0.0, 0.0, 5 * len(path) * STEP_M / walk.speed
    while at < len(path) - ahead // 2:
        if robot.t > deadline:
            done = f"{at * STEP_M:.1f} of {len(path) * STEP_M:.1f} m"
            raise SimulationError(f"the robot walked only {done} in {robot.t:.0f} s: take another room")
        pose = robot.drive(speed, turn, 1 / walk.rate_hz)
        window = path[at : at + 2 * ahead]
        at += int(np.argmin(np.linalg.norm(window - pose[:2, 3], axis=1)))
        offset = path[(at + ahead) % len(path)] - pose[:2, 3]
        error = (np.arctan2(offset[1], offset[0]) - yaw_of(pose) + np.pi) % (2 * np.pi) - np.pi
        speed, turn = min(walk.speed, FASTEST) * max(0.0, float(np.cos(error))) ** 2, 2.5 * float(error)
        yield robot.t, pose
