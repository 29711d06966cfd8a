"""gsplat behind our conventions: on CUDA against the oracle and the CPU kernel, elsewhere against a double of it.

The double takes what gsplat 1.5.3 takes and gives what it gives, in plain torch: it shows that the backend speaks
gsplat's language. That gsplat itself agrees only the tests marked gpu can show.
"""

import inspect
import sys
from types import SimpleNamespace

import pytest
import torch
from oracle import oracle_render, project, rotations
from scenes import cameras, cloud

from m3_ros.errors import BackendError
from m3_ros.splat import Gaussians, accumulate, gsplat_backend, render

NAMES = ("means", "quats", "scales", "opacities", "features", "viewmats")
WIDTH, HEIGHT = 70, 50
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA, which torch does not find here")


def relative(a, b):
    return float((a.double().cpu() - b.double().cpu()).norm() / b.double().norm().clamp(min=1e-12))


def loss(drawn, solid):
    """A number that depends on features, alpha and, in solid pixels, depth."""
    g = torch.Generator().manual_seed(1)
    parts = [drawn.features, drawn.alpha, drawn.depth * solid.to(drawn.depth.device)]
    return sum((x.cpu().double() * torch.randn(x.shape, generator=g, dtype=torch.float64)).sum() for x in parts)


def oracle_views(inputs, Ks, width, height):
    """What all cameras see, from the oracle; features may differ by camera."""
    means, quats, scales, opacities, features, viewmats = inputs
    views = [
        oracle_render(
            means,
            quats,
            scales,
            opacities,
            features if features.ndim == 2 else features[i],
            viewmats[i],
            K,
            width,
            height,
        )
        for i, K in enumerate(Ks)
    ]
    stacked = {name: torch.stack([getattr(v, name) for v in views]) for name in ("features", "alpha", "depth")}
    return SimpleNamespace(**stacked, median_depth=torch.stack([v.median_depth for v in views]))


def rasterization_double(
    means, quats, scales, opacities, colors, viewmats, Ks, width, height, near_plane=0.01, far_plane=1e10,
    radius_clip=0.0, eps2d=0.3, sh_degree=None, packed=True, tile_size=16, backgrounds=None, render_mode="RGB",
    sparse_grad=False, absgrad=False, rasterize_mode="classic", channel_chunk=32,
):  # fmt: skip
    """gsplat.rasterization as far as the backend uses it, with its checks of shapes."""
    N, C = len(means), len(viewmats)
    assert N > 0, "gsplat 1.5.3 divides by the number of Gaussians"
    assert (quats.shape, scales.shape, opacities.shape) == ((N, 4), (N, 3), (N,))
    assert (viewmats.shape, Ks.shape) == ((C, 4, 4), (C, 3, 3))
    assert colors.shape[:-1] in ((N,), (C, N))
    assert 1 <= channel_chunk <= 512, "no kernel is wider"
    assert (eps2d, rasterize_mode, render_mode, packed) == (0.3, "classic", "RGB+ED", False)
    assert all(x.dtype == torch.float32 for x in (means, quats, scales, opacities, colors, viewmats, Ks))
    inputs = [x.double() for x in (means, quats, scales, opacities, colors, viewmats)]
    kept = (opacities >= 1 / 255) & torch.isfinite(means).all(1)
    inputs[:4] = [torch.where(kept.view(-1, *[1] * (x.ndim - 1)), x, torch.ones_like(x)) for x in inputs[:4]]
    inputs[3] = torch.where(kept, inputs[3], torch.zeros_like(inputs[3]))
    drawn = oracle_views(inputs, Ks.double(), width, height)
    image = torch.cat([drawn.features, drawn.depth[..., None]], -1).float()
    projected = [
        project(*inputs[:3], viewmat, K.double(), width, height) for viewmat, K in zip(inputs[5], Ks, strict=True)
    ]
    u, v, z, conics = (torch.stack(x) for x in zip(*projected, strict=True))
    meta = {
        "means2d": torch.stack([u, v], -1).float(),
        "depths": z.float(),
        "conics": torch.stack([conics[..., 0, 0], conics[..., 0, 1], conics[..., 1, 1]], -1).float(),
        "opacities": torch.where(z > near_plane, inputs[3], 0 * z).float(),
        "tile_size": tile_size,
        "isect_offsets": torch.zeros(C, -(-height // tile_size), -(-width // tile_size), dtype=torch.int32),
        "flatten_ids": torch.zeros(0, dtype=torch.int32),
    }
    return image, drawn.alpha[..., None].float(), meta


def rasterize_to_indices_double(
    range_start, range_end, transmittances, means2d, conics, opacities, image_width, image_height, tile_size,
    isect_offsets, flatten_ids,
):  # fmt: skip
    """gsplat.rasterize_to_indices_in_range over everything; depth is the order, and here that of the index."""
    assert range_start == 0
    assert range_end < 2**32, "the kernel counts with 32 bits"
    assert transmittances.shape == (len(means2d), image_height, image_width)
    rows = [
        (pair, camera)
        for camera in range(len(means2d))
        for pair in _pairs(means2d[camera], conics[camera], opacities[camera], image_width, image_height)
    ]
    table = torch.tensor([(index, pixel, camera) for (pixel, index), camera in rows])
    return table.T.unbind()


def _pairs(means2d, conics, opacities, width, height):
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    d = torch.stack([x, y], -1).view(-1, 1, 2) - means2d
    a, b, c = conics.unbind(-1)
    alpha = opacities * torch.exp(-0.5 * (a * d[..., 0] ** 2 + c * d[..., 1] ** 2) - b * d[..., 0] * d[..., 1])
    return torch.nonzero(alpha.clamp(max=0.999) >= 1 / 255).tolist()


@pytest.fixture
def double(monkeypatch):
    module = SimpleNamespace(
        rasterization=rasterization_double, rasterize_to_indices_in_range=rasterize_to_indices_double
    )
    monkeypatch.setitem(sys.modules, "gsplat", module)


def draw(inputs, Ks, width=WIDTH, height=HEIGHT, median_depth=False):
    """Call the backend itself: render() lets it run on CUDA only."""
    return gsplat_backend.render(*inputs, Ks, width, height, 0.05, median_depth)


def case(channels=5, count=120, views=2, dtype=torch.float32, device="cpu", seed=3):
    """Leaves of one scene for both worlds, and the cameras."""
    scene = cloud(count, channels, seed)
    scene.opacities[-count // 8 :] = 0.95  # some pixels should be more than half opaque
    viewmats, Ks = cameras(WIDTH, HEIGHT, views, seed)
    inputs = [x.detach().to(device, dtype).requires_grad_() for x in (*scene.tensors(), viewmats)]
    return inputs, Ks.to(device)


def test_the_backend_speaks_gsplats_language(double):
    ours, Ks = case()
    theirs, _ = case(dtype=torch.float64)
    drawn, wanted = draw(ours, Ks), oracle_views(theirs, Ks, WIDTH, HEIGHT)
    assert (drawn.backend, drawn.median_depth) == ("gsplat", None)
    assert drawn.features.shape == (2, HEIGHT, WIDTH, 5)
    assert drawn.alpha.shape == drawn.depth.shape == (2, HEIGHT, WIDTH)
    for name in ("features", "alpha", "depth"):
        assert (getattr(drawn, name) - getattr(wanted, name)).abs().max() < 1e-4, name
    solid = wanted.alpha.detach() > 0.1  # depth is a quotient: meaningless where nothing is
    loss(drawn, solid).backward()
    loss(wanted, solid).backward()
    for name, a, b in zip(NAMES, ours, theirs, strict=True):
        assert relative(a.grad, b.grad) < 1e-4, name


def test_features_of_each_camera_and_other_types_arrive(double):
    inputs, Ks = case()
    inputs[4] = torch.randn(2, 120, 4)
    halves = [x.detach().to(torch.float16) for x in inputs[:5]]
    assert draw([*halves, inputs[5]], Ks).features.shape == (2, HEIGHT, WIDTH, 4)


def test_a_broken_gaussian_is_invisible(double):
    inputs, Ks = case(count=40, views=1)
    inputs = [x.detach() for x in inputs]
    inputs[3][5] = 0.0
    sound = draw(inputs, Ks)
    for field, bad in ((0, float("nan")), (1, 0.0), (2, float("inf")), (3, float("nan"))):
        broken = [x.clone() for x in inputs]
        broken[3][5], broken[field][5] = 0.9, bad
        assert torch.allclose(draw(broken, Ks).features, sound.features, atol=1e-5)


def test_a_broken_camera_sees_nothing_and_harms_no_other(double):
    inputs, Ks = case(count=40)
    alone = draw(inputs, Ks)
    with torch.no_grad():
        inputs[5][0, 1, 3] = float("nan")
    drawn = draw(inputs, Ks)
    assert drawn.alpha[0].max() == 0
    assert torch.allclose(drawn.features[1], alone.features[1])


def test_no_gaussians_give_an_empty_picture_of_the_same_graph(double):
    inputs, Ks = case(count=0)
    drawn = draw(inputs, Ks, median_depth=True)
    assert drawn.features.shape == (2, HEIGHT, WIDTH, 5)
    pictures = (drawn.features, drawn.alpha, drawn.depth, drawn.median_depth)
    assert all(not x.detach().any() for x in pictures)
    loss(drawn, drawn.alpha.detach() == 0).backward()
    assert all(x.grad is not None and x.grad.abs().sum() == 0 for x in inputs)


def test_median_depth_comes_from_gsplats_lists(double):
    inputs, Ks = case(views=2, channels=1)
    with torch.no_grad():
        order = torch.argsort(inputs[0][:, 2])  # the double lists by index: sort by depth, as both cameras look along z
        inputs = [x[order].detach() for x in inputs[:5]] + [torch.eye(4).repeat(2, 1, 1)]
        inputs[5][1, 0, 3] = 0.1
    drawn = draw(inputs, Ks, median_depth=True)
    wanted = oracle_views([x.double() for x in inputs], Ks, WIDTH, HEIGHT).median_depth
    assert 0.05 < float((wanted > 0).double().mean()) < 0.95
    # a pixel whose transmittance passes within rounding of one half may pick the next Gaussian
    assert ((drawn.median_depth - wanted).abs() < 1e-4).double().mean() > 0.999


def test_without_gsplat_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gsplat", None)
    with pytest.raises(BackendError, match="pip install"):
        draw(*case(count=3))


def test_the_double_and_the_backend_fit_the_signatures_of_gsplat(double, monkeypatch):
    monkeypatch.delitem(sys.modules, "gsplat")
    gsplat = pytest.importorskip("gsplat", reason="gsplat is not installed: it is needed on CUDA only")
    for real, ours in (
        (gsplat.rasterization, rasterization_double),
        (gsplat.rasterize_to_indices_in_range, rasterize_to_indices_double),
    ):
        theirs = inspect.signature(real).parameters
        mine = inspect.signature(ours).parameters
        assert list(mine) == list(theirs)[: len(mine)]
        assert all(mine[name].default == theirs[name].default for name in mine)


def test_gsplat_projects_as_the_oracle_does():
    pytest.importorskip("gsplat", reason="gsplat is not installed: it is needed on CUDA only")
    from gsplat.cuda._torch_impl import _fully_fused_projection, _quat_scale_to_covar_preci

    inputs, Ks = case(dtype=torch.float64)
    means, quats, scales, _, _, viewmats = (x.detach() for x in inputs)
    front = (means @ viewmats[0, :3, :3].T + viewmats[0, :3, 3])[:, 2] > 0.05
    means, quats, scales = means[front], quats[front], scales[front]
    covariances, _ = _quat_scale_to_covar_preci(quats, scales)
    M = rotations(quats) * scales[:, None, :]
    assert torch.allclose(covariances, M @ M.mT)
    _, means2d, depths, conics, _ = _fully_fused_projection(means, covariances, viewmats[:1], Ks[:1], WIDTH, HEIGHT)
    u, v, z, conic = project(means, quats, scales, viewmats[0], Ks[0], WIDTH, HEIGHT)
    assert torch.allclose(means2d[0], torch.stack([u, v], -1))
    assert torch.allclose(depths[0], z)
    assert torch.allclose(conics[0], torch.stack([conic[:, 0, 0], conic[:, 0, 1], conic[:, 1, 1]], -1))


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("channels", [1, 3, 19, 33, 67, 600])
def test_gsplat_equals_the_oracle(channels):
    ours, Ks = case(channels, device="cuda")
    theirs, Ks_cpu = case(channels, dtype=torch.float64)
    drawn = render(*ours, Ks, WIDTH, HEIGHT, median_depth=True)
    wanted = oracle_views(theirs, Ks_cpu, WIDTH, HEIGHT)
    assert drawn.backend == "gsplat"
    # gsplat stops at a transmittance of 1e-4 and has a faster exponential
    for name in ("features", "alpha", "depth"):
        assert (getattr(drawn, name).cpu() - getattr(wanted, name)).abs().max() < 1e-3, name
    assert ((drawn.median_depth.cpu() - wanted.median_depth).abs() < 1e-3).double().mean() > 0.999
    solid = wanted.alpha.detach() > 0.1  # depth is a quotient: meaningless where nothing is
    loss(drawn, solid).backward()
    loss(wanted, solid).backward()
    for name, a, b in zip(NAMES, ours, theirs, strict=True):
        assert relative(a.grad, b.grad) < 5e-3, name


@pytest.mark.gpu
@needs_cuda
def test_gsplat_equals_the_cpu_kernel():
    background = torch.tensor([0.1, 0.5, 0.9])
    gradients, drawings = [], []
    for device in ("cuda", "cpu"):
        inputs, Ks = case(3, count=400, device=device)
        drawings.append(render(*inputs, Ks, WIDTH, HEIGHT, background=background.to(device), median_depth=True))
        loss(drawings[-1], drawings[0].alpha.detach() > 0.1).backward()
        gradients.append([x.grad for x in inputs])
    assert (drawings[0].features.cpu() - drawings[1].features).abs().max() < 1e-3
    assert (drawings[0].alpha.cpu() - drawings[1].alpha).abs().max() < 1e-3
    assert ((drawings[0].median_depth.cpu() - drawings[1].median_depth).abs() < 1e-3).double().mean() > 0.999
    for name, a, b in zip(NAMES, *gradients, strict=True):
        assert relative(a, b) < 5e-3, name


@pytest.mark.gpu
@needs_cuda
def test_features_of_each_camera_on_cuda():
    (*geometry, _, viewmats), Ks = case(device="cuda")
    features = torch.randn(2, 120, 6, device="cuda", requires_grad=True)
    drawn = render(*geometry, features, viewmats, Ks, WIDTH, HEIGHT)
    alone = render(*geometry, features[1], viewmats[1:], Ks[1:], WIDTH, HEIGHT)
    assert torch.allclose(drawn.features[1], alone.features[0], atol=1e-5)
    drawn.features[1].sum().backward()
    assert features.grad[0].abs().max() == 0
    assert features.grad[1].abs().max() > 0


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("field", range(4))
def test_a_broken_gaussian_harms_no_other_on_cuda(field, bad):
    inputs, Ks = case(device="cuda")
    with torch.no_grad():
        inputs[field][20] = bad
    drawn = render(*inputs, Ks, WIDTH, HEIGHT)
    left = [torch.cat([x[:20], x[21:]]) for x in inputs[:5]]
    assert torch.allclose(drawn.features, render(*left, inputs[5], Ks, WIDTH, HEIGHT).features, atol=1e-5)
    drawn.features.sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in inputs)


@pytest.mark.gpu
@needs_cuda
def test_accumulate_on_cuda_equals_the_cpu():
    results = []
    for device in ("cuda", "cpu"):
        (*geometry, _, viewmats), Ks = case(count=300, device=device)
        n = len(geometry[0])
        empty = (torch.zeros(n, 1, 3, device=device), torch.zeros(n, 0, 3, device=device))
        values = torch.rand(2, HEIGHT, WIDTH, 70, generator=torch.Generator().manual_seed(0)).to(device)
        gaussians = Gaussians(*(x.detach() for x in geometry), *empty)
        results.append(accumulate(gaussians, viewmats.detach(), Ks, WIDTH, HEIGHT, values))
    assert relative(results[0][0], results[1][0]) < 2e-3
    assert relative(results[0][1], results[1][1]) < 2e-3
