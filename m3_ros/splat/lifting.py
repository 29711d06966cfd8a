"""What encoders saw from one pose, gathered onto the Gaussians: one pass over the weights for all of them.

Features are coarser than pixels. They have one value at each spot of 2x2 pixels, and the weights of a Gaussian are
added up over spots before any encoder's features are looked at: another encoder costs little more than its features.
"""

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

SPOT = 2
"""Pixels along each side of a spot; csrc/lift.h has the same number."""
_LEAST_KNOWN = 0.5
"""A spot has a feature where the cells around it that have one weigh this much."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Features at the middles of cells, interpolated bilinearly between them to the middles of spots."""

    features: Float[Tensor, "h w D"]
    valid: Bool[Tensor, "h w"]
    """Cells that hold a feature."""


@dataclass(frozen=True, eq=False)
class Regions:
    """One feature for all spots whose middle lies in a region: two regions never mix."""

    features: Float[Tensor, "R D"]
    index: Int[Tensor, "h w"]
    """Region of each cell, -1 for none."""


@dataclass(frozen=True, eq=False)
class Projection:
    """What the features of an encoder are multiplied with before they are added up."""

    matrix: Float[Tensor, "D c"]
    """Padded with zeros to a multiple of sixteen columns."""
    channels: int
    """Columns that count."""
    normalised: bool
    """Project features at length one; else as they are."""

    @classmethod
    def by(cls, matrix: Float[Tensor, "D s"], *, normalised: bool = False) -> "Projection":
        """Prepare a matrix."""
        padded = functional.pad(matrix.detach().float(), (0, -matrix.shape[1] % 16))
        return cls(padded.contiguous(), matrix.shape[1], normalised)

    def of(self, features: Float[Tensor, "*n D"]) -> Float[Tensor, "*n s"]:
        """Project features."""
        x = features.detach().float()
        return (functional.normalize(x, dim=-1) if self.normalised else x) @ self.matrix[:, : self.channels]


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


def spots(pixels: int) -> int:
    """Return how many spots a side of so many pixels has; the last one may lie half outside."""
    return -(-pixels // SPOT)


def gather(
    gaussians: Gaussians,
    viewmat: Float[Tensor, "4 4"],
    K: Float[Tensor, "3 3"],
    width: int,
    height: int,
    images: Sequence[tuple[Grid | Regions, Projection]],
    out: Gathered,
    near: float = 0.05,
) -> None:
    """Add sum over pixels p of w_ip value_p to `out`, with w_ip = alpha_ip T_ip the share of Gaussian i in pixel p.

    The same sums as `accumulate` gives for `dense` values. No gradients.

    Raises:
        BackendError: no backend can run here, or the kernel ran out of memory.
    """
    if choose_backend("auto", gaussians.means.device) == "gsplat":
        return _by_accumulate(gaussians, viewmat, K, width, height, images, out, near)
    fields = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities)
    geometry = tuple(x.detach().float().contiguous() for x in fields)
    view = kernel.View(geometry, viewmat.double().contiguous(), K.double().contiguous(), (width, height), near)
    taken = [(_Taken.by(image), projection) for image, projection in images]
    parts = zip(taken, out.sums, out.weights, strict=True)
    view.lift([image.for_kernel(projection, *totals) for (image, projection), *totals in parts], out.seen)
    return None


@dataclass(frozen=True, eq=False)
class _Taken:
    """An image as the kernel takes it; holds what the pointers point to."""

    features: Float[Tensor, "n D"]
    """In single or half precision."""
    valid: Bool[Tensor, "h w"] | None
    index: Int[Tensor, "h w"] | None
    rows: int
    columns: int

    @classmethod
    def by(cls, image: Grid | Regions) -> "_Taken":
        """Bring an image into the kernel's types; what has them already is not copied."""
        features = image.features.detach().flatten(0, -2).contiguous()
        features = features if features.dtype == torch.float16 else features.float()
        if isinstance(image, Regions):
            return cls(features, None, image.index.long().contiguous(), *image.index.shape)
        valid = None if bool(image.valid.all()) else image.valid.contiguous()
        return cls(features, valid, None, *image.valid.shape)

    def for_kernel(self, projection: Projection, sums: Tensor, weights: Tensor) -> kernel.LiftImage:
        tensors = (self.features, projection.matrix, self.valid, self.index, sums, weights)
        sizes = (*self.features.shape, self.rows, self.columns, projection.channels, projection.matrix.shape[1] // 16)
        halves = self.features.dtype == torch.float16
        return kernel.LiftImage(*map(kernel.pointer, tensors), *sizes, projection.normalised, halves)


def dense(
    image: Grid | Regions, projection: Projection, width: int, height: int
) -> tuple[Float[Tensor, "H W s"], Float[Tensor, "H W"]]:
    """Return the projected value of every pixel, zero where there is none, and a mask of where there is one."""
    values, known = _at_spots(image, projection, width, height)
    of_spots = torch.cat([values, known[..., None]], dim=-1)
    of_pixels = of_spots.repeat_interleave(SPOT, 0).repeat_interleave(SPOT, 1)[:height, :width]
    return of_pixels[..., :-1], of_pixels[..., -1]


def _at_spots(
    image: Grid | Regions, projection: Projection, width: int, height: int
) -> tuple[Float[Tensor, "y x s"], Float[Tensor, "y x"]]:
    values = projection.of(image.features)
    if isinstance(image, Regions):
        rows, columns = image.index.shape
        index = image.index[_cells_of_spots(rows, height)][:, _cells_of_spots(columns, width)]
        known = (index >= 0).float()
        return values[index.clamp(min=0)] * known[..., None], known
    rows, columns = image.valid.shape
    down, across = _between(rows, height), _between(columns, width)
    share = down @ image.valid.float() @ across.T
    found = torch.einsum("yh,hwc,xw->yxc", down, values * image.valid[..., None], across)
    known = (share > _LEAST_KNOWN).float()
    return found * (known / share.clamp(min=_LEAST_KNOWN))[..., None], known


def _middles(pixels: int) -> Float[Tensor, " n"]:
    """Return where the middles of the spots of a line of pixels lie [px]; the last spot may lie half outside."""
    return (torch.arange(-(-pixels // SPOT), dtype=torch.float64) + 0.5) * SPOT


def _cells_of_spots(cells: int, pixels: int) -> Int[Tensor, " n"]:
    """Return the cell that the middle of each spot of a line lies in."""
    return (_middles(pixels) * cells / pixels).long().clamp(max=cells - 1)


def _between(cells: int, pixels: int) -> Float[Tensor, "n cells"]:
    """Return the matrix that interpolates a line of cells linearly to the middles of spots."""
    at = (_middles(pixels) * cells / pixels - 0.5).clamp(0, cells - 1)
    return (1 - (at[:, None] - torch.arange(cells)).abs()).clamp(min=0).float()


def _by_accumulate(
    gaussians: Gaussians,
    viewmat: Tensor,
    K: Tensor,
    width: int,
    height: int,
    images: Sequence[tuple[Grid | Regions, Projection]],
    out: Gathered,
    near: float,
) -> None:
    """Do the same through the values of every pixel, for backends that only render."""
    pairs = [dense(*image, width, height) for image in images]
    values = torch.cat([x for value, known in pairs for x in (value, known[..., None])], dim=-1)
    sums, seen = accumulate(gaussians, viewmat[None], K[None], width, height, values[None].to(viewmat.device), near)
    parts = torch.split(sums.to(out.seen.device), [total.shape[1] + 1 for total in out.sums], dim=1)
    for number, part in enumerate(parts):
        out.sums[number].add_(part[:, :-1])
        out.weights[number].add_(part[:, -1])
    out.seen.add_(seen.to(out.seen.device))
