import pytest
import torch

from m3_ros.evaluation.memory_benchmark import Place
from m3_ros.evaluation.teacher_views import TeacherView


@pytest.fixture(scope="session")
def coloured_place(coloured_room, room_frames):
    """The coloured room with the first and the ninth view held out."""
    return Place(tuple(room_frames), coloured_room.memory.gaussians, (0, 8), 30.0, 0)


@pytest.fixture(scope="session")
def linear_views(coloured_place):
    """Views whose features are a linear image of 3 numbers that each Gaussian carries; those numbers, and the matrix.

    Cells that the Gaussians do not cover hold no feature.
    """
    generator = torch.Generator().manual_seed(0)
    carried = coloured_place.gaussians.sh0[:, 0] + 1.0
    matrix = torch.randn(3, 20, generator=generator)
    views = []
    for frame in coloured_place.frames:
        blank = TeacherView(torch.zeros(15, 20, 20), torch.ones(15, 20).bool(), frame.camera, frame.T_map_camera)
        cells = blank.blend(coloured_place.gaussians, torch.cat([carried, torch.ones(len(carried), 1)], dim=1))
        covered = cells[..., 3] > 0.9
        features = (cells[..., :3] @ matrix * covered[..., None]).half()
        views.append(TeacherView(features, covered, frame.camera, frame.T_map_camera))
    return views, carried, matrix
