import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import oracle_render
from scenes import Scene, cameras, cloud

from m3_ros.errors import BackendError
from m3_ros.splat.kernel import set_threads
from m3_ros.splat.render import render

NAMES = ("means", "quats", "scales", "opacities", "features", "viewmats")


def relative(a, b):
    return float((a.double() - b).norm() / b.norm().clamp(min=1e-12))


def both(scene, width, height, seed=0):
    """Outputs and inputs of the kernel (float32) and of the oracle (float64)."""
    viewmats, Ks = cameras(width, height, 1, seed)
    ours = [*scene.copies(torch.float32), viewmats.clone().requires_grad_()]
    theirs = [*scene.copies(torch.float64), viewmats.clone().requires_grad_()]
    drawn = render(*ours, Ks, width, height, backend="cpu", median_depth=True)
    wanted = oracle_render(*theirs[:5], theirs[5][0], Ks[0], width, height)
    return drawn, ours, wanted, theirs


@pytest.mark.parametrize(
    ("channels", "width", "height"), [(1, 16, 16), (3, 70, 50), (19, 33, 47), (33, 50, 21), (64, 40, 40)]
)
def test_forward_and_every_gradient_equal_the_oracle(channels, width, height):
    drawn, ours, wanted, theirs = both(cloud(200, channels, seed=channels), width, height, seed=channels)
    assert (drawn.features[0] - wanted.features).abs().max() < 2e-5
    assert (drawn.alpha[0] - wanted.alpha).abs().max() < 5e-6
    assert (drawn.depth[0] - wanted.depth).abs().max() < 2e-5
    gradients_equal_the_oracle(drawn, ours, wanted, theirs)


def gradients_equal_the_oracle(drawn, ours, wanted, theirs, seed=1):
    g = torch.Generator().manual_seed(seed)
    d_features, d_alpha, d_depth = (
        torch.randn(x.shape, generator=g) for x in (wanted.features, wanted.alpha, wanted.depth)
    )
    solid = (wanted.alpha > 0.1).detach()  # depth is a quotient: meaningless where nothing is
    for view in (drawn, wanted):
        features, alpha, depth = (
            x.reshape(y.shape)
            for x, y in ((view.features, wanted.features), (view.alpha, wanted.alpha), (view.depth, wanted.depth))
        )
        ((features * d_features).sum() + (alpha * d_alpha).sum() + (depth * d_depth * solid).sum()).backward()
    for name, a, b in zip(NAMES, ours, theirs, strict=True):
        assert relative(a.grad, b.grad) < 1e-5, name


@settings(derandomize=True, max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 60),
    channels=st.integers(1, 130),
    width=st.integers(5, 49),  # of one pixel alone, the parts of a gradient may cancel
    height=st.integers(5, 49),
)
def test_every_gradient_equals_the_oracle_on_any_scene(seed, count, channels, width, height):
    drawn, ours, wanted, theirs = both(cloud(count, channels, seed), width, height, seed)
    assert (drawn.features[0] - wanted.features).abs().max() < 2e-5
    gradients_equal_the_oracle(drawn, ours, wanted, theirs, seed)


@pytest.mark.parametrize("kind", ["behind", "beside", "needles", "huge", "transparent"])
def test_every_gradient_equals_the_oracle_where_all_gaussians_are(kind):
    scene = cloud(60, 20, seed=7)
    if kind == "behind":
        scene.means[:30, 2] *= -1
    elif kind == "beside":
        scene.means[:, 0] += scene.means[:, 2] * 0.8
    elif kind == "needles":
        scene.scales[:, 0] *= 1e-3
        scene.scales[:, 1] *= 5
    elif kind == "huge":
        scene.scales.mul_(20)
        scene.opacities.mul_(0.2)
    else:
        scene.opacities.mul_(0.02)
    gradients_equal_the_oracle(*both(scene, 45, 39, seed=7))


def test_median_depth_equals_the_oracle():
    drawn, _, wanted, _ = both(cloud(300, 3), 64, 48)
    # a pixel whose transmittance passes within rounding of one half may pick the next Gaussian
    assert ((drawn.median_depth[0] - wanted.median_depth).abs() < 1e-4).double().mean() > 0.999


def test_one_call_for_two_cameras_equals_two_calls():
    scene = cloud(150, 5)
    viewmats, Ks = cameras(40, 30, 2)
    together = render(*scene.tensors(), viewmats, Ks, 40, 30)
    for i in range(2):
        alone = render(*scene.tensors(), viewmats[i : i + 1], Ks[i : i + 1], 40, 30)
        assert torch.equal(together.features[i], alone.features[0])
        assert torch.equal(together.depth[i], alone.depth[0])


def test_gradients_of_two_cameras_are_the_sum_of_each():
    viewmats, Ks = cameras(40, 30, 2)
    grads = []
    for groups in ([[0, 1]], [[0], [1]]):
        inputs = cloud(150, 5).copies(torch.float32)
        for group in groups:
            render(*inputs, viewmats[group], Ks[group], 40, 30).features.square().sum().backward()
        grads.append([x.grad for x in inputs])
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)


def test_features_may_differ_by_camera():
    scene = cloud(100, 4)
    viewmats, Ks = cameras(32, 32, 2)
    features = torch.randn(2, 100, 4, requires_grad=True)
    drawn = render(*scene.tensors()[:4], features, viewmats, Ks, 32, 32)
    second = render(*scene.tensors()[:4], features[1], viewmats[1:], Ks[1:], 32, 32)
    assert torch.equal(drawn.features[1], second.features[0])
    drawn.features[1].sum().backward()
    assert features.grad[0].abs().max() == 0
    assert features.grad[1].abs().max() > 0


def test_gradient_by_features_alone_equals_the_one_among_all():
    scene = cloud(150, 20)
    viewmats, Ks = cameras(40, 30)
    grads = []
    for everything in (True, False):
        inputs = scene.copies(torch.float32)
        for x in inputs[:4]:
            x.requires_grad_(everything)
        render(*inputs, viewmats, Ks, 40, 30).features.square().sum().backward()
        grads.append(inputs[4].grad)
    assert torch.equal(*grads)


@pytest.mark.parametrize("channels", [3, 19, 67])
def test_the_same_bits_come_out_every_time_with_any_number_of_threads(channels):
    scene = cloud(300, channels)
    viewmats, Ks = cameras(130, 64)
    results = []
    try:
        for threads in (1, 1, 2, 2, 3):
            set_threads(threads)
            inputs = [*scene.copies(torch.float32), viewmats.clone().requires_grad_()]
            drawn = render(*inputs, Ks, 130, 64)
            (drawn.features.square().sum() + drawn.depth.sum() + drawn.alpha.sum()).backward()
            results.append([drawn.features, drawn.depth, *(x.grad for x in inputs)])
    finally:
        set_threads(None)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


def test_background_shines_through():
    scene = cloud(20, 3)
    viewmats, Ks = cameras(24, 24)
    colour = torch.tensor([0.2, 0.4, 0.6])
    plain = render(*scene.tensors(), viewmats, Ks, 24, 24)
    on_colour = render(*scene.tensors(), viewmats, Ks, 24, 24, background=colour)
    assert torch.allclose(on_colour.features, plain.features + (1 - plain.alpha[..., None]) * colour)


def empty(scene: Scene, viewmats, Ks):
    inputs = scene.copies(torch.float32)
    drawn = render(*inputs, viewmats, Ks, 33, 17)
    (drawn.features.sum() + drawn.depth.sum() + drawn.alpha.sum()).backward()
    assert drawn.features.abs().max() == 0
    assert drawn.alpha.max() == 0
    assert drawn.depth.max() == 0
    assert all(x.grad.abs().sum() == 0 for x in inputs)


def test_no_gaussians_draw_an_empty_image():
    empty(cloud(0, 3), *cameras(33, 17))


def test_gaussians_behind_the_camera_draw_an_empty_image():
    scene = cloud(50, 3)
    scene.means[:, 2] = -scene.means[:, 2].abs() - 1
    empty(scene, *cameras(33, 17))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("field", ["means", "quats", "scales", "opacities"])
def test_a_broken_gaussian_is_left_out_and_harms_no_other(field, bad):
    scene, viewmats, Ks = cloud(60, 3), *cameras(40, 40)
    sound = [torch.cat([x[:20], x[21:]]) for x in scene.tensors()]
    getattr(scene, field)[20] = bad
    inputs = scene.copies(torch.float32)
    drawn = render(*inputs, viewmats, Ks, 40, 40)
    assert torch.equal(drawn.features, render(*sound, viewmats, Ks, 40, 40).features)
    drawn.features.sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in inputs)


def test_a_camera_that_is_not_finite_sees_nothing():
    scene, (viewmats, Ks) = cloud(60, 3), cameras(40, 40)
    viewmats[0, 0, 3] = float("nan")
    assert render(*scene.tensors(), viewmats, Ks, 40, 40).alpha.max() == 0


def test_wrong_shapes_are_named():
    scene, (viewmats, Ks) = cloud(10, 3), cameras(20, 20)
    with pytest.raises(ValueError, match="quats"):
        render(scene.means, scene.quats[:5], scene.scales, scene.opacities, scene.features, viewmats, Ks, 20, 20)
    with pytest.raises(ValueError, match="features"):
        render(*scene.tensors()[:4], scene.features[:3], viewmats, Ks, 20, 20)
    with pytest.raises(ValueError, match="viewmats"):
        render(*scene.tensors(), viewmats[0], Ks, 20, 20)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_gsplat_without_cuda_says_what_to_do():
    with pytest.raises(BackendError, match="backend='cpu'"):
        render(*cloud(10, 3).tensors(), *cameras(20, 20), 20, 20, backend="gsplat")
