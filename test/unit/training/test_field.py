import pytest
import torch
from toy_room import toy_frames

from m3_ros.training.field import Field, no_rows, take
from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.initialisation import make_seeds
from m3_ros.training.views import make_view

CPU = torch.device("cpu")


def make(count=100, **settings):
    frames = toy_frames(3)
    return Field(make_seeds(frames, count, 1, 0), GeometrySettings(**settings), CPU), make_view(frames[0], 1, CPU)


def backward(field, view):
    (view.draw(field.gaussians()).features - view.truth()).square().mean().backward()


def test_a_finished_field_has_unit_quaternions_and_open_opacities():
    field, _ = make()
    with torch.no_grad():
        field.parameters[1].mul_(7)
        field.parameters[3][:2] = torch.tensor([-200.0, 200.0])
    g = field.finished()
    assert torch.allclose(g.quats.norm(dim=1), torch.ones(len(field)), atol=1e-5)
    assert ((g.opacities > 0) & (g.opacities < 1)).all()
    assert torch.isfinite(torch.logit(g.opacities)).all()


@pytest.mark.parametrize(
    ("parameter", "value"),
    [(0, float("nan")), (1, 0.0), (1, float("inf")), (2, -200.0), (2, 200.0), (3, float("nan")), (4, float("inf"))],
)
def test_a_broken_gaussian_is_left_out(parameter, value):
    field, _ = make()
    n = len(field)
    with torch.no_grad():
        field.parameters[parameter][5] = value
    g = field.finished()
    assert len(g) == n - 1
    assert all(torch.isfinite(x).all() for x in (g.means, g.quats, g.scales, g.opacities, g.sh0, g.shN))
    assert torch.isfinite(torch.log(g.scales)).all()


def test_finishing_changes_nothing_and_shares_nothing():
    field, _ = make()
    before = take(field, torch.arange(len(field)))
    field.finished().means.add_(1)
    assert all(torch.equal(a, b.detach()) for a, b in zip(before, field.parameters, strict=True))


def test_a_gradient_that_is_not_finite_leaves_the_field_as_it_was():
    field, view = make()
    backward(field, view)
    field.parameters[2].grad[3, 0] = float("inf")
    before = take(field, torch.arange(len(field)))
    assert not field.step(0.0)
    assert all(torch.equal(a, b.detach()) for a, b in zip(before, field.parameters, strict=True))
    backward(field, view)
    assert field.step(0.0)
    assert not torch.equal(before[0], field.parameters[0].detach())


def test_steps_get_smaller_along_the_schedule():
    moved = []
    for fraction in (0.0, 1.0):
        field, view = make()
        before = field.parameters[0].detach().clone()
        backward(field, view)
        field.step(fraction)
        moved.append(float((field.parameters[0].detach() - before).abs().max()))
    assert moved[1] == pytest.approx(moved[0] / 100, rel=0.05)


def test_a_restored_field_takes_the_same_next_step():
    field, view = make()
    backward(field, view)
    field.step(0.0)
    saved = {name: value.clone() for name, value in field.state().items()}
    other, _ = make(50)
    other.restore(saved)
    for each in (field, other):
        backward(each, view)
        each.step(0.1)
    for a, b in zip(field.parameters, other.parameters, strict=True):
        assert torch.allclose(a.detach(), b.detach(), atol=1e-6)  # the kernel adds in another order each time


def test_an_emptied_field_draws_nothing_and_does_not_break():
    field, view = make()
    field.replace_rows(torch.arange(0), no_rows(field))
    assert len(field.finished()) == 0
    assert view.draw(field.detached()).alpha.max() == 0
