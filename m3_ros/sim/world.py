"""A simulated room ready to be looked at: baked mesh, MuJoCo model, and the exact truth about every thing in it."""

import hashlib
import io
import logging
import os
import zipfile
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray

from m3_ros.errors import SimulationError
from m3_ros.files import write_whole
from m3_ros.geometry.grid import Grid2D
from m3_ros.sim.atlas import build_atlas
from m3_ros.sim.bake import BakeSettings, bake
from m3_ros.sim.layout import Room, build_room

log = logging.getLogger(__name__)

OBSTACLE_HEIGHTS_M = (0.04, 1.0)
"""What reaches into this band of heights is in the robot's way."""
_SOURCES_OF_THE_BAKE = (
    *("layout", "floorplan", "lights", "shell", "kinds", "items", "patches", "materials", "finishes", "noise"),
    *("pictures", "atlas", "bake"),
)


@dataclass(frozen=True)
class WorldSettings:
    """What room to make and how finely."""

    seed: int
    """Chooses the room: size, things, places, colours and lights."""
    complete: bool = False
    """Put one of each kind that fits a living room into a large room instead of a random choice."""
    left_out: tuple[str, ...] = ()
    """Shapes that nothing in the room has, as "chair/office"."""
    texel_m: float = 0.012
    """Side of a texture texel [m]; rooms that only train the encoder can be coarser."""
    light_texel: int = 4
    """Side of a light texel in texture texels."""
    light_samples: int = 4
    """Shadow rays per light along each side."""
    bounces: int = 2
    """Times light is reflected."""
    rays: int = 32
    """Rays per light texel and bounce."""


@dataclass(frozen=True)
class Instance:
    """The truth about one thing: what it is and the box it fills in the map frame [m]."""

    id: int
    """Its value in instance images, from 1."""
    kind: str
    name: str
    """Kind, with a number from the second of its kind on."""
    colours: tuple[str, ...]
    shape: str
    """Which of its kind's shapes it has."""
    minimum: Float[NDArray[np.float64], "3"]
    maximum: Float[NDArray[np.float64], "3"]

    @property
    def centre(self) -> Float[NDArray[np.float64], "3"]:
        """Middle of the box."""
        return (self.minimum + self.maximum) / 2


@dataclass(frozen=True)
class Mesh:
    """The baked triangles of a room."""

    vertices: Float[NDArray[np.float32], "V 3"]
    uv: Float[NDArray[np.float32], "V 2"]
    triangles: Int[NDArray[np.int32], "T 3"]
    triangle_instance: Int[NDArray[np.int32], " T"]
    texture: UInt8[NDArray[np.uint8], "H W 3"]


@dataclass(frozen=True)
class World:
    """A baked room. The map frame lies in the middle of the floor, z up."""

    settings: WorldSettings
    room: Room
    mesh: Mesh
    instances: tuple[Instance, ...]

    @classmethod
    def generate(cls, settings: WorldSettings, cache_dir: Path | None = None) -> "World":
        """Build and light the room of `settings`; with a cache folder the lighting is computed once.

        Raises:
            SimulationError: embreex is needed and not installed.
        """
        room = build_room(settings.seed, complete=settings.complete, left_out=settings.left_out)
        path = cache_dir / f"room_{settings.seed}_{_fingerprint(settings)}.npz" if cache_dir else None
        mesh = _load(path) if path else None
        if mesh is None:
            mesh = _bake(room, settings)
            if path:
                _save(path, mesh)
        return cls(settings, room, mesh, _instances(room, mesh))

    def instance(self, name: str) -> Instance:
        """Return the instance called `name`.

        Raises:
            SimulationError: nothing has this name.
        """
        for instance in self.instances:
            if instance.name == name:
                return instance
        raise SimulationError(f"no {name!r} in this room; it has {', '.join(i.name for i in self.instances)}")

    def vertices_of(self, instance: Instance) -> Float[NDArray[np.float32], "N 3"]:
        """Return the vertices [m] of one instance."""
        used = np.unique(self.mesh.triangles[self.mesh.triangle_instance == instance.id - 1])
        return np.asarray(self.mesh.vertices[used])

    def free_space(self, resolution_m: float = 0.05, robot_radius_m: float = 0.30) -> Grid2D:
        """Return the grid of places (True: occupied) where the centre of a round robot cannot be."""
        import cv2

        margin = 2
        size = np.asarray(self.room.size[:2])
        cells = np.ceil(size / resolution_m).astype(int) + 2 * margin
        origin = -cells * resolution_m / 2
        image = np.full((cells[1], cells[0]), 1, np.uint8)
        lo, hi = ((s * size / 2 - origin) / resolution_m for s in (-1, 1))
        inside = (slice(int(np.ceil(lo[1])), int(hi[1])), slice(int(np.ceil(lo[0])), int(hi[0])))
        image[inside] = 0
        band = self.mesh.vertices[self.mesh.triangles]
        solid = (band[..., 2].max(axis=1) > OBSTACLE_HEIGHTS_M[0]) & (band[..., 2].min(axis=1) < OBSTACLE_HEIGHTS_M[1])
        corners = (band[solid][..., :2] - origin) / resolution_m - 0.5  # cv2 counts pixel centres
        for corner in np.round(corners * 256).astype(np.int32):
            cv2.fillConvexPoly(image, corner, 1, lineType=cv2.LINE_8, shift=8)
        clearance = cv2.distanceTransform(1 - image, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * resolution_m
        return Grid2D(origin, resolution_m, np.asarray(clearance <= robot_radius_m))

    @cached_property
    def model(self) -> Any:
        """Return the MuJoCo model of room and robot."""
        from m3_ros.sim.model import build_model

        return build_model(self)


def default_cache_dir() -> Path:
    """Return the user's folder for baked rooms."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "m3_ros" / "rooms"


def _bake(room: Room, settings: WorldSettings) -> Mesh:
    atlas = build_atlas([(placed.item.patches, placed.T_map_item) for placed in room.items], settings.texel_m)
    log.info("lighting room %d: %d patches, atlas %dx%d", settings.seed, len(atlas.charts), atlas.width, atlas.height)
    light = BakeSettings(settings.light_texel, settings.light_samples, settings.bounces, settings.rays, settings.seed)
    texture = bake(atlas, room.lights, light)
    return Mesh(atlas.vertices, atlas.uv, atlas.triangles, atlas.triangle_instance, texture)


def _instances(room: Room, mesh: Mesh) -> tuple[Instance, ...]:
    instances = []
    for index, placed in enumerate(room.items):
        points = mesh.vertices[mesh.triangles[mesh.triangle_instance == index].ravel()].astype(np.float64)
        item = placed.item
        box = points.min(axis=0), points.max(axis=0)
        instances.append(Instance(index + 1, item.kind, placed.name, item.colours, item.shape, *box))
    return tuple(instances)


def _fingerprint(settings: WorldSettings) -> str:
    """Hash the settings and the code that shapes the room, so that a cache never outlives its code."""
    digest = hashlib.sha256(repr(sorted(asdict(settings).items())).encode())
    here = Path(__file__).parent
    sources = [here / f"{name}.py" for name in _SOURCES_OF_THE_BAKE] + sorted((here / "furniture").glob("*.py"))
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _save(path: Path, mesh: Mesh) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    np.savez_compressed(data, **vars(mesh))
    write_whole(path, data.getvalue(), lasting=False)


def _load(path: Path) -> Mesh | None:
    """Read a cached mesh; a missing or broken file gives None, and the room is lit anew."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file) as stored:
            mesh = Mesh(**{part.name: stored[part.name] for part in fields(Mesh)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("the cached room %s is broken (%s); lighting it anew", path, error)
        return None
    return mesh
