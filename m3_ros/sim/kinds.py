"""All kinds of things the simulated world knows, by name."""

from m3_ros.sim.furniture import ALL
from m3_ros.sim.items import Item, Kind, Placement, Support

__all__ = ["KINDS", "Item", "Kind", "Placement", "Support"]

KINDS: dict[str, Kind] = {kind.name: kind for kind in ALL}
"""The kinds, by name."""
