"""The embedded world: a furnished room, a quadruped that walks through it, and its camera; exact poses and masks.

Everything is procedural: a seed gives the room, byte for byte. `layout` places things,
`bake` lights them once into a texture, `camera` looks at the result.
"""

from m3_ros.sim.camera import Shot, SimCamera
from m3_ros.sim.layout import DEMO_SEED
from m3_ros.sim.odometry import Odometry, OdometrySettings
from m3_ros.sim.patrol import PatrolSettings, patrol
from m3_ros.sim.physics import PhysicsRobot, physics_patrol
from m3_ros.sim.quadruped import RobotState, T_base_camera, T_map_base, T_map_camera
from m3_ros.sim.sequence import write_sequence
from m3_ros.sim.world import Instance, World, WorldSettings, default_cache_dir

__all__ = [
    "DEMO_SEED",
    "Instance",
    "Odometry",
    "OdometrySettings",
    "PatrolSettings",
    "PhysicsRobot",
    "RobotState",
    "Shot",
    "SimCamera",
    "T_base_camera",
    "T_map_base",
    "T_map_camera",
    "World",
    "WorldSettings",
    "default_cache_dir",
    "patrol",
    "physics_patrol",
    "write_sequence",
]
