"""What encoders saw from one pose, gathered onto the Gaussians: one pass over the weights for all of them."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from m3_ros.splat import kernel
from m3_ros.splat.accumulate import accumulate
from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.render import choose_backend

_TILE = 16
_LEAST_KNOWN = 0.5
"""A pixel has a feature where the cells around it that have one weigh this much."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Values at the middles of cells, interpolated bilinearly between them."""

    values: Float[Tensor, "h w s"]
    valid: Bool[Tensor, "h w"]
    """Cells that hold a value."""


@dataclass(frozen=True, eq=False)
class Regions:
    """One value for all pixels of a region: two regions never mix."""

    values: Float[Tensor, "R s"]
    index: Int[Tensor, "H W"]
    """Region of each pixel, -1 for none."""


@dataclass(frozen=True, eq=False)
class Gathered:
    """Sums over views of what was seen on each Gaussian, added to in place."""

    sums: tuple[Float[Tensor, "N s"], ...]
    """Of each encoder: sum of alpha-weight x value."""
    weights: tuple[Float[Tensor, " N"], ...]
    """Of each encoder: sum of alpha-weights of the pixels that had a value."""
    seen: Float[Tensor, " N"]
    """Sum of alpha-weights of all pixels."""

    @classmethod
    def nothing(cls, count: int, sizes: Sequence[int]) -> "Gathered":
        """Return the sums of no view."""
        zeros = tuple(torch.zeros(count) for _ in sizes)
        return cls(tuple(torch.zeros(count, size) for size in sizes), zeros, torch.zeros(count))


def gather(
    gaussians: Gaussians,
    viewmat: Float[Tensor, "4 4"],
    K: Float[Tensor, "3 3"],
    width: int,
    height: int,
    images: Sequence[Grid | Regions],
    out: Gathered,
    near: float = 0.05,
) -> None:
    """Add sum over pixels p of w_ip value_p to `out`, with w_ip = alpha_ip T_ip the share of Gaussian i in pixel p.

    The same sums as `accumulate` gives for `dense` values, by another way: interpolation is linear, so the kernel does
    it to the weights of a Gaussian, of which there are fewer than pixels times channels. No gradients.

    Raises:
        BackendError: no backend can run here, or the kernel ran out of memory.
    """
    if choose_backend("auto", gaussians.means.device) == "gsplat":
        return _by_accumulate(gaussians, viewmat, K, width, height, images, out, near)
    fields = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities)
    geometry = tuple(x.detach().float().contiguous() for x in fields)
    view = kernel.View(geometry, viewmat.double().contiguous(), K.double().contiguous(), (width, height), near)
    prepared = [_prepared(image, width, height) for image in images]
    totals = zip(prepared, out.sums, out.weights, strict=True)
    view.lift([image.image(sums, weights) for image, sums, weights in totals], out.seen)
    return None


def dense(image: Grid | Regions, width: int, height: int) -> tuple[Float[Tensor, "H W s"], Float[Tensor, "H W"]]:
    """Return the value of every pixel, zero where there is none, and a mask of where there is one."""
    if isinstance(image, Regions):
        known = (image.index >= 0).float()
        return image.values[image.index.clamp(min=0)] * known[..., None], known
    mask = _interpolated(image.valid.float()[None], width, height)[0]
    weighted = (image.values * image.valid[..., None]).movedim(-1, 0)
    known = (mask > _LEAST_KNOWN).float()
    factor = known / mask.clamp(min=_LEAST_KNOWN)
    return (_interpolated(weighted, width, height) * factor).movedim(0, -1), known


@dataclass(frozen=True, eq=False)
class _Prepared:
    """An image as the kernel takes it; holds what the pointers point to."""

    values: Tensor
    factor: Tensor | None
    index: Tensor | None
    rows: int
    columns: int

    def image(self, sums: Tensor, weights: Tensor) -> kernel.LiftImage:
        values, factor, index = (kernel.pointer(x) for x in (self.values, self.factor, self.index))
        blocks = self.values.shape[-1] // 16
        return kernel.LiftImage(
            values, factor, index, sums.data_ptr(), weights.data_ptr(), self.rows, self.columns, sums.shape[1], blocks
        )


def _prepared(image: Grid | Regions, width: int, height: int) -> _Prepared:
    """Interpolate a grid along its rows, pad channels to a multiple of sixteen and rows of pixels to whole tiles."""
    columns = -(-width // _TILE) * _TILE
    beyond = columns - width
    values = functional.pad(image.values.detach().float(), (0, -image.values.shape[-1] % 16))
    if isinstance(image, Regions):
        return _Prepared(values, None, functional.pad(image.index.int(), (0, beyond), value=-1), 0, columns)
    rows, cells = image.valid.shape
    across, factor = _across(cells, width, columns), None
    if not bool(image.valid.all()):
        values = values * image.valid[..., None]
        mask = _interpolated(image.valid.float()[None], width, height)[0]
        factor = functional.pad((mask > _LEAST_KNOWN) / mask.clamp(min=_LEAST_KNOWN), (0, beyond))
    return _Prepared(torch.matmul(across, values), factor, None, rows, columns)


@functools.lru_cache(maxsize=16)
def _across(cells: int, width: int, columns: int) -> Float[Tensor, "W w"]:
    """Return the matrix that interpolates a row of cells to pixels; zero beyond the view."""
    rows = functional.interpolate(torch.eye(cells)[None], width, mode="linear", align_corners=False)[0].T
    return functional.pad(rows, (0, 0, 0, columns - width))


def _interpolated(planes: Float[Tensor, "c h w"], width: int, height: int) -> Float[Tensor, "c H W"]:
    return functional.interpolate(planes[None], (height, width), mode="bilinear", align_corners=False)[0]


def _by_accumulate(
    gaussians: Gaussians,
    viewmat: Tensor,
    K: Tensor,
    width: int,
    height: int,
    images: Sequence[Grid | Regions],
    out: Gathered,
    near: float,
) -> None:
    """Do the same through the values of every pixel, for backends that only render."""
    pairs = [dense(image, width, height) for image in images]
    values = torch.cat([x for value, known in pairs for x in (value, known[..., None])], dim=-1)
    sums, seen = accumulate(gaussians, viewmat[None], K[None], width, height, values[None].to(viewmat.device), near)
    parts = torch.split(sums.to(out.seen.device), [total.shape[1] + 1 for total in out.sums], dim=1)
    for number, part in enumerate(parts):
        out.sums[number].add_(part[:, :-1])
        out.weights[number].add_(part[:, -1])
    out.seen.add_(seen.to(out.seen.device))
