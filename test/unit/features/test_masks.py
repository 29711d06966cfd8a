import pytest
import torch

from m3_ros.features.encoder import FeatureMap
from m3_ros.features.masks import index_map, overlaps, pool, region_map, resample, stability, suppress


def rectangle(top, left, bottom, right, h=24, w=32):
    mask = torch.zeros(h, w, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def test_overlap_is_intersection_over_union():
    masks = torch.stack(
        [rectangle(0, 0, 4, 4), rectangle(0, 2, 4, 6), rectangle(10, 10, 12, 12), rectangle(0, 0, 0, 0)]
    )
    table = overlaps(masks)
    assert table[0, 1] == pytest.approx(8 / 24)
    assert table[0, 0] == 1
    assert table[0, 2] == 0
    assert table[3, 3] == 0  # nothing is not like nothing


def test_of_two_masks_of_one_thing_the_better_stays_and_a_part_stays_beside_its_whole():
    whole, again, part = rectangle(0, 0, 10, 10), rectangle(0, 0, 10, 9), rectangle(2, 2, 5, 5)
    kept = suppress(torch.stack([whole, again, part]), torch.tensor([0.8, 0.9, 0.7]), overlap=0.7)
    assert kept.tolist() == [1, 2]


def test_equal_scores_keep_the_first():
    masks = torch.stack([rectangle(0, 0, 9, 9)] * 3)
    assert suppress(masks, torch.ones(3), 0.5).tolist() == [0]


def test_no_masks_keep_nothing():
    assert suppress(torch.zeros(0, 4, 4, dtype=torch.bool), torch.zeros(0), 0.5).tolist() == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_small_thing_wins_over_the_large_one_that_it_lies_in(order):
    masks = torch.stack([rectangle(0, 0, 20, 20), rectangle(5, 5, 8, 8)])[list(order)]
    index = index_map(masks)
    assert index[6, 6] == order.index(1)
    assert index[0, 0] == order.index(0)
    assert index[23, 31] == -1


def test_a_mask_with_a_soft_edge_is_less_stable():
    ramp = torch.linspace(-10, 10, 32).expand(24, 32)
    scores = stability(torch.stack([ramp * 10, ramp * 0.3]))
    assert scores[0] > 0.9 > scores[1]


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (1280, 360), (33, 100)])
def test_masks_of_a_padded_square_come_back_to_the_image(width, height):
    side, longest = 256, max(width, height)
    used = (height / longest, width / longest)
    y, x = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    u, v = 0.7 * width, 0.3 * height  # of the edge in the picture
    scale = side / longest
    logits = torch.stack([x - u * scale, y - v * scale])
    cells = resample(logits, (height, width), used)
    columns, rows = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    inside_u, inside_v = abs(columns / width - 0.5) < 0.49, abs(rows / height - 0.5) < 0.49
    assert torch.allclose(cells[0, 0][inside_u], ((columns - u) * scale)[inside_u], atol=1e-3 * side)
    assert torch.allclose(cells[1, :, 0][inside_v], ((rows - v) * scale)[inside_v], atol=1e-3 * side)


def test_a_region_has_the_mean_of_what_lies_under_it():
    features = torch.zeros(6, 8, 3)
    features[:, :4, 0], features[:, 4:, 1] = 5.0, 0.1  # long and short vectors count alike
    dense = FeatureMap(features, torch.ones(6, 8, dtype=torch.bool), (32, 24))
    left, both, outside = rectangle(0, 0, 24, 16), rectangle(0, 8, 24, 24), rectangle(0, 0, 0, 0)
    vectors = pool(dense, torch.stack([left, both, outside]))
    assert torch.allclose(vectors, torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0, 0]]), atol=1e-6)


def test_cells_that_the_dense_encoder_calls_empty_do_not_count():
    features = torch.ones(6, 8, 2)
    features[:, 4:] = torch.tensor([1.0, 0.0])
    valid = torch.ones(6, 8, dtype=torch.bool)
    valid[:, :4] = False
    assert torch.allclose(
        pool(FeatureMap(features, valid, (32, 24)), rectangle(0, 0, 24, 32)[None]), torch.tensor([[1.0, 0]])
    )


def test_an_image_without_regions_is_nowhere_valid():
    empty = region_map(torch.zeros(0, 5), torch.zeros(0, 4, 6, dtype=torch.bool), (60, 40))
    vectors, valid = empty.at(torch.tensor([3.0, 59.0]), torch.tensor([3.0, 39.0]))
    assert vectors.shape == (2, 5)
    assert not valid.any()
    assert empty.dense().shape == (4, 6, 5)
