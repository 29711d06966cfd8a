"""`m3 sim`: a simulated robot in a generated room, as ROS 2 topics or as a folder of posed pictures."""

from pathlib import Path

from m3_ros.cli.processes import node_command, run_foreground
from m3_ros.sim.layout import DEMO_SEED


def run(
    write: Path | None = None,
    seed: int = DEMO_SEED,
    complete: bool = True,
    width: int = 320,
    height: int = 240,
    rate_hz: float = 15.0,
    speed: float = 0.5,
    noise_m: float = 0.0,
    yaw_drift: float = 0.0,
    physics: bool = False,
) -> int:
    """Publish a simulated robot over ROS 2, or write its walk to a folder.

    Without --write the robot waits for a subscriber, patrols its room once, then follows /m3/goal_pose until Ctrl-C.

    Args:
        write: Write the patrol here as a posed sequence with truth instead of publishing it.
        seed: Chooses the room.
        complete: A large living room with one of every kind that fits there; otherwise a random choice.
        width: Picture width [px].
        height: Picture height [px].
        rate_hz: Pictures per second.
        speed: Walking speed [m/s].
        noise_m: Odometry noise: standard deviation of the position after one metre [m].
        yaw_drift: Odometry drift [rad/m].
        physics: Walk by simulated joints and contacts instead of the kinematic gait (with --write).
    """
    if write is not None:
        return _write(write, seed, complete, (width, height), rate_hz, speed, (noise_m, yaw_drift), physics)
    parameters = {
        "seed": seed, "complete": complete, "width_px": width, "height_px": height, "rate_hz": rate_hz, "speed": speed,
        "noise_m": noise_m, "yaw_drift": yaw_drift,
    }  # fmt: skip
    return run_foreground(node_command("simulator", parameters))


def _write(
    directory: Path,
    seed: int,
    complete: bool,
    size: tuple[int, int],
    rate_hz: float,
    speed: float,
    odometry: tuple[float, float],
    physics: bool,
) -> int:
    import numpy as np

    from m3_ros.geometry.camera import Camera
    from m3_ros.sim import (
        OdometrySettings,
        PatrolSettings,
        World,
        WorldSettings,
        default_cache_dir,
        patrol,
        write_sequence,
    )
    from m3_ros.sim.physics import physics_patrol

    world = World.generate(WorldSettings(seed, complete=complete), default_cache_dir())
    settings = PatrolSettings(speed=speed, rate_hz=rate_hz)
    states = physics_patrol(world, settings) if physics else patrol(world, settings)
    noise = OdometrySettings(noise_m=odometry[0], yaw_drift=odometry[1], seed=seed) if any(odometry) else None
    camera = Camera.from_fov(*size, float(np.deg2rad(75.0)))
    write_sequence(directory, world, camera, states, noise)
    print(f"{directory}: the patrol of room {seed} with {len(world.instances)} named things, truth in transforms.json")
    return 0
