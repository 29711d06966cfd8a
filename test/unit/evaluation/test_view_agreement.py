from dataclasses import replace

import pytest
import torch

from m3_ros.evaluation.memory_benchmark import look, measure_views
from m3_ros.evaluation.view_agreement import view_agreement
from m3_ros.memory.lift import pinhole
from m3_ros.splat import render


@pytest.fixture(scope="module")
def place(coloured_place):
    """The coloured room with depth."""
    g = coloured_place.gaussians

    def with_depth(frame):
        pose = pinhole(frame.camera, frame.T_map_camera)
        size = frame.camera.width, frame.camera.height
        drawn = render(g.means, g.quats, g.scales, g.opacities, g.means, *pose, *size, median_depth=True)
        return replace(frame, depth=drawn.median_depth[0].numpy())

    return replace(coloured_place, frames=tuple(map(with_depth, coloured_place.frames)))


@pytest.fixture(scope="module")
def seen(place, linear_views):
    return list(zip(place.frames, linear_views[0], strict=True))


def test_views_of_a_room_of_one_colour_agree(seen):
    plain = [(frame, replace(view, features=torch.ones_like(view.features))) for frame, view in seen]
    found = view_agreement(plain[:1], plain[1:])
    assert found.valid > 0.2 * found.cells
    assert found.cosine_masked == pytest.approx(0.0, abs=1e-5)
    assert found.l2_masked == pytest.approx(0.0, abs=1e-5)


def test_the_same_spot_looks_more_alike_than_another(seen):
    found = view_agreement(seen[:2], seen[2:])
    turned = [(frame, replace(view, features=view.features.flip(dims=[1]))) for frame, view in seen[2:]]
    assert found.cosine_masked < 0.7 * view_agreement(seen[:2], turned).cosine_masked


def test_a_spot_that_hardly_any_view_shows_is_left_out(seen):
    assert view_agreement(seen[:1], seen[1:3]).valid == 0


def test_nothing_is_known_without_depth(seen):
    blind = [(replace(frame, depth=None), view) for frame, view in seen]
    assert view_agreement(blind[:1], blind[1:]).valid == 0


def test_the_benchmark_gives_a_row_for_it_where_depth_is_known(place, coloured_place, coloured_room, tmp_path):
    (row,) = measure_views(place, look(place, coloured_room.encoder, tmp_path))
    assert row.method == "views"
    assert 0 < row.cosine < 1
    assert measure_views(coloured_place, look(coloured_place, coloured_room.encoder, tmp_path)) == []
