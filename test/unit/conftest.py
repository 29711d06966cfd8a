"""A room of coloured things whose truth is known, and an encoder that knows their colours."""

import json
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import torch

from m3_ros.features.encoder import FeatureMap, unit
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import inverse, look_at
from m3_ros.memory import Keyframes, MemoryAttention, PrincipalQueries, Provenance, SpatialMemory
from m3_ros.memory.attention import fit_tau, pca_projection
from m3_ros.memory.cover import cover_components
from m3_ros.recording.frame import Frame
from m3_ros.splat import render
from m3_ros.splat.gaussians import Gaussians

COLOURS = {
    "floor": (128, 128, 128),
    "wall": (230, 230, 230),
    "chair": (200, 30, 30),
    "ball": (30, 30, 200),
    "plant": (30, 160, 30),
    "cone": (240, 140, 20),
}
ABSENT = ("sofa", "lamp", "bicycle")


@dataclass(frozen=True)
class ColourEncoder:
    """Gives every colour the vector of the thing that has it."""

    name: str = "colours"
    version: str = "1"
    dim: int = 48
    background_phrases: tuple[str, ...] = (*COLOURS, "sofa", "lamp")
    known_names: tuple[str, ...] = ()

    def encode_text(self, texts):
        rows = []
        for text in texts:
            seed = int.from_bytes(text.lower().encode()[:6].ljust(6, b"."), "little")
            rows.append(torch.randn(self.dim, generator=torch.Generator().manual_seed(seed)) + 0.3)
        return unit(torch.stack(rows))

    def encode_image(self, rgb):
        cell = 4
        h, w = rgb.shape[0] // cell, rgb.shape[1] // cell
        centres = rgb[cell // 2 :: cell, cell // 2 :: cell][:h, :w].astype(float)
        palette = np.array(list(COLOURS.values()), float)
        distance = np.linalg.norm(centres[:, :, None] - palette, axis=-1)
        vectors = self.encode_text(list(COLOURS))
        features = 3 * vectors[torch.from_numpy(distance.argmin(axis=-1))]
        valid = torch.from_numpy(distance.min(axis=-1) < 30)
        return FeatureMap(features, valid, (rgb.shape[1], rgb.shape[0]))


@dataclass(frozen=True)
class ColouredRoom:
    """Truth and memory of the room; the floor is at z = 0, 5 x 4 m."""

    encoder: ColourEncoder
    memory: SpatialMemory
    names: tuple[str, ...]
    centres: dict[str, tuple[float, float, float]]
    sizes: dict[str, tuple[float, float, float]]


def box_points(rng, centre, size, count):
    """Draw points on the faces of a box."""
    points = rng.uniform(-0.5, 0.5, (count, 3))
    axis, side = rng.integers(0, 3, count), rng.choice([-0.5, 0.5], count)
    points[np.arange(count), axis] = side
    return points * size + centre


def gaussians_of(points, colours, scale=0.03):
    n = len(points)
    sh0 = (torch.tensor(np.asarray(colours), dtype=torch.float32) / 255 - 0.5) / 0.2820948
    return Gaussians(
        means=torch.tensor(points, dtype=torch.float32),
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(n, 1),
        scales=torch.full((n, 3), scale),
        opacities=torch.full((n,), 0.9),
        sh0=sh0[:, None, :],
        shN=torch.zeros(n, 0, 3),
    )


@pytest.fixture(scope="session")
def colour_encoder():
    return ColourEncoder()


@pytest.fixture(scope="session")
def coloured_room(colour_encoder):
    rng = np.random.default_rng(0)
    centres = {
        "chair": (1.4, 0.8, 0.4),
        "ball": (-1.0, -1.0, 0.15),
        "plant": (-1.6, 1.2, 0.5),
        "cone": (1.2, -1.1, 0.25),
    }
    sizes = {"chair": (0.45, 0.45, 0.8), "ball": (0.3, 0.3, 0.3), "plant": (0.4, 0.4, 1.0), "cone": (0.3, 0.3, 0.5)}
    x, y = np.meshgrid(np.arange(-2.48, 2.5, 0.05), np.arange(-1.98, 2.0, 0.05))
    floor = np.stack([x.ravel(), y.ravel(), rng.normal(0, 0.005, x.size)], axis=1)
    wall = np.stack([np.full(1600, 2.5), rng.uniform(-2, 2, 1600), rng.uniform(0, 2.4, 1600)], axis=1)
    parts = [("floor", floor), ("wall", wall)]
    parts += [(n, box_points(rng, np.array(centres[n]), np.array(sizes[n]), 1500)) for n in centres]
    names = tuple(n for n, p in parts for _ in range(len(p)))
    points = np.concatenate([p for _, p in parts])
    gaussians = gaussians_of(points, [COLOURS[n] for n in names])
    memory = remember(colour_encoder, gaussians, names)
    return ColouredRoom(colour_encoder, memory, names, centres, sizes)


@pytest.fixture(scope="session")
def place_of(colour_encoder):
    """Make the memory of a place out of boxes on a floor: (name, centre, size, number of Gaussians)."""

    def make(boxes):
        x, y = np.meshgrid(np.arange(-2.48, 2.5, 0.05), np.arange(-1.98, 2.0, 0.05))
        floor = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
        rng = np.random.default_rng(0)
        points = [floor, *(box_points(rng, np.array(centre), np.array(size), n) for _, centre, size, n in boxes)]
        kinds = ["floor", *(name for name, *_ in boxes)]
        names = tuple(name for name, part in zip(kinds, points, strict=True) for _ in part)
        gaussians = gaussians_of(np.concatenate(points), [COLOURS[name] for name in names], scale=0.02)
        return remember(colour_encoder, gaussians, names), names

    return make


@pytest.fixture(scope="session")
def room_frames(coloured_room):
    """What the keyframes of the room saw."""
    g, keyframes = coloured_room.memory.gaussians, coloured_room.memory.keyframes
    rgb = 0.5 + 0.2820948 * g.sh0[:, 0]
    out = []
    for stamp, pose, camera in zip(keyframes.stamps_ns, keyframes.T_map_camera, keyframes.cameras, strict=True):
        viewmat, K = (torch.from_numpy(m).float()[None] for m in (inverse(pose), camera.K))
        view = render(g.means, g.quats, g.scales, g.opacities, rgb, viewmat, K, camera.width, camera.height)
        image = (view.features[0].clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        out.append(Frame(int(stamp), image, camera, pose))
    return out


def remember(encoder, gaussians, names, noise=0.25):
    """Make a memory in which each Gaussian knows its name, with some noise."""
    kinds = sorted(set(names))
    vectors = encoder.encode_text(kinds)[torch.tensor([kinds.index(n) for n in names])]
    generator = torch.Generator().manual_seed(1)
    features = unit(vectors + noise * torch.randn(vectors.shape, generator=generator) / encoder.dim**0.5)
    bank = cover_components([features], 0.8, 256).bank(encoder.name, encoder.version, "cover")
    W = pca_projection(features.T @ features, 16)
    queries = (features @ torch.linalg.pinv(W)).half()
    attention = MemoryAttention(bank, W, fit_tau(bank, W, features[:200]))
    entry = PrincipalQueries(queries, attention.norms(queries.float()), torch.ones(len(names)), attention)
    eyes = [(2 * np.cos(a), 1.4 * np.sin(a), 0.4) for a in np.linspace(0, 2 * np.pi, 12, endpoint=False)]
    poses = np.stack([look_at(eye, (0.0, 0.0, 0.3)) for eye in eyes])
    camera = Camera.from_fov(160, 120, np.deg2rad(80))
    keyframes = Keyframes(np.arange(12) * 10**9, poses, (camera,) * 12)
    return SpatialMemory(gaussians, (entry,), torch.ones(len(names)), keyframes, Provenance.now("coloured room"))


@pytest.fixture(scope="session")
def write_sequence():
    """Write frames of one camera as a posed sequence, their poses raised by some metres."""

    def write(path, frames, lift_m=0.0):
        path.mkdir()
        listed = []
        for number, frame in enumerate(frames):
            cv2.imwrite(str(path / f"{number}.png"), frame.rgb[..., ::-1])
            pose = np.array(frame.T_map_camera)
            pose[2, 3] += lift_m
            listed.append({"t": frame.stamp_ns * 1e-9, "rgb": f"{number}.png", "c2w": pose.tolist()})
        lens = {key: getattr(frames[0].camera, key) for key in ("width", "height", "fx", "fy", "cx", "cy")}
        head = {**lens, "axes": "opencv", "pixel_centre": 0.5}
        (path / "transforms.json").write_text(json.dumps({**head, "frames": listed}))
        return path

    return write
