"""The simulated RGB-D camera: colour, exact depth and instance ids of any view of a world."""

import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from jaxtyping import Float, UInt8, UInt16
from numpy.typing import NDArray

from m3_ros.errors import SimulationError
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import Transform
from m3_ros.sim.model import FAR_M, GL_REMEDY, NEAR_M, ROOM_GROUP, gl_context, import_mujoco
from m3_ros.sim.quadruped import GEOM_GROUP, RobotState, T_map_camera, configuration
from m3_ros.sim.world import World

_SPARE_GEOMS = 100


@dataclass(frozen=True)
class Shot:
    """One picture with its truth."""

    rgb: UInt8[NDArray[np.uint8], "H W 3"]
    depth: Float[NDArray[np.float32], "H W"]
    """Distance along the optical axis [m]; 0 where nothing was hit."""
    instances: UInt16[NDArray[np.uint16], "H W"]
    """Instance ids of the world; 0 for the robot and for nothing."""
    T_map_camera: Transform
    """OpenCV axes."""


class SimCamera:
    """Takes pictures of a world. It belongs to the thread that made it, as OpenGL contexts do; close it there."""

    def __init__(self, world: World, camera: Camera) -> None:
        """Open an off-screen OpenGL context.

        Raises:
            SimulationError: this machine cannot render.
        """
        self._mujoco = mujoco = import_mujoco()
        self.world, self.camera = world, camera
        model = world.model
        self._data = mujoco.MjData(model)
        mujoco.mj_forward(model, self._data)
        self._thread = threading.get_ident()
        model.vis.global_.offwidth, model.vis.global_.offheight = camera.width, camera.height
        self._gl: Any = gl_context(camera.width, camera.height)
        try:
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except (mujoco.FatalError, RuntimeError) as error:
            self._gl.free()
            raise SimulationError(f"OpenGL cannot draw without a display ({error}): {GL_REMEDY}") from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, model.ngeom + _SPARE_GEOMS)
        for flag in ("SHADOW", "REFLECTION", "HAZE", "SKYBOX"):
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = 0
        self._option, self._free_camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._viewport = mujoco.MjrRect(0, 0, camera.width, camera.height)
        self._id_of_geom = np.zeros(model.ngeom + 1, np.uint16)  # the last one answers for "no geom", index -1
        for instance in world.instances:
            self._id_of_geom[model.geom(f"instance_{instance.id}").id] = instance.id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the OpenGL context."""
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._gl = None

    def shot(
        self, where: Transform | RobotState, robot: RobotState | None = None, camera: Camera | None = None
    ) -> Shot:
        """Take a picture from T_map_camera, or with the robot's own head camera.

        Args:
            where: the camera's pose (OpenCV axes), or the state of the robot that carries it.
            robot: shows the robot in a picture from elsewhere; None leaves it out.
            camera: intrinsics for this picture, of the same size as the camera's own.

        Raises:
            SimulationError: the camera is closed or used from another thread than its own, or the size differs.
        """
        lens = self._checked(camera)
        if isinstance(where, RobotState):
            robot, pose = None, T_map_camera(where)  # the head looks over its own body
        else:
            pose = np.asarray(where, np.float64)
        self._compose(pose, lens, robot)
        rgb = np.empty((lens.height, lens.width, 3), np.uint8)
        self._mujoco.mjr_render(self._viewport, self._scene, self._context)
        self._mujoco.mjr_readPixels(rgb, None, self._viewport, self._context)
        depth, instances = self._depth_and_instances(lens)
        return Shot(rgb[::-1].copy(), depth, instances, pose)

    def _checked(self, camera: Camera | None) -> Camera:
        if self._gl is None:
            raise SimulationError("this camera is closed: open a new SimCamera")
        if threading.get_ident() != self._thread:
            raise SimulationError("a SimCamera works only in the thread that made it: make one in this thread")
        lens = camera or self.camera
        if (lens.width, lens.height) != (self.camera.width, self.camera.height):
            raise SimulationError(
                f"this camera takes pictures of {self.camera.width}x{self.camera.height}, "
                f"not {lens.width}x{lens.height}: open another"
            )
        self._gl.make_current()
        return lens

    def _compose(self, pose: Transform, lens: Camera, robot: RobotState | None) -> None:
        """Fill the scene and point both of its eyes along the pose, with the lens's own frustum."""
        mujoco, model = self._mujoco, self.world.model
        self._option.geomgroup[:] = 0
        self._option.geomgroup[ROOM_GROUP] = 1
        if robot is not None:
            self._option.geomgroup[GEOM_GROUP] = 1
            self._data.qpos[:] = configuration(robot)
            mujoco.mj_kinematics(model, self._data)
        mujoco.mjv_updateScene(
            model, self._data, self._option, None, self._free_camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        left, right = -lens.cx / lens.fx * NEAR_M, (lens.width - lens.cx) / lens.fx * NEAR_M
        for eye in self._scene.camera:
            eye.pos, eye.forward, eye.up = pose[:3, 3], pose[:3, 2], -pose[:3, 1]
            eye.frustum_near, eye.frustum_far = NEAR_M, FAR_M
            eye.frustum_top = lens.cy / lens.fy * NEAR_M
            eye.frustum_bottom = -(lens.height - lens.cy) / lens.fy * NEAR_M
            eye.frustum_center, eye.frustum_width = (left + right) / 2, (right - left) / 2

    def _depth_and_instances(
        self, lens: Camera
    ) -> tuple[Float[NDArray[np.float32], "H W"], UInt16[NDArray[np.uint16], "H W"]]:
        """Look at pixel centres: this pass has one sample a pixel, where the colours have several."""
        mujoco, flags = self._mujoco, self._scene.flags
        colours = np.empty((lens.height, lens.width, 3), np.uint8)
        depth = np.empty((lens.height, lens.width), np.float32)
        self._set_id_colours(flags, 1)
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(colours, depth, self._viewport, self._context)
        self._set_id_colours(flags, 0)
        metres = NEAR_M * FAR_M / (FAR_M - depth[::-1] * np.float32(FAR_M - NEAR_M))
        metres[depth[::-1] >= 1] = 0
        return metres.astype(np.float32), self._ids(colours)

    def _ids(self, colours: UInt8[NDArray[np.uint8], "H W 3"]) -> UInt16[NDArray[np.uint16], "H W"]:
        """Turn the colours of geoms, bottom row first, into instance ids."""
        codes = colours[::-1].astype(np.int32) @ np.array([1, 256, 65536], np.int32)
        geom = np.full(self._scene.ngeom + 2, -1, np.int32)
        for shape in self._scene.geoms[: self._scene.ngeom]:
            if shape.segid >= 0:
                geom[shape.segid + 1] = shape.objid
        return self._id_of_geom[geom[np.clip(codes, 0, len(geom) - 1)]]

    def _set_id_colours(self, flags: Any, value: int) -> None:
        flags[self._mujoco.mjtRndFlag.mjRND_SEGMENT] = value
        flags[self._mujoco.mjtRndFlag.mjRND_IDCOLOR] = value
