"""Settings of the planner: the robot's size, and where it likes to stand."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class NavigationSettings:
    """How a memory becomes a map to walk on."""

    resolution_m: Annotated[float, "0.01..1"] = 0.05
    """Size of a cell [m]."""
    robot_radius_m: Annotated[float, "0..2"] = 0.30
    """Radius of the robot's footprint [m]."""
    margin_m: Annotated[float, "0..1"] = 0.05
    """Distance kept beside the radius, for the error of the map [m]."""
    step_m: Annotated[float, "0..1"] = 0.08
    """Matter lower than this above the floor is no obstacle [m]."""
    robot_height_m: Annotated[float, "0.1..3"] = 0.6
    """Matter higher than this above the floor is no obstacle [m]."""
    min_opacity: Annotated[float, "0..1"] = 0.3
    """More transparent Gaussians are no matter."""
    min_cell_opacity: Annotated[float, "0.."] = 0.8
    """Sum of opacities that makes a cell an obstacle."""
    min_cells: Annotated[int, "1.."] = 3
    """Fewer obstacle cells alone are a speck."""
    floor_gap_m: Annotated[float, "0..2"] = 0.2
    """Holes in the seen floor up to this width are floor [m]."""
    max_side_m: Annotated[float, "1.."] = 200.0
    """Larger places need a coarser map: they are refused [m]."""


@dataclass(frozen=True)
class ApproachSettings:
    """Where to stand in front of a thing."""

    min_distance_m: Annotated[float, "0..10"] = 0.4
    """Least distance of the robot's centre from the thing's box [m]."""
    max_distance_m: Annotated[float, "0..10"] = 1.5
    """Greatest distance of the robot's centre from the thing's box [m]."""
    preferred_distance_m: Annotated[float, "0..10"] = 0.8
    """Best distance [m]."""
    enough_clearance_m: Annotated[float, "0..10"] = 0.6
    """More room than this to the nearest obstacle is of no further use [m]."""
    eye_height_m: Annotated[float, "0..3"] = 0.4
    """Height of the camera above the floor [m]."""
    distance_weight: Annotated[float, "0.."] = 1.0
    """Cost of each metre away from the preferred distance."""
    clearance_weight: Annotated[float, "0.."] = 1.5
    """Cost of each metre of clearance that is missing."""
    walk_weight: Annotated[float, "0.."] = 0.1
    """Cost of each metre from the robot."""
    hidden_cost: Annotated[float, "0.."] = 5.0
    """Cost of not seeing the thing from there."""
