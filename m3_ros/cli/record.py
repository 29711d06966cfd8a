"""`m3 record OUT`: the recorder node, started from the shell."""

from pathlib import Path
from typing import Annotated

import tyro

from m3_ros.cli.processes import node_command, run_foreground


def run(
    out: Annotated[Path, tyro.conf.Positional],
    image_topic: str = "/camera/image_raw",
    camera_info_topic: str = "/camera/camera_info",
    depth_topic: str = "/camera/depth/image_raw",
    odom_topic: str = "/odom",
) -> int:
    """Record camera, odometry and transforms to an MCAP bag until Ctrl-C.

    Args:
        out: Folder of the bag; must not exist.
        image_topic: Colour images; `<topic>/compressed` is preferred where it is offered.
        camera_info_topic: Intrinsics of that camera.
        depth_topic: Registered depth; empty: none.
        odom_topic: Odometry; empty: transforms alone.
    """
    parameters = {
        "bag_path": str(out),
        "image_topic": image_topic,
        "camera_info_topic": camera_info_topic,
        "depth_topic": depth_topic,
        "odom_topic": odom_topic,
    }
    return run_foreground(node_command("recorder", parameters))
