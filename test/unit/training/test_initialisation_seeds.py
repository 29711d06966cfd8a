import numpy as np
import torch

from m3_ros.training.field import rotation_matrices
from m3_ros.training.seeds import merge_voxels, quats_from_normals
from m3_ros.training.seeds_from_points import point_normals


def test_voxels_never_exceed_the_count():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(5000, 9)).astype(np.float32)
    for count in (1, 10, 300):
        assert 0 < len(merge_voxels(samples, count)) <= count


def test_quats_turn_z_onto_the_normal():
    rng = np.random.default_rng(0)
    normals = np.concatenate([rng.normal(size=(50, 3)), [[0, 0, 1], [0, 0, -1], [1, 0, 0]]]).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    turned = rotation_matrices(torch.from_numpy(quats_from_normals(normals)))[:, :, 2]
    assert np.allclose(turned.numpy(), normals, atol=1e-4)


def test_points_of_a_volume_have_no_normal_and_those_of_a_plane_do():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (400, 3)).astype(np.float32)
    assert (np.linalg.norm(point_normals(points), axis=1) > 0.5).mean() < 0.4
    points[:, 1] = 0.5
    assert np.allclose(np.abs(point_normals(points)), (0, 1, 0), atol=1e-5)
    assert not point_normals(points[:4]).any()
