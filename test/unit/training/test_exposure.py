from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_room import toy_frames

from m3_ros.training.exposure import Exposure, exposure_varies, gain_deviation
from m3_ros.training.field import Field
from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.initialisation import make_seeds
from m3_ros.training.views import make_view

CPU = torch.device("cpu")


def views_of(frames):
    return [make_view(frame, 1, CPU) for frame in frames]


def field_of(frames, count=2500):
    return Field(make_seeds(frames, count, 1, 0), GeometrySettings(), CPU).detached()


def flickering(frames, deviation=0.15):
    gains = np.exp(np.random.default_rng(3).normal(0, deviation, len(frames)))
    return [replace(f, rgb=np.clip(f.rgb * g, 0, 255).astype(np.uint8)) for f, g in zip(frames, gains, strict=True)]


def test_a_fixed_exposure_does_not_vary():
    frames = toy_frames(12)
    assert not exposure_varies(field_of(frames), views_of(frames))


def test_flicker_is_seen_with_a_rough_field():
    frames = toy_frames(12)
    assert exposure_varies(field_of(frames), views_of(flickering(frames)))


def test_a_field_that_is_still_wrong_is_no_flicker():
    frames = toy_frames(12)
    right = field_of(frames)
    blotches = torch.sin(2.5 * right.means @ torch.tensor([1.0, 1.3, 1.7]))
    wrong = replace(right, sh0=right.sh0 + blotches[:, None, None])
    deviation, error = gain_deviation(wrong, views_of(frames))
    assert deviation > 0.03  # what made the decision wrong when only deviation counted
    assert deviation < 2.5 * error
    assert not exposure_varies(wrong, views_of(frames))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pictures_do_not_vary(count):
    frames = toy_frames(3)
    assert gain_deviation(field_of(frames), views_of(frames)[:count]) == (0.0, 0.0)


def test_pictures_of_nothing_do_not_vary():
    frames = toy_frames(3)
    nothing = field_of(frames)
    nothing = replace(nothing, opacities=torch.full_like(nothing.opacities, 1e-4))
    assert not exposure_varies(nothing, views_of(frames))


def test_a_gain_is_learned():
    image, truth = torch.full((8, 8, 3), 0.4), torch.full((8, 8, 3), 0.5)
    exposure = Exposure([0, 1], CPU)
    for _ in range(300):
        (exposure.apply(image, 1) - truth).square().mean().backward()
        exposure.step(sound=True, fraction=0.0)
    assert torch.allclose(exposure.apply(image, 1), truth, atol=0.01)
    assert torch.equal(exposure.apply(image, 0), image)


def test_a_held_out_picture_is_exposed_like_those_around_it():
    exposure = Exposure([1, 3], CPU)
    image = torch.full((2, 2, 3), 0.5)
    exposure.restore({"values": torch.tensor([0.0, 0.2])[:, None, None].expand(2, 2, 3)})
    dark, bright = (float(exposure.apply(image, i).detach().mean()) for i in (0, 1))
    assert dark < float(exposure.between(image, 2).detach().mean()) < bright
    assert float(exposure.between(image, 0).detach().mean()) == pytest.approx(dark)
    assert float(exposure.between(image, 9).detach().mean()) == pytest.approx(bright)


def test_a_step_that_is_not_sound_is_dropped():
    exposure = Exposure([0], CPU)
    exposure.apply(torch.full((2, 2, 3), float("nan")), 0).mean().backward()
    exposure.step(sound=False, fraction=0.0)
    assert torch.equal(exposure.apply(torch.ones(1, 1, 3), 0), torch.ones(1, 1, 3))
