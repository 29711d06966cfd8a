"""Training pictures for the embedded encoder: generated rooms, seen from random places, as plain arrays on disk."""

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from m3_ros.errors import M3Error, TrainingError

log = logging.getLogger(__name__)

FIRST_TRAINING_SEED = 100_000
"""Rooms of this seed and above belong to the training of the encoder; the demo and the tests stay below."""

_ROOMS_PER_PROCESS = 8


@dataclass(frozen=True)
class RoomSettings:
    """What training rooms look like and how often they are seen."""

    views: int = 50
    """Pictures of each room."""
    width: int = 320
    """Picture width [px]."""
    height: int = 240
    """Picture height [px]."""
    aimed: float = 0.8
    """Share of the views that look at a thing."""
    complete: bool = False
    """Furnish a large living room, as the demo does, instead of making a random choice."""
    left_out: tuple[str, ...] = ()
    """Shapes that nothing in the rooms has, as "chair/office"."""
    texel_m: float = 0.018
    """Side of a texture texel [m]."""
    light_samples: int = 2
    """Shadow rays per light along each side."""
    bounces: int = 1
    """Times light is reflected."""
    rays: int = 10
    """Rays per light texel and bounce."""


@dataclass(frozen=True)
class RoomViews:
    """All pictures of one room, with the truth."""

    seed: int
    """What the room was generated from."""
    rgb: UInt8[NDArray[np.uint8], "V H W 3"]
    """Pictures, sRGB."""
    ids: UInt8[NDArray[np.uint8], "V H W"]
    """Instance of each pixel, from 1; 0 for nothing."""
    kinds: tuple[str, ...]
    """Kind of instance i + 1."""
    words: tuple[tuple[str, ...], ...]
    """Colours and materials of instance i + 1."""
    shapes: tuple[str, ...]
    """Shape of instance i + 1 among those of its kind."""


def room_path(directory: Path, seed: int) -> Path:
    """Return where the room of a seed lies."""
    return directory / f"room_{seed:06d}"


def room_seeds(directory: Path) -> tuple[int, ...]:
    """List the seeds of the finished rooms in a folder."""
    return tuple(sorted(int(path.parent.name[5:]) for path in directory.glob("room_*/room.json")))


def write_room(directory: Path, views: RoomViews) -> Path:
    """Write a room in one step: it is there completely or not at all."""
    target = room_path(directory, views.seed)
    directory.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".room_", dir=directory))
    try:
        np.save(temporary / "rgb.npy", views.rgb)
        np.save(temporary / "ids.npy", views.ids)
        truth = {"seed": views.seed, "kinds": views.kinds, "words": views.words, "shapes": views.shapes}
        (temporary / "room.json").write_text(json.dumps(truth), encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def read_room(directory: Path, seed: int) -> RoomViews:
    """Open a room without loading its pictures into memory.

    Raises:
        TrainingError: the room is missing or broken.
    """
    path = room_path(directory, seed)
    try:
        truth = json.loads((path / "room.json").read_text(encoding="utf-8"))
        rgb = np.load(path / "rgb.npy", mmap_mode="r", allow_pickle=False)
        ids = np.load(path / "ids.npy", mmap_mode="r", allow_pickle=False)
        kinds, shapes = tuple(truth["kinds"]), tuple(truth["shapes"])
        words = tuple(tuple(w) for w in truth["words"])
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"the training room {path} cannot be read ({error}): delete it and generate it again"
        ) from error
    if rgb.ndim != 4 or rgb.shape[:3] != ids.shape or rgb.shape[3] != 3 or not len(kinds) == len(words) == len(shapes):
        raise TrainingError(
            f"the training room {path} is inconsistent ({rgb.shape}, {ids.shape}): delete it and generate it again"
        )
    return RoomViews(seed, rgb, ids, kinds, words, shapes)


def render_room(seed: int, settings: RoomSettings) -> RoomViews:
    """Generate the room of a seed and take its pictures.

    Raises:
        SimulationError: this machine cannot generate or render rooms.
    """
    from m3_ros.sim.views import ViewSettings, random_views
    from m3_ros.sim.world import World, WorldSettings

    world = World.generate(
        WorldSettings(
            seed=seed,
            complete=settings.complete,
            left_out=settings.left_out,
            texel_m=settings.texel_m,
            light_samples=settings.light_samples,
            bounces=settings.bounces,
            rays=settings.rays,
        )
    )
    view = ViewSettings(width=settings.width, height=settings.height, aimed=settings.aimed)
    rgb, ids = [], []
    for shot in random_views(world, np.random.default_rng(seed), settings.views, view):
        rgb.append(shot.rgb)
        ids.append(np.where(shot.instances < 256, shot.instances, 0).astype(np.uint8))
    if not rgb:
        raise TrainingError(f"no view of room {seed} shows anything: use another seed")
    kinds, words, shapes = zip(*((i.kind, i.colours, i.shape) for i in world.instances), strict=True)
    return RoomViews(seed, np.stack(rgb), np.stack(ids), kinds, words, shapes)


def generate_rooms(
    directory: Path,
    seeds: Sequence[int],
    settings: RoomSettings | None = None,
    processes: int = 2,
    progress: Callable[[float], None] | None = None,
) -> tuple[int, ...]:
    """Render the rooms of these seeds that the folder lacks, in parallel; returns the seeds now there.

    A room that cannot be made is logged and left out.

    Raises:
        TrainingError: no room at all could be made, or the folder was filled with other settings.
    """
    settings = settings or RoomSettings()
    _check_settings(directory, settings)
    missing = [seed for seed in seeds if seed not in set(room_seeds(directory))]
    for done, _ in enumerate(_rendered(directory, missing, settings, processes), 1):
        if progress:
            progress(done / len(missing))
    ready = tuple(seed for seed in room_seeds(directory) if seed in set(seeds))
    if not ready:
        raise TrainingError("no training room could be generated: try `m3 sim` to see whether this machine can render")
    return ready


def _rendered(directory: Path, seeds: Sequence[int], settings: RoomSettings, processes: int) -> Iterator[int]:
    """Yield each seed once its room is written, or given up."""
    work = partial(_try_room, directory, settings)
    if processes <= 1 or len(seeds) <= 1:
        yield from map(work, seeds)
        return
    # multiprocessing's pool, because concurrent.futures' hangs in Python 3.11 when it replaces its workers
    with get_context("spawn").Pool(processes, maxtasksperchild=_ROOMS_PER_PROCESS) as pool:
        yield from pool.imap_unordered(work, seeds)


def _try_room(directory: Path, settings: RoomSettings, seed: int) -> int:
    """Make one room; one that cannot be made is logged."""
    try:
        write_room(directory, render_room(seed, settings))
    except M3Error as error:
        log.warning("room %d left out: %s", seed, error)
    return seed


def _check_settings(directory: Path, settings: RoomSettings) -> None:
    """Remember the settings of a folder of rooms, and refuse to mix."""
    path = directory / "settings.json"
    wanted = json.dumps(asdict(settings), sort_keys=True)
    if path.exists() and path.read_text(encoding="utf-8") != wanted:
        raise TrainingError(
            f"{directory} holds rooms of other settings than asked for: use another folder or delete it"
        )
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(wanted, encoding="utf-8")
