from dataclasses import replace

import pytest
import torch
from scenes import cameras, cloud

from m3_ros.splat import kernel
from m3_ros.splat.accumulate import accumulate
from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.lifting import Gathered, Grid, Projection, Regions, dense, gather

WIDTH, HEIGHT = 50, 37


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gaussians(count=300):
    scene = cloud(count, 1)
    return Gaussians(*scene.tensors()[:4], torch.zeros(count, 1, 3), torch.zeros(count, 0, 3))


def all_valid(rows, columns, channels):
    return Grid(random(rows, columns, channels), torch.ones(rows, columns, dtype=torch.bool))


def some_valid(rows, columns, channels):
    grid = all_valid(rows, columns, channels)
    return replace(grid, valid=random(rows, columns, seed=5) > -0.4)


def patches(channels):
    """Regions of all sizes, and pixels of none."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    index = (x // 9 + 6 * (y // 20)) * (random(HEIGHT, WIDTH, seed=3) > -1) - 1
    return Regions(random(20, channels), index)


def projection(length, channels, normalised=True):
    return Projection.by(random(length, channels, seed=length), normalised=normalised)


IMAGES = {
    "a grid": (all_valid(9, 13, 40), projection(40, 16)),
    "features as they are": (all_valid(9, 13, 5), projection(5, 4, normalised=False)),
    "a single cell": (all_valid(1, 1, 3), projection(3, 3)),
    "a grid as fine as the view": (all_valid(HEIGHT, WIDTH, 5), projection(5, 5)),
    "a grid finer than the view": (all_valid(2 * HEIGHT, 3 * WIDTH + 1, 5), projection(5, 33)),
    "a grid with holes": (some_valid(9, 13, 20), projection(20, 20)),
    "regions": (patches(33), projection(33, 33)),
    "regions everywhere": (Regions(random(2, 8), torch.tensor([[0, 1], [1, 0]])), projection(8, 16)),
}


def gathered(images, views=1):
    out = Gathered.nothing(300, [projection.channels for _, projection in images])
    for viewmat, K in zip(*cameras(WIDTH, HEIGHT, views), strict=True):
        gather(gaussians(), viewmat, K, WIDTH, HEIGHT, images, out)
    return out


@pytest.mark.parametrize("name", IMAGES)
def test_it_equals_the_sums_over_the_values_of_every_pixel(name):
    image = IMAGES[name]
    out = gathered([image], views=2)
    values, known = dense(*image, WIDTH, HEIGHT)
    of_pixels = torch.cat([values, known[..., None]], dim=-1).expand(2, -1, -1, -1)
    sums, seen = accumulate(gaussians(), *cameras(WIDTH, HEIGHT, 2), WIDTH, HEIGHT, of_pixels)
    torch.testing.assert_close(out.sums[0], sums[:, :-1], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(out.weights[0], sums[:, -1], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(out.seen, seen, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", IMAGES)
def test_features_of_half_precision_give_the_bits_of_the_same_numbers_in_single(name):
    image, by = IMAGES[name]
    image = replace(image, features=(image.features * torch.logspace(-6, 2, image.features.shape[-1])).half())
    halves = gathered([(image, by)])
    single = gathered([(replace(image, features=image.features.float()), by)])
    assert torch.equal(halves.sums[0], single.sums[0])
    assert torch.equal(halves.weights[0], single.weights[0])


def test_vectors_of_any_length_are_projected():
    for length in (1, 15, 17, 511, 512, 513, 1200):
        image = (some_valid(5, 7, length), projection(length, 20))
        values, _ = dense(*image, WIDTH, HEIGHT)
        assert not bool(values.isnan().any())
        sums, _ = accumulate(gaussians(), *cameras(WIDTH, HEIGHT, 1), WIDTH, HEIGHT, values[None])
        torch.testing.assert_close(gathered([image]).sums[0], sums, atol=1e-3, rtol=1e-5)


def test_images_side_by_side_give_what_each_gives_alone():
    together = gathered(list(IMAGES.values()))
    for number, image in enumerate(IMAGES.values()):
        alone = gathered([image])
        assert torch.equal(together.sums[number], alone.sums[0])
        assert torch.equal(together.weights[number], alone.weights[0])
        assert torch.equal(together.seen, alone.seen)


def test_any_number_of_threads_gives_the_same_bits():
    results = []
    for count in (1, 2, 3):
        kernel.set_threads(count)
        results.append(gathered(list(IMAGES.values())))
    kernel.set_threads(None)
    for other in results[1:]:
        for x, y in zip((*results[0].sums, *results[0].weights), (*other.sums, *other.weights), strict=True):
            assert torch.equal(x, y)


def test_no_encoder_or_no_gaussian_gives_nothing():
    assert float(gathered([]).seen.sum()) > 0
    out = Gathered.nothing(0, [2])
    nobody = gaussians(300)
    nobody = Gaussians(*(getattr(nobody, name)[:0] for name in nobody.__dataclass_fields__))
    images = [(all_valid(2, 2, 2), projection(2, 2))]
    gather(nobody, *(x[0] for x in cameras(WIDTH, HEIGHT)), WIDTH, HEIGHT, images, out)
    assert out.sums[0].shape == (0, 2)
