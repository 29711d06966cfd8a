"""Look into a bag or a folder with transforms.json, without ROS: python 02_read_a_recording.py RECORDING."""

import sys
from pathlib import Path

from m3_ros.recording import check, describe, read, select_keyframes


def main(recording: str) -> None:
    """Say what a recording holds, what is wrong with it, and which of its frames are worth keeping."""
    path = Path(recording)
    for finding in check(path):
        print(f"{finding.severity.name}: {finding.what}")
    summary = describe(path)
    depth = "with" if summary.has_depth else "without"
    print(f"{summary.frames} frames of {summary.width}x{summary.height} {depth} depth in frame {summary.fixed_frame!r}")

    frame = next(read(path))
    x, y, z = frame.T_map_camera[:3, 3]
    print(f"first picture {frame.rgb.shape} at ({x:.2f}, {y:.2f}, {z:.2f}) m, focal length {frame.camera.fx:.0f} px")
    print(f"{len(select_keyframes(read(path)))} keyframes")


if __name__ == "__main__":
    main(*sys.argv[1:])
