"""render(): one signature, gsplat's names and shapes, two backends."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.errors import BackendError

Backend = Literal["auto", "gsplat", "cpu"]


@dataclass(frozen=True)
class Rendering:
    """What C cameras see. Everything but the median depth carries gradients."""

    features: Float[Tensor, "C H W ch"]
    """Blended features; a view on planes, so `permute(0, 3, 1, 2)` is free."""
    alpha: Float[Tensor, "C H W"]
    """Opacity of the pixel in [0, 1]."""
    depth: Float[Tensor, "C H W"]
    """Expected z-depth [m]: blended z over alpha; 0 where nothing is."""
    median_depth: Float[Tensor, "C H W"] | None
    """z [m] of the Gaussian at which half of the light is blocked; 0 where less is. None unless asked for."""
    backend: str
    """Which backend drew it, e.g. `cpu-avx512`."""


def render(  # noqa: D417
    means: Float[Tensor, "N 3"],
    quats: Float[Tensor, "N 4"],
    scales: Float[Tensor, "N 3"],
    opacities: Float[Tensor, " N"],
    features: Float[Tensor, "*C N ch"],
    viewmats: Float[Tensor, "C 4 4"],
    Ks: Float[Tensor, "C 3 3"],
    width: int,
    height: int,
    near: float = 0.05,
    background: Float[Tensor, " ch"] | None = None,
    backend: Backend = "auto",
    median_depth: bool = False,
) -> Rendering:
    """Draw Gaussians in activated units (metres, opacities in (0, 1), quaternions wxyz of any length).

    Args:
        features: anything to blend, of any width: colours, queries, scores; one set for all cameras or one for each.
        viewmats: T_camera_map, OpenCV axes. Gradients reach them, but not Ks.
        near: Gaussians nearer than this [m] are not drawn.
        background: features of empty space; zero if None.
        median_depth: whether to fill `median_depth`.

    Raises:
        BackendError: the backend is not available here, or the inputs lie on different devices.
        ValueError: a shape does not fit.
    """
    _check_shapes(means, quats, scales, opacities, features, viewmats, Ks, width, height)
    chosen = choose_backend(backend, means.device)
    inputs = (means, quats, scales, opacities, features, viewmats, Ks, width, height, near)
    if chosen == "gsplat":
        from m3_ros.splat import gsplat_backend

        drawn = gsplat_backend.render(*inputs, median_depth)
    else:
        from m3_ros.splat import cpu_backend

        drawn = cpu_backend.render(*inputs, median_depth)
    if background is None:
        return drawn
    blended = drawn.features + (1 - drawn.alpha[..., None]) * background
    return Rendering(blended, drawn.alpha, drawn.depth, drawn.median_depth, drawn.backend)


def choose_backend(backend: Backend, device: torch.device) -> Literal["gsplat", "cpu"]:
    """Return the backend for tensors on a device.

    Raises:
        BackendError: it cannot be used here.
    """
    if backend not in ("auto", "gsplat", "cpu"):
        raise BackendError(f"backend must be auto, gsplat or cpu; got {backend!r}")
    if backend == "auto":
        return "gsplat" if device.type == "cuda" else "cpu"
    if backend == "gsplat" and not torch.cuda.is_available():
        raise BackendError("backend gsplat needs CUDA, which torch does not find here: use backend='cpu'")
    if (backend == "gsplat") != (device.type == "cuda"):
        raise BackendError(f"backend {backend} cannot draw tensors on {device}: move them, or use backend='auto'")
    return backend


def _check_shapes(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    features: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
) -> None:
    n, cameras = means.shape[0], viewmats.shape[0] if viewmats.ndim == 3 else -1
    wanted = {
        "means": (means, (n, 3)), "quats": (quats, (n, 4)), "scales": (scales, (n, 3)), "opacities": (opacities, (n,)),
        "viewmats": (viewmats, (cameras, 4, 4)), "Ks": (Ks, (cameras, 3, 3)),
    }  # fmt: skip
    for name, (tensor, shape) in wanted.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"{name} must have shape {shape} beside means {tuple(means.shape)}; got {tuple(tensor.shape)}"
            )
    if features.ndim not in (2, 3) or features.shape[-2] != n or (features.ndim == 3 and features.shape[0] != cameras):
        raise ValueError(f"features must have shape ({n}, ch) or ({cameras}, {n}, ch); got {tuple(features.shape)}")
    if width < 1 or height < 1:
        raise ValueError(f"an image needs a size of at least 1x1; got {width}x{height}")
