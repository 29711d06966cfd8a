import pytest
import torch

from m3_ros.errors import TrainingError
from m3_ros.features.encoder import FeatureMap
from m3_ros.memory.sources import component_sources


def grid(features, valid=None):
    shape = features.shape[:2]
    return FeatureMap(features, torch.ones(shape, dtype=torch.bool) if valid is None else valid, (80, 40))


def test_each_component_is_traced_to_the_cell_that_it_was_taken_from():
    features = torch.randn(3, 4, 8, 16, generator=torch.Generator().manual_seed(0))
    components = torch.stack([features[2, 3, 7], features[0, 0, 0], features[1, 2, 5]])
    sources = component_sources([(100 + i, grid(f)) for i, f in enumerate(features)], components)
    assert sources.tolist() == [[102, 75, 35], [100, 5, 5], [101, 55, 25]]


def test_the_first_of_two_equal_features_counts():
    features = torch.ones(1, 2, 4)
    assert component_sources([(7, grid(features)), (8, grid(features))], torch.ones(1, 4))[0, 0] == 7


def test_cells_without_a_feature_are_no_source():
    features = torch.eye(4)[None]
    valid = torch.tensor([[True, True, False, True]])
    sources = component_sources([(1, grid(features, valid)), (2, grid(features))], torch.eye(4)[2:3])
    assert sources[0, 0] == 2
    nothing = grid(features, torch.zeros(1, 4, dtype=torch.bool))
    assert component_sources([(1, nothing), (2, grid(features))], torch.eye(4)[:1])[0, 0] == 2


def test_a_region_is_traced_to_the_middle_of_its_cells():
    index = torch.full((4, 8), -1)
    index[1:4, 2:5] = 1
    index[0, :] = 0
    seen = FeatureMap(torch.eye(3)[:2], torch.ones(4, 8, dtype=torch.bool), (80, 40), index)
    sources = component_sources([(5, seen)], torch.eye(3)[1:2])
    assert sources.tolist() == [[5, 35, 25]]


def test_a_component_that_no_view_showed_is_refused():
    with pytest.raises(TrainingError, match="1 of 2 components"):
        component_sources([(7, grid(torch.eye(4)[None]))], torch.stack([torch.eye(4)[1], torch.full((4,), 0.3)]))
