import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_room import toy_frames

from m3_ros.training.densification import densify, gaussian_errors, split
from m3_ros.training.field import Field, concatenate, no_rows, take
from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.initialisation import make_seeds
from m3_ros.training.views import make_view

CPU = torch.device("cpu")


def make(count=400):
    frames = toy_frames(4)
    field = Field(make_seeds(frames, count, 1, 0), GeometrySettings(), CPU)
    return field, list(enumerate(make_view(frame, 1, CPU) for frame in frames))


def left_half(_number, view, _gaussians):
    error = torch.zeros(view.height, view.width)
    error[:, : view.width // 2] = 1
    return error


def test_errors_belong_to_the_gaussians_that_made_the_pixels():
    field, views = make()
    number, view = views[0]
    errors = gaussian_errors(field.detached(), [(number, view)], left_half)
    means = field.parameters[0].detach()
    camera = means @ view.viewmat[0, :3, :3].T + view.viewmat[0, :3, 3]
    u = camera[:, 0] / camera[:, 2] * view.K[0, 0, 0] + view.K[0, 0, 2]
    right = (camera[:, 2] > 0.1) & (u > 0.8 * view.width)
    assert errors[right].max() < 0.1  # the rim of a large Gaussian may reach over
    assert errors.max() > 1


def test_densification_reaches_its_target_and_drops_the_faint():
    field, views = make()
    n = len(field)
    with torch.no_grad():
        field.parameters[3][:20] = -10
    change = densify(field, views, left_half, n + 30)
    assert change.dropped == 20
    assert change.added == 50
    assert len(field) == n + 30


def test_what_belongs_to_each_gaussian_can_follow_its_parent():
    field, views = make()
    before = field.parameters[0].detach().clone()
    with torch.no_grad():
        field.parameters[3][:20] = -10
    change = densify(field, views, left_half, len(field) + 30)
    assert len(change.parents) == len(field)
    assert not bool((change.parents < 20).any()), "pruned ones have no children"
    scales = torch.exp(field.parameters[2].detach()).amax(dim=1)
    moved = (field.parameters[0].detach() - before[change.parents]).norm(dim=1)
    assert bool((moved <= 1.01 * scales).all())
    counts = torch.bincount(change.parents)
    assert int((counts == 2).sum()) == change.added


def test_a_full_budget_only_drops():
    field, views = make()
    n = len(field)
    assert densify(field, views, left_half, n - 100).added == 0
    assert len(field) == n


@settings(max_examples=15, deadline=None)
@given(st.integers(-50, 120), st.integers(0, 60), st.integers(0, 2))
def test_a_densified_field_never_exceeds_its_target_nor_loses_what_is_not_faint(more, faint, broken):
    field, views = make(100)
    n = len(field)
    with torch.no_grad():
        field.parameters[3][:faint] = -10
        field.parameters[0][n - broken :] = float("nan")
    densify(field, views[:1], left_half, n + more)
    assert len(field) <= max(n + more, n - faint - broken)
    assert len(field) >= n - faint - broken
    assert all(torch.isfinite(parameter).all() for parameter in field.parameters)


def test_halves_lie_on_either_side_along_the_longest_axis():
    field, _ = make(50)
    with torch.no_grad():
        field.parameters[2][:] = torch.log(torch.tensor([0.01, 0.3, 0.02]))
    index = torch.arange(5)
    halves = split(field, index)
    middle = (halves[0][:5] + halves[0][5:]) / 2
    assert torch.allclose(middle, field.parameters[0].detach()[:5], atol=1e-5)
    assert torch.allclose((halves[0][5:] - halves[0][:5]).norm(dim=1), torch.full((5,), 0.36), atol=1e-4)
    assert (halves[2][:, 1] < field.parameters[2][0, 1].detach()).all()


def test_rows_keep_their_moments_when_others_leave():
    field, views = make(200)
    _, view = views[0]
    for _ in range(3):
        view.draw(field.gaussians()).features.square().mean().backward()
        assert field.step(0.0)
    before = take(field, torch.arange(10, len(field)))
    field.replace_rows(torch.arange(10, len(field)), no_rows(field))
    assert all(torch.equal(a, b.detach()) for a, b in zip(before, field.parameters, strict=True))
    view.draw(field.gaussians()).features.square().mean().backward()
    assert field.step(0.0)


def test_rows_are_put_below_each_other():
    field, _ = make(50)
    both = concatenate(take(field, torch.arange(3)), take(field, torch.arange(2)))
    assert [len(x) for x in both] == [5] * 6
