"""Where to stand in front of a thing: free, reachable, near, with room around, and with the thing in sight."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike, NDArray

from m3_ros.errors import PlanningError
from m3_ros.geometry.box import OrientedBox
from m3_ros.geometry.pose import Transform, from_yaw
from m3_ros.planner.navigation_map import NavigationMap
from m3_ros.planner.settings import ApproachSettings
from m3_ros.query.answer import Candidate


@dataclass(frozen=True, eq=False)
class Approach:
    """A standing pose."""

    T_map_base: Transform
    """Pose of the robot's base on the floor, its x axis towards the thing."""
    distance_m: float
    """Distance of the base from the thing's box, over the floor [m]."""
    clearance_m: float
    """Distance of the base from the nearest obstacle [m]; inf: there is none."""
    visible: bool
    """The thing is in sight from there."""


def approach(
    nav_map: NavigationMap,
    candidate: Candidate,
    robot_xy: ArrayLike | None = None,
    settings: ApproachSettings | None = None,
) -> Approach:
    """Choose the best standing pose for a candidate.

    Args:
        nav_map: where the robot can be.
        candidate: the thing to face.
        robot_xy: where the robot is [m]; None: anywhere that the recorded walk can reach.
        settings: None gives the defaults.

    Raises:
        PlanningError: no free, reachable place lies around it; the message says which of these is missing.
    """
    settings = settings or ApproachSettings()
    grid, box = nav_map.blocked, candidate.box
    cells = np.argwhere(np.ones(grid.shape, bool))
    xy = grid.cell_to_world(cells)
    distance = footprint_distance(box, xy)
    ring = (distance >= settings.min_distance_m) & (distance <= settings.max_distance_m)
    free = ring & ~grid.data.ravel()
    if not free.any():
        raise PlanningError(
            f"no free floor between {settings.min_distance_m} and {settings.max_distance_m} m from the thing at "
            f"{np.round(box.centre, 2).tolist()}: it stands among obstacles or where the floor was not seen"
        )
    reached = free & (nav_map.regions.ravel() == nav_map.home_region(robot_xy))
    if not reached.any():
        raise PlanningError(
            f"the free floor around the thing at {np.round(box.centre, 2).tolist()} cannot be reached from where "
            f"the robot is"
        )
    clearance = nav_map.obstacles.clearance_m.ravel()
    visible = np.zeros(len(xy), bool)
    visible[reached] = in_sight(nav_map, box, xy[reached], settings.eye_height_m)
    cost = settings.distance_weight * np.abs(distance - settings.preferred_distance_m)
    cost += settings.clearance_weight * np.maximum(settings.enough_clearance_m - clearance, 0)
    cost += settings.hidden_cost * ~visible
    if robot_xy is not None:
        cost += settings.walk_weight * np.linalg.norm(xy - np.asarray(robot_xy, np.float64), axis=1)
    best = int(np.where(reached, cost, np.inf).argmin())
    towards = candidate.centre[:2] - xy[best]
    yaw = float(np.arctan2(towards[1], towards[0]))
    pose = from_yaw(float(xy[best, 0]), float(xy[best, 1]), yaw, nav_map.floor_m)
    return Approach(pose, float(distance[best]), float(clearance[best]), bool(visible[best]))


def footprint_distance(box: OrientedBox, xy: Float[NDArray[np.float64], "n 2"]) -> Float[NDArray[np.float64], " n"]:
    """Return the distance of points from an upright box, over the floor [m]; 0 inside."""
    local = (xy - box.centre[:2]) @ box.T_map_box[:2, :2]
    return np.asarray(np.linalg.norm(np.maximum(np.abs(local) - box.size[:2] / 2, 0), axis=1))


def in_sight(
    nav_map: NavigationMap, box: OrientedBox, xy: Float[NDArray[np.float64], "n 2"], eye_height_m: float
) -> Bool[NDArray[np.bool_], " n"]:
    """Tell from which points a thing's centre or upper part is not behind anything that stands on the floor."""
    grid = nav_map.obstacles
    reach = float(np.linalg.norm(xy - box.centre[:2], axis=1).max(initial=0))
    t = np.linspace(0, 1, max(2, int(np.ceil(2 * reach / grid.resolution_m))))
    ray = xy[:, None] + t[None, :, None] * (box.centre[:2] - xy[:, None])
    cells = grid.world_to_cell(ray)
    cells = np.clip(cells, 0, np.array(grid.shape) - 1)
    heights = nav_map.heights_m[cells[..., 0], cells[..., 1]]
    own = footprint_distance(box, ray.reshape(-1, 2)).reshape(heights.shape) <= 0.15
    heights = np.where(own, 0.0, heights)
    middle = float(box.centre[2]) - nav_map.floor_m
    targets = (middle, middle + 0.4 * float(box.size[2]))
    clear = [(heights <= eye_height_m + t * (target - eye_height_m)).all(axis=1) for target in targets]
    return np.asarray(clear[0] | clear[1])
