"""Bake diffuse light once into the atlas texture: direct light with soft shadows, then bounces of indirect light.

The shading depends on the place alone, never on the viewer, so that every camera sees exactly the same colours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from m3_ros.errors import SimulationError
from m3_ros.sim.atlas import PADDING, Atlas, Chart, resample
from m3_ros.sim.lights import Light

Radiance = Float[NDArray[np.float32], "N 3"]
Image = Float[NDArray[np.float32], "H W 3"]

RAY_OFFSET_M = 2e-3
NEAREST_LIGHT_M2 = 0.02  # squared distance at which a light stops growing brighter
BLUR = np.array([0.1, 0.22, 0.36, 0.22, 0.1], np.float32)
MIDDLE_GREY = 0.36  # mean of the exposed picture, linear
HIGHLIGHT, HIGHLIGHT_SHARE = 1.25, 0.97  # so much of the picture stays below what the film still draws
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True)
class BakeSettings:
    """How carefully light is computed."""

    light_texel: int = 4
    """Side of a light texel in atlas texels."""
    light_samples: int = 4
    """Shadow rays per light along each of its two sides."""
    bounces: int = 2
    """Times light is reflected."""
    rays: int = 48
    """Rays per light texel and bounce."""
    seed: int = 0
    """Seed of the ray directions."""


def bake(atlas: Atlas, lights: Sequence[Light], settings: BakeSettings) -> UInt8[NDArray[np.uint8], "H W 3"]:
    """Return the sRGB texture of the lit atlas; the same input gives the same bytes.

    Raises:
        SimulationError: embreex is not installed.
    """
    albedo, emission = _albedo(atlas)
    texels = _LightTexels(atlas, settings.light_texel)
    tracer = _Tracer(atlas)
    rng = np.random.default_rng(settings.seed)
    direct = _direct(texels, tracer, lights, settings.light_samples, rng)
    light = direct
    for _ in range(settings.bounces):
        reflected = albedo * texels.spread(light)
        light = direct + tracer.gather(texels, reflected, settings.rays, rng)
    return _develop(albedo, emission, texels.spread(light), _covered(atlas))


def srgb_to_linear(colour: NDArray[Any]) -> NDArray[np.float32]:
    """Decode sRGB values 0..1."""
    c = np.clip(colour, 0, 1).astype(np.float32)
    curved = ((c + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    return np.asarray(np.where(c <= 0.04045, c / np.float32(12.92), curved))


def linear_to_srgb(colour: NDArray[Any]) -> NDArray[np.float32]:
    """Encode linear values 0..1 as sRGB."""
    c = np.clip(colour, 0, 1).astype(np.float32)
    curved = np.float32(1.055) * c ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.asarray(np.where(c <= 0.0031308, c * np.float32(12.92), curved))


@dataclass
class _LightTexels:
    """The coarse points of every chart at which light is computed."""

    atlas: Atlas
    step: int
    points: Float[NDArray[np.float32], "N 3"] = field(init=False)
    normals: Float[NDArray[np.float32], "N 3"] = field(init=False)

    def __post_init__(self) -> None:
        points, normals = [], []
        for chart, height, width in self._shapes():
            points.append(resample(chart.points, height, width).reshape(-1, 3))
            normals.append(resample(chart.normals, height, width).reshape(-1, 3))
        direction = np.concatenate(normals)
        self.normals = direction / np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
        self.points = np.concatenate(points) + self.normals * np.float32(RAY_OFFSET_M)

    def spread(self, light: Radiance) -> Image:
        """Blur light inside each chart and interpolate it to the atlas texels."""
        import cv2

        image = np.zeros((self.atlas.height, self.atlas.width, 3), np.float32)
        start = 0
        for chart, height, width in self._shapes():
            coarse = np.ascontiguousarray(light[start : start + height * width].reshape(height, width, 3))
            start += height * width
            if min(height, width) >= len(BLUR):
                coarse = cv2.sepFilter2D(coarse, -1, BLUR, BLUR, borderType=cv2.BORDER_REPLICATE)
            fine = cv2.resize(coarse, (chart.width, chart.height), interpolation=cv2.INTER_LINEAR)
            image[chart.padded] = cv2.copyMakeBorder(fine, *(PADDING,) * 4, cv2.BORDER_REPLICATE)
        return image

    def _shapes(self) -> Iterator[tuple[Chart, int, int]]:
        for chart in self.atlas.charts:
            yield chart, max(2, -(-chart.height // self.step)), max(2, -(-chart.width // self.step))


class _Tracer:
    """Casts rays at the atlas mesh."""

    def __init__(self, atlas: Atlas) -> None:
        try:
            from embreex import rtcore_scene
            from embreex.mesh_construction import TriangleMesh
        except ImportError as error:
            raise SimulationError("lighting a room needs embreex, which is missing: pip install embreex") from error
        self._scene = rtcore_scene.EmbreeScene()
        TriangleMesh(self._scene, atlas.vertices[atlas.triangles])
        self._uv = atlas.uv[atlas.triangles] * np.array([atlas.width, atlas.height], np.float32)

    def blocked(self, origins: Radiance, directions: Radiance, reach: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Tell which rays meet a surface before `reach` [m]."""
        return np.asarray(self._scene.run(origins, directions, reach, query="OCCLUDED") == 0)

    def gather(self, texels: _LightTexels, reflected: Image, rays: int, rng: np.random.Generator) -> Radiance:
        """Return the mean radiance that cosine-weighted rays meet from each light texel."""
        n = texels.normals
        count = len(n)
        axis = np.where(np.abs(n[:, :1]) < 0.9, np.eye(3, dtype=np.float32)[0], np.eye(3, dtype=np.float32)[1])
        t1 = np.cross(n, axis)
        t1 /= np.linalg.norm(t1, axis=1, keepdims=True)
        t2 = np.cross(n, t1)
        total = np.zeros((count, 3), np.float32)
        for k in range(rays):
            height = (k + rng.random(count, np.float32)) / np.float32(rays)
            angle = np.float32(2 * np.pi) * rng.random(count, np.float32)
            radius = np.sqrt(height)
            direction = t1 * (radius * np.cos(angle))[:, None] + t2 * (radius * np.sin(angle))[:, None]
            direction += n * np.sqrt(1 - height)[:, None]
            self._add_hits(total, texels.points, direction, reflected)
        return total / np.float32(rays)

    def _add_hits(self, total: Radiance, origins: Radiance, directions: Radiance, reflected: Image) -> None:
        hits = self._scene.run(origins, directions, output=1)
        hit = np.flatnonzero(hits["primID"] >= 0)
        triangle, u, v = hits["primID"][hit], hits["u"][hit][:, None], hits["v"][hit][:, None]
        a, b, c = self._uv[triangle, 0], self._uv[triangle, 1], self._uv[triangle, 2]
        at = (a + (b - a) * u + (c - a) * v).astype(np.int64)
        x, y = np.clip(at[:, 0], 0, reflected.shape[1] - 1), np.clip(at[:, 1], 0, reflected.shape[0] - 1)
        total[hit] += reflected[y, x]


def _albedo(atlas: Atlas) -> tuple[Image, Float[NDArray[np.float32], "H W"]]:
    """Evaluate every patch's material at its texels; returns linear albedo and emission."""
    import cv2

    albedo = np.zeros((atlas.height, atlas.width, 3), np.float32)
    emission = np.zeros((atlas.height, atlas.width), np.float32)
    for chart in atlas.charts:
        points = resample(chart.patch.grid, chart.height, chart.width)
        normals = resample(chart.normals @ chart.rotation, chart.height, chart.width)
        v, u = np.meshgrid(
            (np.arange(chart.height, dtype=np.float32) + 0.5) / chart.height,
            (np.arange(chart.width, dtype=np.float32) + 0.5) / chart.width,
            indexing="ij",
        )
        colour = np.broadcast_to(chart.patch.material(points, np.stack([u, v], -1), normals), points.shape)
        albedo[chart.padded] = cv2.copyMakeBorder(srgb_to_linear(colour), *(PADDING,) * 4, cv2.BORDER_REPLICATE)
        emission[chart.padded] = chart.patch.emission
    return albedo, emission


def _direct(
    texels: _LightTexels, tracer: _Tracer, lights: Sequence[Light], samples: int, rng: np.random.Generator
) -> Radiance:
    """Return the light (irradiance over pi) that arrives straight from the lights, with stratified soft shadows."""
    total = np.zeros_like(texels.points)
    for light in lights:
        for cell in range(samples * samples):
            corner = np.array(divmod(cell, samples), np.float32)[:, None]
            shift = (corner + rng.random((2, len(total)), np.float32)) / samples
            a, b = (2 * shift - 1)[:, :, None]
            target = (light.centre + light.half_u * a + light.half_v * b).astype(np.float32)
            ray = target - texels.points
            distance = np.linalg.norm(ray, axis=1)
            ray /= np.maximum(distance, 1e-6)[:, None]
            cosine = np.einsum("nd,nd->n", ray, texels.normals)
            if light.normal is not None:
                cosine = np.where(cosine > 0, cosine * np.clip(-(ray @ light.normal.astype(np.float32)), 0, None), 0)
            lit = np.flatnonzero(cosine > 1e-4)
            reach = np.maximum(distance[lit] - light.housing_m, 1e-3).astype(np.float32)
            seen = lit[~tracer.blocked(texels.points[lit], ray[lit], reach)]
            form = cosine[seen] * light.area / np.maximum(distance[seen] ** 2, NEAREST_LIGHT_M2) / np.pi
            total[seen] += form[:, None] / samples**2 * light.radiance.astype(np.float32)
    return total


def _covered(atlas: Atlas) -> NDArray[np.bool_]:
    covered = np.zeros((atlas.height, atlas.width), bool)
    for chart in atlas.charts:
        covered[chart.padded] = True
    return covered


def _develop(
    albedo: Image, emission: Float[NDArray[np.float32], "H W"], light: Image, covered: NDArray[np.bool_]
) -> UInt8[NDArray[np.uint8], "H W 3"]:
    """Expose like a camera with automatic gain, keep glowing surfaces bright, soften the highlights, encode sRGB."""
    lit = albedo * light
    glows = emission > 0
    brightness = lit[covered & ~glows] @ LUMINANCE
    bright = float(np.quantile(brightness[:: max(1, len(brightness) // 100_000)], HIGHLIGHT_SHARE))
    exposure = min(MIDDLE_GREY / max(float(brightness.mean()), 1e-4), HIGHLIGHT / max(bright, 1e-4))
    picture = lit * np.float32(exposure)
    picture = 1.45 * picture * (1 + picture / 9) / (1 + picture)  # Reinhard: highlights keep their colour
    picture = np.where(glows[..., None], albedo * np.minimum(emission, 1.05)[..., None], picture)
    texture = (linear_to_srgb(picture) * 255 + 0.5).astype(np.uint8)
    texture[~covered] = texture[covered].mean(axis=0).astype(np.uint8)
    return texture
