"""The qualities of service this package uses, and the one a recorder must take."""

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, reliable: bool, latched: bool) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def latched(depth: int = 1) -> QoSProfile:
    """Return the profile of a state: whoever subscribes later still gets the last value."""
    return _profile(depth, reliable=True, latched=True)


def reliable(depth: int = 10) -> QoSProfile:
    """Return the profile of a stream of which nothing may be lost."""
    return _profile(depth, reliable=True, latched=False)


def offered_by_all(node: Node, topic: str, depth: int) -> QoSProfile:
    """Return the strictest profile that every present publisher of a topic offers, as rosbag2 subscribes.

    A best-effort subscription to a reliable camera loses frames; a reliable one to a best-effort camera gets none.
    """
    offers = [info.qos_profile for info in node.get_publishers_info_by_topic(topic)]
    return _profile(
        depth,
        reliable=bool(offers) and all(o.reliability == ReliabilityPolicy.RELIABLE for o in offers),
        latched=bool(offers) and all(o.durability == DurabilityPolicy.TRANSIENT_LOCAL for o in offers),
    )
