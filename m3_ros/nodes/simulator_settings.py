"""Parameters of the simulator node, and what they mean to the simulated world."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from m3_ros.geometry.camera import Camera
from m3_ros.sim import WorldSettings
from m3_ros.sim.layout import DEMO_SEED
from m3_ros.sim.odometry import OdometrySettings
from m3_ros.sim.patrol import PatrolSettings
from m3_ros.sim.walk import WalkSettings


@dataclass(frozen=True)
class SimulatorSettings:
    """Parameters of the simulator node."""

    seed: Annotated[int, "0.."] = DEMO_SEED
    """Chooses the room."""
    complete: bool = True
    """True: a large living room with one of every kind that fits there; False: a random choice."""
    texel_m: Annotated[float, "0.004..0.2"] = 0.012
    """Side of a texture texel [m]; larger is lit faster."""
    width_px: Annotated[int, "16..4096"] = 320
    """Image width [px]."""
    height_px: Annotated[int, "16..4096"] = 240
    """Image height [px]."""
    horizontal_fov_deg: Annotated[float, "20..150"] = 75.0
    """Horizontal field of view [deg]."""
    rate_hz: Annotated[float, "1..60"] = 15.0
    """Pictures per second of simulated time."""
    time_scale: Annotated[float, "0.1..50"] = 1.0
    """Simulated seconds per second."""
    speed: Annotated[float, "0.05..2"] = 0.4
    """Walking speed on the patrol [m/s]."""
    walk_speed: Annotated[float, "0.05..2"] = 0.5
    """Walking speed to a goal [m/s]."""
    patrol: bool = True
    """Walk once through the room at the start."""
    patrol_frames_max: Annotated[int, "0.."] = 0
    """End the patrol after so many pictures; 0: walk it all."""
    wait_for_subscribers: Annotated[int, "0..16"] = 1
    """The patrol starts when the images have so many subscribers."""
    publish_clock: bool = False
    """Publish /clock and stamp with simulated time, for nodes with use_sim_time."""
    goal_topic: str = "goal_pose"
    """Where goals come in."""
    goal_tolerance_m: Annotated[float, "0.01..2"] = 0.25
    """A goal is reached within this distance [m]."""
    slip: Annotated[float, "-0.5..0.5"] = 0.0
    """Share by which odometry measures distances too long."""
    noise_m: Annotated[float, "0..1"] = 0.0
    """Standard deviation of odometry's position after one metre [m]."""
    yaw_drift: Annotated[float, "-0.5..0.5"] = 0.0
    """Systematic turn of odometry [rad/m]."""
    yaw_noise: Annotated[float, "0..0.5"] = 0.0
    """Standard deviation of odometry's heading after one metre [rad]."""

    @property
    def world(self) -> WorldSettings:
        """The room."""
        return WorldSettings(self.seed, complete=self.complete, texel_m=self.texel_m)

    @property
    def camera(self) -> Camera:
        """The head camera."""
        return Camera.from_fov(self.width_px, self.height_px, float(np.deg2rad(self.horizontal_fov_deg)))

    @property
    def patrol_settings(self) -> PatrolSettings:
        """The walk through the room."""
        return PatrolSettings(speed=self.speed, rate_hz=self.rate_hz)

    @property
    def walk(self) -> WalkSettings:
        """The walk to a goal."""
        return WalkSettings(speed=self.walk_speed, rate_hz=self.rate_hz)

    @property
    def odometry(self) -> OdometrySettings:
        """How wrong odometry is."""
        return OdometrySettings(self.slip, self.noise_m, self.yaw_drift, self.yaw_noise, self.seed)
