import pytest

from m3_ros.errors import SimulationError
from m3_ros.geometry.camera import Camera
from m3_ros.sim import SimCamera, World, WorldSettings

COARSE = WorldSettings(seed=8, texel_m=0.06, light_samples=1, bounces=1, rays=2)


@pytest.fixture(scope="session")
def world():
    return World.generate(COARSE)


@pytest.fixture(scope="session")
def camera():
    return Camera(160, 120, 95.0, 90.0, 83.0, 57.0)


@pytest.fixture
def eye(world, camera):
    try:
        with SimCamera(world, camera) as sim_camera:
            yield sim_camera
    except SimulationError as error:
        pytest.skip(f"this machine cannot render: {error}")
