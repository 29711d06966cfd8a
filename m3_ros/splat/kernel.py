"""The compiled CPU kernel: find the library, choose the variant that the processor can run, declare its functions.

The sources stand in `csrc/`; building the package puts one library per instruction set into the installed
`m3_ros/splat`. Environment: M3_SPLAT_ISA forces a variant (avx512, avx2, baseline or neon), M3_SPLAT_DIR names a folder
to search first.

Every pass gives the same bits on every run and for every number of threads: each (Gaussian, tile) pair is summed in a
place of its own, and the places are added up in a fixed order. There is nothing to switch on.
"""

import ctypes
import functools
import logging
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import m3_ros
from m3_ros.errors import BackendError

_ABI = 9
_X86 = {
    "avx512": {"avx512f", "avx512dq", "avx512bw", "avx512vl", "fma"},
    "avx2": {"avx2", "fma", "f16c"},
    "baseline": set[str](),
}
"""Variants for x86, best first, and the processor flags that each needs."""
_VARIANTS = {"x86_64": _X86, "amd64": _X86, "aarch64": {"neon": set[str]()}, "arm64": {"neon": set[str]()}}
"""Variants by machine; every 64-bit ARM has NEON. Any other machine runs the baseline."""

_REMEDY = "run `make setup`, or install a compiler (`apt-get install g++ cmake`) and run `pip install .` again"

_p, _int, _long = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_float, _double = ctypes.c_float, ctypes.c_double
_SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "m3_keep_memory": (None, []),
    "m3_prepare": (_p, [_long, _p, _p, _p, _p, _p, _p, _int, _int, _double, _int]),
    "m3_free": (None, [_p]),
    "m3_visible_count": (_long, [_p]),
    "m3_entry_count": (_long, [_p]),
    "m3_stage_seconds": (None, [_p, _p]),
    "m3_registers_per_row": (_int, []),
    "m3_instructions_per_multiply_add": (_int, []),
    "m3_issue_rate": (_double, [_int]),
    "m3_forward": (_int, [_p, _p, _int, _p, _p, _p, _p]),
    "m3_backward": (_int, [_p, _long, *[_p] * 4, _int, *[_p] * 9]),
    "m3_accumulate": (_int, [_p, _p, _int, _p, _p]),
    "m3_lift": (_int, [_p, _p, _int, _p]),
    "m3_ssim": (_int, [_int, _int, _int, _p, _p, _p, _int, _p]),
    "m3_read_out": (_int, [_int, _int, _int, _p, _p, _float, _p, _long, _p, _p, _int]),
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kernel:
    """A loaded library."""

    library: ctypes.CDLL
    """Its functions; see csrc/api.cpp."""
    isa: str
    """Instruction set it was compiled for."""
    path: Path
    """File it came from."""


def processor_flags() -> set[str]:
    """Return what the processor says it can do; empty where /proc/cpuinfo does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return set(line.partition(":")[2].split())


def candidates() -> list[str]:
    """Return the variants that this processor can run, best first.

    Raises:
        BackendError: M3_SPLAT_ISA names none of them.
    """
    variants = _VARIANTS.get(platform.machine().lower(), {"baseline": set()})
    flags = processor_flags()
    usable = [isa for isa, needed in variants.items() if needed <= flags]
    forced = os.environ.get("M3_SPLAT_ISA")
    if forced is None:
        return usable
    if forced not in usable:
        raise BackendError(f"M3_SPLAT_ISA={forced} cannot be used: this processor can run {', '.join(usable)}")
    return [forced]


def folders() -> list[Path]:
    """Return where libraries may lie: M3_SPLAT_DIR, every place of the package, a build folder beside the sources."""
    first = [Path(os.environ["M3_SPLAT_DIR"])] if os.environ.get("M3_SPLAT_DIR") else []
    packages = [Path(entry) for entry in m3_ros.__path__]
    return [
        *first,
        *(package / "splat" for package in packages),
        *(package.parent / "build" / "splat" for package in packages),
    ]


def find(isa: str) -> Path | None:
    """Return the library of an instruction set; None where it is not built."""
    paths = (folder / f"libm3_splat_{isa}.so" for folder in folders())
    return next((path for path in paths if path.is_file()), None)


@functools.cache
def load() -> Kernel:
    """Load the best library, once a process.

    Raises:
        BackendError: none is built, or the one found is of another version.
    """
    for isa in candidates():
        if path := find(isa):
            return _open(path, isa)
    raise BackendError(
        f"the CPU rendering kernel is not built (no libm3_splat_*.so for {platform.machine()} found): {_REMEDY}"
    )


def _open(path: Path, isa: str) -> Kernel:
    try:
        library = ctypes.CDLL(str(path))
        abi = library.m3_abi()
    except (OSError, AttributeError) as error:
        raise BackendError(f"the CPU rendering kernel {path} cannot be loaded ({error}): {_REMEDY}") from error
    if abi != _ABI:
        raise BackendError(f"the CPU rendering kernel {path} is of version {abi}, this package needs {_ABI}: {_REMEDY}")
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.m3_keep_memory()
    if (
        not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys()
    ):  # importing m3_ros sets the first, unless too late
        _log.warning(
            "torch was loaded before m3_ros, so idle threads spin, which slows everything beside another busy process: "
            "import m3_ros first, or set OMP_WAIT_POLICY=passive"
        )
    _log.debug("CPU rendering kernel: %s", path)
    return Kernel(library, isa, path)


_threads: int | None = None


def set_threads(count: int | None) -> None:
    """Set how many threads rendering, accumulate() and SSIM use; None: as many as torch (`torch.set_num_threads`).

    Raises:
        ValueError: the number is not positive.
    """
    global _threads  # noqa: PLW0603 - a setting of the process, like torch's own
    if count is not None and count < 1:
        raise ValueError(f"the number of threads must be positive; got {count}")
    _threads = count


def threads() -> int:
    """Return how many threads the kernel uses."""
    return torch.get_num_threads() if _threads is None else _threads


def pointer(tensor: torch.Tensor | None) -> int | None:
    """Return the address of a contiguous CPU tensor; None stays a null pointer."""
    return None if tensor is None else tensor.data_ptr()


def check(code: int, what: str) -> None:
    """Turn a return code of the library into an error.

    Raises:
        BackendError: the kernel ran out of memory.
    """
    if code != 0:
        raise BackendError(f"{what} ran out of memory: use fewer Gaussians, fewer channels or a smaller image")


class LiftImage(ctypes.Structure):
    """What one encoder saw, as csrc/lift.h describes it."""

    _fields_ = (
        *((name, _p) for name in ("features", "matrix", "valid", "index")),
        *((name, ctypes.c_int32) for name in ("count", "length", "rows", "columns", "blocks", "normalised", "halves")),
    )


@dataclass(frozen=True)
class Stages:
    """Where the time of a view went [s]."""

    prepare: float
    """Project, sort, bin, bring the channels together."""
    forward: float
    """Blend."""
    backward: float
    """Blend again, and sum what every pair of a Gaussian and a row of pixels contributes."""
    gather: float
    """Add up the sums of each Gaussian, and carry them through its projection."""


class View:
    """The Gaussians as one camera sees them: projected, sorted and binned. Lives until its backward pass is done."""

    def __init__(
        self,
        geometry: tuple[torch.Tensor, ...],
        viewmat: torch.Tensor,
        K: torch.Tensor,
        size: tuple[int, int],
        near: float,
    ) -> None:
        """Prepare float32 means, quats, scales, opacities for a float64 viewmat and K, all contiguous."""
        self._library = load().library
        self._handle: int | None = self._library.m3_prepare(
            geometry[0].shape[0],
            *map(pointer, geometry),
            pointer(viewmat),
            pointer(K),
            *size,
            near,
            threads(),
        )
        check(0 if self._handle else -1, "preparing a view")

    @property
    def visible(self) -> int:
        """Gaussians that may touch the image."""
        return int(self._library.m3_visible_count(self._handle))

    @property
    def entries(self) -> int:
        """Pairs of a Gaussian and a row of sixteen pixels that the last forward pass blended."""
        return int(self._library.m3_entry_count(self._handle))

    @property
    def stages(self) -> Stages:
        """Where the time went, of everything done with this view so far."""
        seconds = (ctypes.c_double * 4)()
        self._library.m3_stage_seconds(self._handle, seconds)
        return Stages(*seconds)

    def forward(self, features: torch.Tensor, *out: torch.Tensor | None) -> None:
        """Blend features [N, C] into planes [C, H, W], depth, alpha and optional median depth [H, W]."""
        code = self._library.m3_forward(self._handle, pointer(features), features.shape[1], *map(pointer, out))
        check(code, "rendering")

    def backward(
        self,
        geometry: tuple[torch.Tensor, ...],
        channels: int,
        d_out: tuple[torch.Tensor | None, ...],
        gradients: list[torch.Tensor | None],
    ) -> None:
        """Carry gradients of planes, depth, alpha to means, quats, scales, opacities, features, viewmat (float64)."""
        code = self._library.m3_backward(
            self._handle,
            geometry[0].shape[0],
            *map(pointer, geometry),
            channels,
            *map(pointer, d_out),
            *map(pointer, gradients),
        )
        check(code, "the backward pass")

    def accumulate(self, values: torch.Tensor, sums: torch.Tensor, weights: torch.Tensor) -> None:
        """Add weight * value of planes [C, H, W] to sums [N, C], and the weights to weights [N]."""
        code = self._library.m3_accumulate(
            self._handle, pointer(values), values.shape[0], pointer(sums), pointer(weights)
        )
        check(code, "accumulating")

    def lift(self, images: Sequence[LiftImage], totals: torch.Tensor) -> None:
        """Add weight * projected feature of every image, and the weights, to totals that csrc/lift.h lays out."""
        array = (LiftImage * len(images))(*images)
        check(self._library.m3_lift(self._handle, array, len(images), pointer(totals)), "lifting")

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.m3_free(self._handle)
            self._handle = None
