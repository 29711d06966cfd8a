import pytest
import torch

from m3_ros.evaluation.fidelity import fidelity
from m3_ros.evaluation.teacher_views import teacher_views
from m3_ros.features.encoder import FeatureMap


def test_true_features_are_at_no_distance(coloured_place, linear_views):
    views, carried, matrix = linear_views
    found = fidelity(views, coloured_place.gaussians, carried, lambda x: x @ matrix)
    assert found.cosine_masked < 1e-4
    assert found.l2_masked < 1e-5  # half precision
    assert found.cells == 12 * 15 * 20
    assert found.valid == sum(int(view.valid.sum()) for view in views)


def test_both_orders_agree_where_decoding_is_linear(coloured_place, linear_views):
    views, carried, matrix = linear_views
    wrong = 1.3 * matrix.abs()
    blended = fidelity(views[:2], coloured_place.gaussians, carried, lambda x: x @ wrong)
    direct = fidelity(views[:2], coloured_place.gaussians, carried, lambda x: x @ wrong, "decode, then blend")
    assert blended.cosine > 0.01
    assert direct.cosine == pytest.approx(blended.cosine, abs=1e-5)
    assert direct.l2 == pytest.approx(blended.l2, rel=1e-4)


def test_cells_without_a_feature_count_one_and_only_without_the_mask(coloured_place, linear_views):
    views, carried, matrix = linear_views
    found = fidelity(views[3:4], coloured_place.gaussians, carried, lambda x: x @ matrix)
    empty = float((~views[3].valid).float().mean())
    assert 0.05 < empty < 0.95
    assert found.cosine_masked < 1e-4
    assert found.cosine == pytest.approx(empty, abs=1e-3)
    assert found.l2 > 100 * found.l2_masked


def test_l2_is_the_mean_square_per_channel(coloured_place, linear_views):
    views, carried, matrix = linear_views
    found = fidelity(views[:1], coloured_place.gaussians, carried, lambda x: x @ matrix + 0.5)
    assert found.l2_masked == pytest.approx(0.25, rel=1e-2)


def test_maps_of_regions_are_looked_at_cell_by_cell(room_frames):
    index = torch.full((120, 160), -1)
    index[:, 80:] = 1
    seen = FeatureMap(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.ones(120, 160).bool(), (160, 120), index)
    (view,) = teacher_views(room_frames[:1], [seen])
    assert view.features.shape == (60, 80, 2)
    assert not view.valid[:, :40].any()
    assert view.valid[:, 40:].all()
    assert (view.features[:, 40:] == torch.tensor([0.0, 2.0])).all()
    assert (view.features[:, :40] == 0).all()
