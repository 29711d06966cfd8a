"""Where the cells of an encoder's input lie in the picture, to a fraction of a pixel."""

import numpy as np
import pytest
import torch

from m3_ros.features.encoder import FeatureMap
from m3_ros.features.pixels import Preprocessing

SIZES = [(320, 240), (321, 239), (239, 321), (960, 320), (111, 333), (64, 64), (37, 19), (1921, 1079)]


def ramps(width, height):
    """Draw a picture whose red tells how far right a pixel is and whose green how far down, 0..250."""
    u, v = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return np.stack([250 * u, 250 * v, 0 * u], -1).round().astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_each_patch_shows_the_part_of_the_picture_that_its_cell_stands_for(width, height, interpolation):
    preprocessing = Preprocessing(16, 24, (0.0,) * 3, (1.0,) * 3, interpolation)
    rows, columns = preprocessing.grid(width, height)
    pixels = preprocessing.pixels(ramps(width, height))
    assert pixels.shape == (3, rows * 16, columns * 16)
    seen = torch.nn.functional.avg_pool2d(pixels, 16) * 255 / 250
    u, v = (torch.arange(columns) + 0.5) / columns, (torch.arange(rows) + 0.5) / rows
    inner = (slice(1, -1), slice(1, -1))  # at the edge, a filter sees only one side
    assert torch.allclose(seen[0][inner], u.expand(rows, columns)[inner], atol=0.003)  # half a grey level
    assert torch.allclose(seen[1][inner], v[:, None].expand(rows, columns)[inner], atol=0.003)


def test_a_mirrored_view_is_seen_as_its_copy():
    picture, preprocessing = ramps(64, 48)[:, ::-1, ::-1], Preprocessing(16, 8)
    assert torch.equal(preprocessing.pixels(picture), preprocessing.pixels(picture.copy()))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_patches_are_nearly_square_and_not_too_many(width, height):
    rows, columns = Preprocessing(14, 24).grid(width, height)
    stretch = (columns / width) / (rows / height)
    assert abs(np.log(stretch)) <= np.log1p(0.5 / (min(rows, columns) - 0.5))
    assert rows * columns <= 4 * 24**2 + max(rows, columns)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_pixel_reads_the_cell_that_covers_it(width, height):
    rows, columns = Preprocessing(14, 24).grid(width, height)
    number = torch.arange(rows * columns, dtype=torch.float32).reshape(rows, columns, 1)
    seen = FeatureMap(number, torch.ones(rows, columns, dtype=torch.bool), (width, height))
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    read = seen.at(u.reshape(-1), v.reshape(-1))[0].reshape(height, width).long()
    row, column = read // columns, read % columns
    assert torch.equal(column, (u.double() * columns / width).floor().long())
    assert torch.equal(row, (v.double() * rows / height).floor().long())
