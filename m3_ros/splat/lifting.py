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
_BLOCK = 16
"""The kernel takes channels in blocks of so many."""


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
    """Padded with zeros to whole blocks of columns."""
    channels: int
    """Columns that count."""
    normalised: bool
    """Project features at length one; else as they are."""

    @classmethod
    def by(cls, matrix: Float[Tensor, "D s"], *, normalised: bool = False) -> "Projection":
        """Prepare a matrix."""
        padded = functional.pad(matrix.detach().float(), (0, -matrix.shape[1] % _BLOCK))
        return cls(padded.contiguous(), matrix.shape[1], normalised)

    def of(self, features: Float[Tensor, "*n D"]) -> Float[Tensor, "*n s"]:
        """Project features."""
        x = features.detach().float()
        return (functional.normalize(x, dim=-1) if self.normalised else x) @ self.matrix[:, : self.channels]


@dataclass(frozen=True, eq=False)
class Gathered:
    """Sums over views of what was seen on each Gaussian, added to in place."""

    totals: Float[Tensor, "N n"]
    """All sums of a Gaussian side by side, as csrc/lift.h lays them out: Gaussians come in any order."""
    sizes: tuple[int, ...]
    """Channels of each encoder."""

    @classmethod
    def nothing(cls, count: int, sizes: Sequence[int]) -> "Gathered":
        """Return the sums of no view."""
        numbers = sum(map(_padded, sizes)) + len(sizes) + 1
        return cls(torch.zeros(count, _padded(numbers)), tuple(sizes))

    @property
    def sums(self) -> tuple[Float[Tensor, "N s"], ...]:
        """Of each encoder: sum of alpha-weight x value."""
        parts = torch.split(self.totals[:, : self._channels], [_padded(size) for size in self.sizes], dim=1)
        return tuple(part[:, :size] for part, size in zip(parts, self.sizes, strict=True))

    @property
    def weights(self) -> tuple[Float[Tensor, " N"], ...]:
        """Of each encoder: sum of alpha-weights of the pixels that had a value."""
        return self.totals[:, self._channels : self._channels + len(self.sizes)].unbind(dim=1)

    @property
    def seen(self) -> Float[Tensor, " N"]:
        """Sum of alpha-weights of all pixels."""
        return self.totals[:, self._channels + len(self.sizes)]

    @property
    def _channels(self) -> int:
        return sum(map(_padded, self.sizes))


def _padded(numbers: int) -> int:
    return -(-numbers // _BLOCK) * _BLOCK


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
        ValueError: `out` is of other Gaussians or other images.
    """
    if out.sizes != tuple(projection.channels for _, projection in images) or len(out.totals) != len(gaussians):
        raise ValueError("sums are of as many Gaussians, images and channels as are gathered: make them by `nothing`")
    if choose_backend("auto", gaussians.means.device) == "gsplat":
        return _by_accumulate(gaussians, viewmat, K, width, height, images, out, near)
    fields = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities)
    geometry = tuple(x.detach().float().contiguous() for x in fields)
    view = kernel.View(geometry, viewmat.double().contiguous(), K.double().contiguous(), (width, height), near)
    taken = [(_Taken.by(image), projection) for image, projection in images]
    view.lift([image.for_kernel(projection) for image, projection in taken], out.totals)
    return None


@dataclass(frozen=True, eq=False)
class _Taken:
    """An image as the kernel takes it; holds what the pointers point to."""

    features: Float[Tensor, "*n D"]
    """In single or half precision."""
    cells: Tensor
    """Which cells of a grid hold a feature, or the region of each cell [h, w]."""
    is_grid: bool

    @classmethod
    def by(cls, image: Grid | Regions) -> "_Taken":
        """Bring an image into the kernel's types; what has them already is not copied."""
        features = image.features if image.features.dtype == torch.float16 else image.features.float()
        cells = image.valid if isinstance(image, Grid) else image.index.long()
        return cls(features.contiguous(), cells.contiguous(), isinstance(image, Grid))

    def for_kernel(self, projection: Projection) -> kernel.LiftImage:
        """Describe the image and its projection to the kernel."""
        valid, index = (self.cells, None) if self.is_grid else (None, self.cells)
        tensors, length = (self.features, projection.matrix, valid, index), self.features.shape[-1]
        sizes = (self.features.numel() // length, length, *self.cells.shape, projection.matrix.shape[1] // _BLOCK)
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
    parts = torch.split(sums.to(out.totals.device), [size + 1 for size in out.sizes], dim=1)
    for part, of_image, weights in zip(parts, out.sums, out.weights, strict=True):
        of_image.add_(part[:, :-1])
        weights.add_(part[:, -1])
    out.seen.add_(seen.to(out.totals.device))
