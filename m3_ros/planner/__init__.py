"""Where a robot can be and where it should stand: the floor of a memory, paths over it, approach poses."""

from m3_ros.planner.approach import Approach, approach
from m3_ros.planner.navigation_map import NavigationMap
from m3_ros.planner.path import line_is_free, nearest_free, path_length, reachable, shortest_path
from m3_ros.planner.settings import ApproachSettings, NavigationSettings

__all__ = [
    "Approach",
    "ApproachSettings",
    "NavigationMap",
    "NavigationSettings",
    "approach",
    "line_is_free",
    "nearest_free",
    "path_length",
    "reachable",
    "shortest_path",
]
