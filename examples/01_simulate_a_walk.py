"""Walk a simulated quadruped through a generated room and write what its camera saw: 01_simulate_a_walk.py OUT."""

import sys
from pathlib import Path

import numpy as np

from m3_ros.geometry.camera import Camera
from m3_ros.sim import PatrolSettings, World, WorldSettings, patrol, write_sequence


def main(out: str, seed: str = "3", frames_per_second: str = "2") -> None:
    """Write the patrol of a room as transforms.json, pictures and depth, with the truth about every thing in it."""
    world = World.generate(WorldSettings(int(seed), texel_m=0.03, light_samples=2, bounces=1))
    print(f"room {seed} holds {', '.join(sorted({instance.name for instance in world.instances}))}")
    states = patrol(world, PatrolSettings(rate_hz=float(frames_per_second)))
    camera = Camera.from_fov(160, 120, float(np.deg2rad(75.0)))
    write_sequence(Path(out), world, camera, states)
    print(f"{len(states)} frames in {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
