"""The MuJoCo model of a baked room with the quadruped in it."""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from m3_ros.errors import SimulationError
from m3_ros.sim.quadruped import actuator_mjcf, body_mjcf

if TYPE_CHECKING:
    from m3_ros.sim.world import World

ROOM_GROUP = 0  # MuJoCo visual group of the room
HIDDEN_GROUP = 3
BAKED_ALBEDO = 0.02
"""Trick: with this colour and its inverse as emission a texture shows at full value while lamps add under 2 %."""
NEAR_M, FAR_M = 0.025, 15.0

_MJCF = """<mujoco model="room"><compiler angle="degree"/><option timestep=".002" integrator="implicitfast"/>
<visual><quality shadowsize="0" offsamples="4" numslices="14" numstacks="8"/><map znear="{near}" zfar="{far}"/>
<headlight ambient=".45 .45 .45" diffuse=".5 .5 .5" specular="0 0 0"/></visual><statistic extent="1" center="0 0 1"/>
<default><joint damping=".1" armature=".01"/></default><worldbody>
<geom name="ground" type="plane" size="5 5 .1" group="{hidden}" contype="1" conaffinity="0" friction="1.1"/>
{body}</worldbody><actuator>{actuators}</actuator></mujoco>"""


def import_mujoco() -> Any:
    """Import MuJoCo, rendering without a display unless the user chose otherwise.

    Raises:
        SimulationError: MuJoCo is not installed or its OpenGL libraries are missing.
    """
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        import mujoco
    except (ImportError, AttributeError, OSError) as error:  # PyOpenGL raises AttributeError when libEGL is absent
        raise SimulationError(f"the simulator needs MuJoCo and OpenGL ({error}): {GL_REMEDY}") from error
    return mujoco


def gl_context(width: int, height: int) -> Any:
    """Make an off-screen OpenGL context of the kind that MUJOCO_GL names.

    MuJoCo itself reads MUJOCO_GL when it is first imported, which somebody else may have done before it was set.

    Raises:
        SimulationError: this machine has no such OpenGL.
    """
    mujoco, backend = import_mujoco(), os.environ.get("MUJOCO_GL", "").lower()
    try:
        package = importlib.import_module(f"mujoco.{backend}") if backend in ("egl", "osmesa") else mujoco
        return package.GLContext(width, height)
    except Exception as error:
        raise SimulationError(f"cannot make an OpenGL context without a display ({error}): {GL_REMEDY}") from error


GL_REMEDY = (
    "pip install 'mujoco>=3.3' and apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri "
    "(or set MUJOCO_GL=osmesa and apt-get install libosmesa6)"
)


def build_model(world: "World") -> Any:
    """Return an MjModel: a textured mesh geom `instance_<id>` per thing, the robot, an invisible ground to walk on."""
    mujoco = import_mujoco()
    spec = mujoco.MjSpec.from_string(
        _MJCF.format(near=NEAR_M, far=FAR_M, hidden=HIDDEN_GROUP, body=body_mjcf(), actuators=actuator_mjcf())
    )
    mesh = world.mesh
    height, width = mesh.texture.shape[:2]
    texture = spec.add_texture(
        name="atlas", type=mujoco.mjtTexture.mjTEXTURE_2D, width=width, height=height, nchannel=3
    )
    texture.data = np.ascontiguousarray(mesh.texture).tobytes()
    material = spec.add_material(
        name="baked", emission=1 / BAKED_ALBEDO, specular=0, shininess=0, reflectance=0, rgba=[BAKED_ALBEDO] * 3 + [1]
    )
    roles = [""] * int(mujoco.mjtTextureRole.mjNTEXROLE)
    roles[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = "atlas"
    material.textures = roles
    for instance in world.instances:
        _add_instance(mujoco, spec, world, instance.id)
    return spec.compile()


def _add_instance(mujoco: Any, spec: Any, world: "World", number: int) -> None:
    triangles = world.mesh.triangles[world.mesh.triangle_instance == number - 1]
    used, faces = np.unique(triangles, return_inverse=True)
    faces = faces.ravel().astype(np.int32)
    part = spec.add_mesh(name=f"mesh_{number}", inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL)
    part.uservert, part.userface = world.mesh.vertices[used].ravel(), faces
    part.usertexcoord, part.userfacetexcoord = world.mesh.uv[used].ravel(), faces
    spec.worldbody.add_geom(
        name=f"instance_{number}",
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname=f"mesh_{number}",
        material="baked",
        contype=0,
        conaffinity=0,
        group=ROOM_GROUP,
    )
