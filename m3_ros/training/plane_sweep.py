"""Depth from posed pictures alone: a plane sweep over near views, smoothed by semi-global matching.

Every reference picture is compared with its partners (other pictures of the same things from elsewhere) under many
depth hypotheses at once: one homography a plane (Collins 1996, "A space-sweep approach to true multi-image matching").
Semi-global matching (Hirschmueller 2008) carries depth over plain walls, and what other pictures do not confirm is
dropped. Poses are known, so nothing has to be detected, described or matched first: walls without a single feature
still shade from one side to the other.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray

from m3_ros.geometry.pose import Transform, apply, inverse
from m3_ros.recording.frame import Frame
from m3_ros.training.partners import best_partners, match_scores
from m3_ros.training.semi_global import Volume, smoothed

Depth = Float[NDArray[np.float32], "h w"]
_Result = TypeVar("_Result")
_Number = TypeVar("_Number", bound=np.generic)

_LARGEST_DIFFERENCE = 8.0
"""Grey levels beyond which a pixel is simply another thing: occluded in the partner, or the wrong depth."""
_AGREEMENT = 0.05
"""Relative difference of depth within which two pictures agree."""
_WITNESSES = 8
"""Other references asked whether they agree with a depth."""
_CONFIRMATIONS = 2
"""How many of them have to."""
_REFINEMENTS = 9
"""Depths tried around the one found, at the larger size."""
_REFINED_STEPS = 0.7
"""How far to either side they reach [distances of two planes]."""
_REFINING_PARTNERS = 6
"""Other pictures compared then."""
_COARSE_PLANES = 64
"""Depth hypotheses of the first look, at half the width."""
_NEAREST_M, _LEAST_FAR_M = 0.25, 12.0
"""Depths of the first look [m]; farther where the walk is wide."""
_LEAST_CONFIRMED = 200
"""Confirmed pixels of the first look without which there is nothing to be had."""
_LONG_S = 60.0
"""Time budget of a training from which on a full sweep is worth its time [s]."""
_MEAN_CHANNEL = np.full((1, 4), 0.25, np.float32)


@dataclass(frozen=True)
class SweepSettings:
    """How finely depth is looked for."""

    width: int = 160
    """Pictures are searched at this width [px] and refined at twice that."""
    planes: int = 96
    """Depth hypotheses, even in inverse depth."""
    partners: int = 8
    """Other pictures that each one is compared with."""
    references: int = 84
    """Pictures that depth is estimated for; evenly spread where there are more."""

    @classmethod
    def within(cls, seconds: float) -> "SweepSettings":
        """Return settings that leave most of a training's time budget [s] to the training."""
        return cls() if seconds >= _LONG_S else cls(width=128, planes=64, partners=6, references=36)


@dataclass(frozen=True)
class SweptView:
    """The depth of one picture."""

    frame: int
    """Number of its frame."""
    depth: Depth
    """z-depth [m], scaled down; 0 where other pictures do not confirm it."""
    guess: Depth
    """The best guess where it is not confirmed [m]; 0 where it is."""


@dataclass(frozen=True)
class _Picture:
    """What is compared: colours, and brightness relative to the surroundings (0 outside the picture)."""

    pixels: UInt8[NDArray[np.uint8], "h w 4"]
    K: Float[NDArray[np.float64], "3 3"]
    """Intrinsics of the small picture; the first pixel's centre at 0."""
    T_map_camera: Transform


@dataclass(frozen=True)
class _Plan:
    """Which pictures are swept, and against which."""

    references: Sequence[int]
    partners: Sequence[Sequence[int]]
    pictures: dict[int, _Picture]
    """Small pictures by number of frame."""
    witnesses: Sequence[Sequence[int]]
    """For each reference the others of them that show the same things."""


def sweep_depth(
    frames: Sequence[Frame], settings: SweepSettings | None = None, check: Callable[[], None] = lambda: None
) -> list[SweptView]:
    """Estimate the depth of up to `references` frames from the others; none where nothing can be confirmed.

    Args:
        frames: posed pictures.
        settings: how finely.
        check: called before each picture; may raise to stop.
    """
    chosen = settings or SweepSettings()
    references = range(0, len(frames), max(1, -(-len(frames) // chosen.references)))
    scores = match_scores(frames, references)
    between_m = _depth_range(frames, references, scores, chosen, check)
    if between_m is None:
        return []
    partners = best_partners(scores, chosen.partners)
    plan = _plan(frames, references, partners, scores, chosen.width)
    planes = np.linspace(1 / between_m[1], 1 / between_m[0], chosen.planes)
    depths = _sweep(plan, planes, check)
    large = _plan(frames, references, best_partners(scores, _REFINING_PARTNERS), scores, 2 * chosen.width)

    def finish(number: int) -> SweptView:
        check()
        i, depth = references[number], depths[number]
        confirmed = _confirmed(plan, depths, number)
        others = [large.pictures[j] for j in large.partners[number]]
        fine = _refined(large.pictures[i], others, depth, _REFINED_STEPS * (planes[1] - planes[0]))
        known = _resized(confirmed, fine.shape)
        return SweptView(i, np.where(known, fine, np.float32(0)), np.where(known, np.float32(0), fine))

    return _in_parallel(finish, len(references))


def _depth_range(
    frames: Sequence[Frame],
    references: Sequence[int],
    scores: Float[NDArray[np.float64], "R N"],
    settings: SweepSettings,
    check: Callable[[], None],
) -> tuple[float, float] | None:
    """Sweep coarsely through all depths there might be; returns nearest and farthest confirmed [m], with a margin."""
    centres = np.array([frame.T_map_camera[:3, 3] for frame in frames])
    far = max(_LEAST_FAR_M, 2 * float(np.linalg.norm(np.ptp(centres, axis=0)))) if len(frames) else _LEAST_FAR_M
    plan = _plan(frames, references, best_partners(scores, settings.partners // 2), scores, settings.width // 2)
    depths = _sweep(plan, np.linspace(1 / far, 1 / _NEAREST_M, _COARSE_PLANES), check)
    known = [d[_confirmed(plan, depths, i)] for i, d in enumerate(depths)]
    confirmed = np.concatenate(known) if known else np.zeros(0, np.float32)
    if len(confirmed) < _LEAST_CONFIRMED:
        return None
    low, high = np.quantile(confirmed, (0.01, 0.995))
    return max(_NEAREST_M, 0.5 * float(low)), 1.3 * float(high)


def _plan(
    frames: Sequence[Frame],
    references: Sequence[int],
    partners: Sequence[Sequence[int]],
    scores: Float[NDArray[np.float64], "R N"],
    width: int,
) -> _Plan:
    needed = {*references, *(j for others in partners for j in others)}
    pictures = {i: _picture(frames[i], width) for i in sorted(needed)}
    witnesses = best_partners(scores[:, list(references)], _WITNESSES)
    return _Plan(references, partners, pictures, [[references[k] for k in row] for row in witnesses])


def _sweep(plan: _Plan, planes: Float[NDArray[np.float64], " D"], check: Callable[[], None]) -> list[Depth]:
    """Return the depth of every reference, confirmed or not."""

    def one(number: int) -> Depth:
        check()
        reference = plan.pictures[plan.references[number]]
        costs = _costs(reference, [plan.pictures[j] for j in plan.partners[number]], planes)
        return _depth(smoothed(costs, reference.pixels), planes)

    return _in_parallel(one, len(plan.references))


def _in_parallel(work: Callable[[int], _Result], count: int) -> list[_Result]:
    """Do numbered work on all cores: OpenCV and numpy let other threads run."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(work, range(count)))


def _picture(frame: Frame, width: int) -> _Picture:
    """Scale a frame down; beside the colours goes contrast, which a change of exposure leaves as it is."""
    import cv2

    size = (min(width, frame.camera.width), max(1, round(frame.camera.height * min(1, width / frame.camera.width))))
    rgb = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.GaussianBlur(grey, (0, 0), 3)
    deviation = np.sqrt(np.maximum(cv2.GaussianBlur(grey * grey, (0, 0), 3) - mean * mean, 0))
    contrast = np.clip(128 + 45 * (grey - mean) / (deviation + 4), 1, 255).astype(np.uint8)
    K = frame.camera.scaled(*size).K
    K[:2, 2] -= 0.5  # OpenCV counts from the first pixel's centre
    return _Picture(np.dstack([rgb, contrast]), K, frame.T_map_camera)


def _costs(reference: _Picture, partners: Sequence[_Picture], planes: Float[NDArray[np.float64], " D"]) -> Volume:
    """Return how badly the partners match the reference [grey levels] at each pixel and inverse depth [1/m]."""
    import cv2

    height, width = reference.pixels.shape[:2]
    total = np.zeros((len(planes), height, width), np.float32)
    count = np.zeros_like(total)
    way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for partner in partners:
        T = inverse(partner.T_map_camera) @ reference.T_map_camera
        turn = partner.K @ T[:3, :3] @ np.linalg.inv(reference.K)
        shift = np.outer(partner.K @ T[:3, 3], (0, 0, 1))
        for i, plane in enumerate(planes):
            warped = cv2.warpPerspective(partner.pixels, turn + plane * shift, (width, height), flags=way)
            difference = cv2.transform(cv2.absdiff(warped, reference.pixels), _MEAN_CHANNEL)
            seen = warped[..., 3] > 0
            total[i] += np.minimum(difference, _LARGEST_DIFFERENCE) * seen
            count[i] += seen
    mean = np.where(count > 0, total / np.maximum(count, 1), np.float32(0.8 * _LARGEST_DIFFERENCE))
    for i in range(len(planes)):
        mean[i] = cv2.blur(mean[i], (3, 3))
    return np.ascontiguousarray(mean.transpose(1, 2, 0))


def _refined(
    reference: _Picture, partners: Sequence[_Picture], depth: Depth, step: float
) -> Float[NDArray[np.float32], "H W"]:
    """Return the depth at the larger size of `reference`, looked for within one `step` [1/m] of the given one."""
    import cv2

    height, width = reference.pixels.shape[:2]
    start = 1 / _resized(depth, (height, width))
    offsets = np.linspace(-step, step, _REFINEMENTS)
    total = np.zeros((len(offsets), height, width), np.float32)
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([u, v, np.ones_like(u)]).reshape(3, -1)
    for partner in partners:
        T = inverse(partner.T_map_camera) @ reference.T_map_camera
        far = (partner.K @ T[:3, :3] @ np.linalg.inv(reference.K) @ pixels).reshape(3, height, width)
        near = (partner.K @ T[:3, 3])[:, None, None]
        for i, offset in enumerate(offsets):
            x, y, z = far + (start + offset) * near
            z = np.maximum(z, 1e-6)
            at = (x / z).astype(np.float32), (y / z).astype(np.float32)
            difference = cv2.absdiff(cv2.remap(partner.pixels, *at, cv2.INTER_LINEAR), reference.pixels)
            total[i] += np.minimum(cv2.transform(difference, _MEAN_CHANNEL), _LARGEST_DIFFERENCE)
    costs = np.stack([cv2.blur(cost, (5, 5)) for cost in total], -1)
    best = np.clip(costs.argmin(2), 1, len(offsets) - 2)
    inverse_depth = start + _between(costs, best, offsets)
    return np.asarray(cv2.medianBlur((1 / inverse_depth).astype(np.float32), 3))


def _depth(costs: Volume, planes: Float[NDArray[np.float64], " D"]) -> Depth:
    """Return the depth [m] of least cost, between the planes by a parabola through the least three."""
    least = np.clip(costs.argmin(2), 1, costs.shape[2] - 2)
    return np.asarray(1 / _between(costs, least, planes), np.float32)


def _between(
    costs: Volume, least: Int[NDArray[np.int64], "h w"], values: Float[NDArray[np.float64], " D"]
) -> Float[NDArray[np.float64], "h w"]:
    """Return the evenly spaced value at each number `least`, moved to the bottom of the parabola around it."""
    before, at, after = (np.take_along_axis(costs, least[..., None] + k, 2)[..., 0] for k in (-1, 0, 1))
    offset = np.clip(0.5 * (before - after) / np.maximum(before - 2 * at + after, 1e-6), -0.5, 0.5)
    return np.asarray(values[0] + (least + offset) * (values[1] - values[0]))


def _confirmed(plan: _Plan, depths: Sequence[Depth], number: int) -> Bool[NDArray[np.bool_], "h w"]:
    """Tell which pixels of a reference enough others agree with, and more than see through to something behind."""
    picture, depth = plan.pictures[plan.references[number]], depths[number]
    height, width = depth.shape
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    rays = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3) @ np.linalg.inv(picture.K).T
    points = apply(picture.T_map_camera, rays * depth.reshape(-1, 1))
    known = dict(zip(plan.references, depths, strict=True))
    agree, through = np.zeros((2, height * width), np.int64)
    for j in plan.witnesses[number]:
        other, theirs = plan.pictures[j], known[j]
        local = apply(inverse(other.T_map_camera), points)
        z = np.maximum(local[:, 2], 1e-6)
        x = np.round(local[:, 0] / z * other.K[0, 0] + other.K[0, 2])
        y = np.round(local[:, 1] / z * other.K[1, 1] + other.K[1, 2])
        inside = (local[:, 2] > 0) & (x >= 0) & (y >= 0) & (x < theirs.shape[1]) & (y < theirs.shape[0])
        seen = theirs[y[inside].astype(np.int64), x[inside].astype(np.int64)]
        agree[inside] += np.abs(seen - z[inside]) < _AGREEMENT * z[inside]
        through[inside] += seen > (1 + 2 * _AGREEMENT) * z[inside]
    return np.asarray((agree >= _CONFIRMATIONS) & (agree > through)).reshape(height, width)


def _resized(image: NDArray[_Number], shape: tuple[int, ...]) -> NDArray[_Number]:
    """Enlarge an image by nearest pixel."""
    rows = np.arange(shape[0]) * image.shape[0] // shape[0]
    columns = np.arange(shape[1]) * image.shape[1] // shape[1]
    return np.asarray(image[rows[:, None], columns])
