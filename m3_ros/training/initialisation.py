"""Where Gaussians start, best first: measured depth, a point cloud, depth from the poses alone, the viewed volume."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from m3_ros.geometry.pose import apply
from m3_ros.recording.frame import Frame
from m3_ros.recording.point_cloud import PointCloud
from m3_ros.training.plane_sweep import SweepSettings, sweep_depth
from m3_ros.training.seeds import (
    Samples,
    Seeds,
    axis_scales,
    joined,
    neighbour_distance,
    quats_from_normals,
    seeds_of_samples,
)
from m3_ros.training.seeds_from_depth import depth_samples, reliable_depth, swept_samples
from m3_ros.training.seeds_from_points import cloud_samples

__all__ = ["Seeds", "axis_scales", "make_seeds", "quats_from_normals", "reliable_depth"]

_LEAST_SAMPLES = 100
"""Points of surfaces below which a source counts as missing."""
_TRUST = {"depth": 0.85, "points": 0.85, "sweep": 0.85, "guess": 0.2, "random": 0.1}
"""Opacity of the first Gaussians by source."""
_GUESSED = 0.15
"""Share of the seeds that may be guesses."""
_BETWEEN_M = (0.3, 4.0)
"""Distances from the camera of random points [m]; farther where the walk is wide."""

_log = logging.getLogger(__name__)


def make_seeds(
    frames: Sequence[Frame],
    count: int,
    edge_px: int,
    seed: int,
    points: PointCloud | None = None,
    sweep: SweepSettings | None = None,
    check: Callable[[], None] = lambda: None,
) -> Seeds:
    """Seed at most `count` Gaussians from the best that the recording has, and say in the log what that was.

    Args:
        frames: posed pictures; where one has depth, nothing else is needed.
        count: most seeds.
        edge_px: depth so near to a depth edge is not used [px].
        seed: of what is random.
        points: the recording's point cloud; its holes are filled with depth from the poses.
        sweep: how finely depth is estimated from the poses; None: the default.
        check: called during slow work; may raise to stop.
    """
    seeds = _surface_seeds(frames, count, edge_px, points, sweep, check)
    if seeds is None:
        seeds = _random_seeds(frames, count, np.random.default_rng(seed))
        _log.warning(
            "no depth, no points, and the pictures confirm no common surface: starting from random points; "
            "a memory of a place needs views of it from several places"
        )
    _log.info("starting from %d Gaussians: %s", len(seeds), seeds.source)
    return seeds


def _surface_seeds(
    frames: Sequence[Frame],
    count: int,
    edge_px: int,
    points: PointCloud | None,
    sweep: SweepSettings | None,
    check: Callable[[], None],
) -> Seeds | None:
    """Return seeds on surfaces; None where no source knows any."""
    measured = depth_samples(frames, edge_px)
    if len(measured) >= _LEAST_SAMPLES:
        with_depth = sum(frame.depth is not None for frame in frames)
        return seeds_of_samples(measured, count, _TRUST["depth"], f"measured depth of {with_depth} pictures")
    cloud = None if points is None else cloud_samples(points, frames)
    if points is not None and cloud is not None and len(cloud) < _LEAST_SAMPLES:
        _log.warning("the pictures see none of the %d points of %s: not used", len(points), points.source)
        points = cloud = None
    views = sweep_depth(frames, sweep, check)
    known, guessed = swept_samples(frames, views)
    source = f"depth of {len(views)} pictures from their poses"
    if points is not None and cloud is not None:
        first = seeds_of_samples(cloud, count, _TRUST["points"], f"{len(points)} points of {points.source}")
        return replace(_holes_filled(first, known, count, _TRUST["sweep"], source), swept=tuple(views))
    if len(known) < _LEAST_SAMPLES:
        return None
    first = seeds_of_samples(known, count - round(_GUESSED * count), _TRUST["sweep"], source)
    return replace(_holes_filled(first, guessed, count, _TRUST["guess"], "guesses between them"), swept=tuple(views))


def _holes_filled(first: Seeds, samples: Samples, count: int, opacity: float, source: str) -> Seeds:
    """Add what lies farther than a few seeds' distance from those there are, within the count."""
    from scipy.spatial import cKDTree

    reach = 4 * float(np.median(first.scales))
    alone = np.asarray(cKDTree(first.points).query(samples[:, :3], distance_upper_bound=reach)[0]) > reach
    left = count - len(first)
    if alone.sum() < _LEAST_SAMPLES or left < 1:
        return first
    return joined(first, seeds_of_samples(samples[alone], left, opacity, source))


def _random_seeds(frames: Sequence[Frame], count: int, rng: np.random.Generator) -> Seeds:
    """Scatter points along the rays of random pixels, as far as the walk is wide, but never close to a camera."""
    from scipy.spatial import cKDTree

    centres = np.array([frame.T_map_camera[:3, 3] for frame in frames])
    near, far = _BETWEEN_M[0], max(_BETWEEN_M[1], 1.5 * float(np.linalg.norm(np.ptp(centres, axis=0))))
    points, colours = np.zeros((count, 3), np.float32), np.zeros((count, 3), np.float32)
    which = rng.integers(len(frames), size=count)
    for i, frame in enumerate(frames):
        mine = np.flatnonzero(which == i)
        v, u = rng.integers(frame.camera.height, size=len(mine)), rng.integers(frame.camera.width, size=len(mine))
        z = rng.uniform(near, far, len(mine))
        x, y = (u + 0.5 - frame.camera.cx) / frame.camera.fx * z, (v + 0.5 - frame.camera.cy) / frame.camera.fy * z
        points[mine] = apply(frame.T_map_camera, np.stack([x, y, z], 1))
        colours[mine] = frame.rgb[v, u] / np.float32(255)
    free = np.asarray(cKDTree(centres).query(points)[0]) >= near
    points, colours = points[free], colours[free]
    opacities = np.full(len(points), _TRUST["random"], np.float32)
    scales = 0.7 * neighbour_distance(points)
    return Seeds(points, colours, np.zeros_like(points), scales, opacities, "random points of the viewed volume")
