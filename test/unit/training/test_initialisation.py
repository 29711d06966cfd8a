import numpy as np
import pytest
import torch
from toy_room import HALF, toy_frames

from m3_ros.training.field import rotation_matrices
from m3_ros.training.initialisation import make_seeds, merge_voxels, quats_from_normals, reliable_depth


@pytest.mark.parametrize("count", [50, 700, 5000])
def test_seeds_lie_on_the_walls_and_keep_to_the_budget(count):
    seeds = make_seeds(toy_frames(), count, edge_px=1, seed=0)
    assert 0.4 * count < len(seeds.points) <= count
    to_wall = np.abs(HALF - np.abs(seeds.points)).min(1)
    # the mean of a cube that spans a corner lies off both walls
    assert np.quantile(to_wall, 0.75) < 0.02
    assert (np.abs(seeds.points) <= HALF + 1e-3).all()


def test_seeds_are_flat_along_the_wall():
    seeds = make_seeds(toy_frames(), 2000, edge_px=1, seed=0)
    wall = np.abs(HALF[2] - np.abs(seeds.points[:, 2])) < 1e-3
    assert wall.sum() > 50
    assert np.median(np.abs(seeds.normals[wall, 2])) > 0.99


def test_without_depth_seeds_fill_the_viewed_volume():
    seeds = make_seeds(toy_frames(depth=False), 300, edge_px=1, seed=0)
    assert seeds.points.shape == (300, 3)
    assert np.isfinite(seeds.points).all()
    assert (seeds.scales > 0).all()


def test_depth_at_an_edge_is_not_relied_on():
    depth = np.full((20, 20), 2.0, np.float32)
    depth[:, 10:] = 4.0
    depth[3, 3] = 0
    reliable = reliable_depth(depth, 2)
    assert not reliable[:, 8:12].any()
    assert reliable[10, :7].all()
    assert reliable[10, 13:].all()
    assert not reliable[3, 3]


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
