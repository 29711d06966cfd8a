import numpy as np
import pytest
import torch

from m3_ros.features.encoder import unit
from m3_ros.geometry.pose import look_at
from m3_ros.memory.feature_view import blend_cells, feature_view, text_view


@pytest.fixture(scope="module")
def seen(coloured_room):
    memory = coloured_room.memory
    pose = look_at((-0.5, 0.0, 1.2), coloured_room.centres["chair"])
    camera = memory.keyframes.cameras[0]
    return pose, camera, feature_view(memory.gaussians, memory.principal_queries[0], camera, pose, 24, 32)


@pytest.mark.parametrize("name", ["chair", "floor"])
def test_a_view_shows_in_each_cell_what_the_memory_holds_there(coloured_room, seen, name):
    pose, camera, view = seen
    point = coloured_room.centres["chair"] if name == "chair" else (0.4, 0.1, 0.0)
    p_camera = (np.linalg.inv(pose) @ [*point, 1.0])[:3]
    ((u, v),) = camera.project(p_camera[None])
    vectors, valid = view.at(torch.tensor([u]), torch.tensor([v]))
    assert valid.all()
    words = coloured_room.encoder.encode_text(["chair", "ball", "plant", "floor", "wall"])
    scores = (words @ unit(vectors[0].float())).tolist()
    assert ["chair", "ball", "plant", "floor", "wall"][int(np.argmax(scores))] == name


def test_a_view_covers_the_camera_whatever_its_grid(coloured_room, seen):
    pose, camera, view = seen
    memory = coloured_room.memory
    coarse = feature_view(memory.gaussians, memory.principal_queries[0], camera, pose, 6, 8)
    assert view.image_size == coarse.image_size == (camera.width, camera.height)
    assert (view.features.shape, coarse.features.shape) == ((24, 32, 48), (6, 8, 48))
    share = view.valid.float().reshape(6, 4, 8, 4).mean((1, 3))
    assert (share - coarse.valid.float()).abs().mean() < 0.2


def test_nothing_in_view_is_nowhere_valid(coloured_room):
    memory = coloured_room.memory
    pose = look_at((0.0, 0.0, 50.0), (0.0, 10.0, 60.0))
    view = feature_view(memory.gaussians, memory.principal_queries[0], memory.keyframes.cameras[0], pose, 6, 8)
    assert not view.valid.any()
    assert not view.features.any()


def test_texts_are_scored_in_a_view_without_its_features_and_exactly(coloured_room, seen):
    pose, camera, view = seen
    memory, words = coloured_room.memory, 3 * coloured_room.encoder.encode_text(["chair", "floor", "sofa"])
    scores, valid = text_view(memory.gaussians, memory.principal_queries[0], camera, pose, 24, 32, words)
    assert torch.equal(valid, view.valid)
    torch.testing.assert_close(scores, unit(view.features) @ unit(words).T * valid[..., None], atol=1e-4, rtol=0)


def test_blending_before_and_after_the_attention_are_not_the_same(coloured_room, seen):
    pose, camera, _ = seen
    memory, (entry,) = coloured_room.memory, coloured_room.memory.principal_queries
    words = coloured_room.encoder.encode_text(["chair"])
    by_pixel, valid = text_view(memory.gaussians, entry, camera, pose, 24, 32, words)
    by_gaussian = blend_cells(memory.gaussians, entry.text_scores(words), camera, pose, 24, 32)
    apart = (by_pixel - by_gaussian)[valid].abs()
    assert float(apart.max()) > 0.01
    assert float(apart.median()) < 0.1
