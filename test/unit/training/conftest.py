"""Frames of the coloured room, for every test of what is made from frames."""

import pytest
import torch

from m3_ros.geometry.pose import inverse
from m3_ros.recording.frame import Frame
from m3_ros.splat import render


@pytest.fixture(scope="session")
def room_frames(coloured_room):
    g, keyframes = coloured_room.memory.gaussians, coloured_room.memory.keyframes
    rgb = 0.5 + 0.2820948 * g.sh0[:, 0]
    out = []
    for stamp, pose, camera in zip(keyframes.stamps_ns, keyframes.T_map_camera, keyframes.cameras, strict=True):
        viewmat, K = (torch.from_numpy(m).float()[None] for m in (inverse(pose), camera.K))
        view = render(g.means, g.quats, g.scales, g.opacities, rgb, viewmat, K, camera.width, camera.height)
        image = (view.features[0].clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        out.append(Frame(int(stamp), image, camera, pose))
    return out
