"""The kernel's NEON code, cross-compiled and run in an emulator, against the kernel that this processor runs."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import cameras, cloud

from m3_ros.splat import kernel

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
SOURCES = Path(__file__).parents[3] / "m3_ros" / "splat" / "csrc"
FLAGS = "-O1 -std=c++17 -static -fopenmp -fno-math-errno -fno-trapping-math -ffp-contract=fast -Wno-psabi"
COUNT, CHANNELS, WIDTH, HEIGHT = 120, 21, 50, 37
PIXELS = WIDTH * HEIGHT

pytestmark = pytest.mark.skipif(
    not (shutil.which(COMPILER) and shutil.which(EMULATOR)),
    reason=f"needs {COMPILER} and {EMULATOR}: apt-get install g++-aarch64-linux-gnu qemu-user",
)


def natively(inputs: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    *geometry, features, viewmat, K, d_image, d_depth, d_alpha = inputs
    view = kernel.View(tuple(geometry), viewmat, K, (WIDTH, HEIGHT), 0.05)
    image = torch.empty(CHANNELS, HEIGHT, WIDTH)
    depth, alpha, median = torch.empty(3, HEIGHT, WIDTH)
    view.forward(features, image, depth, alpha, median)
    gradients = [torch.zeros_like(x) for x in (*geometry, features)]
    d_viewmat = torch.zeros(4, 4, dtype=torch.float64)
    view.backward(tuple(geometry), CHANNELS, (d_image, d_depth, d_alpha), [*gradients, d_viewmat])
    sums, weights = torch.zeros(COUNT, CHANNELS), torch.zeros(COUNT)
    view.accumulate(d_image, sums, weights)
    gradient, value = torch.empty_like(image), ctypes.c_double()
    pointers = (image.data_ptr(), d_image.data_ptr(), gradient.data_ptr())
    kernel.load().library.m3_ssim(CHANNELS, HEIGHT, WIDTH, *pointers, 1, ctypes.byref(value))
    totals, scores, valid = torch.zeros(COUNT, 32), torch.empty(PIXELS), torch.ones(7, 5, dtype=torch.bool)
    pictured = (d_image.data_ptr(), features.data_ptr(), valid.data_ptr(), None)
    view.lift([kernel.LiftImage(*pictured, 7 * 5, 31, 7, 5, 1, True)], totals)
    metric = torch.eye(CHANNELS)
    opacities, pointers = geometry[3], (d_image.data_ptr(), scores.data_ptr())
    bank = (features.data_ptr(), metric.data_ptr(), 0.1, opacities.data_ptr())
    kernel.load().library.m3_read_out(COUNT, CHANNELS, 1, *bank, PIXELS, *pointers, 1)
    names = ("means", "quats", "scales", "opacities", "features")
    return {
        "image": image, "depth": depth, "alpha": alpha, "median": median,
        **{f"d_{name}": x for name, x in zip(names, gradients, strict=True)},
        "sums": sums, "weights": weights, "d_ssim": gradient,
        "totals": totals, "scores": scores,
        "d_viewmat": d_viewmat, "ssim": torch.tensor([value.value], dtype=torch.float64),
    }  # fmt: skip


def emulated(inputs: list[torch.Tensor], folder: Path, threads: int) -> bytes:
    head = np.array([COUNT, CHANNELS, WIDTH, HEIGHT, threads], np.int32).tobytes()
    (folder / "input").write_bytes(head + b"".join(x.numpy().tobytes() for x in inputs))
    subprocess.run([EMULATOR, folder / "check", folder / "input", folder / "output"], check=True, timeout=120)
    return (folder / "output").read_bytes()


def test_neon_gives_the_numbers_of_the_native_kernel(tmp_path):
    sources = [str(path) for path in (*SOURCES.glob("*.cpp"), Path(__file__).with_name("kernel_check.cpp"))]
    subprocess.run([COMPILER, *FLAGS.split(), f"-I{SOURCES}", *sources, "-o", str(tmp_path / "check")], check=True)
    (viewmats, Ks), scene = cameras(WIDTH, HEIGHT), cloud(COUNT, CHANNELS)
    g = torch.Generator().manual_seed(2)
    d_out = [torch.randn(shape, generator=g) for shape in ((CHANNELS, HEIGHT, WIDTH), (HEIGHT, WIDTH), (HEIGHT, WIDTH))]
    inputs = [*scene.tensors(), viewmats[0], Ks[0], *d_out]
    result = emulated(inputs, tmp_path, threads=1)
    assert result == emulated(inputs, tmp_path, threads=2)
    for name, wanted in natively(inputs).items():
        size = wanted.numel() * wanted.element_size()
        found = torch.frombuffer(bytearray(result[:size]), dtype=wanted.dtype).view(wanted.shape)
        result = result[size:]
        # The order of additions differs, and a median may fall on the neighbour where T passes one half by rounding.
        assert float((found - wanted).norm() / wanted.norm()) < (1e-2 if name == "median" else 1e-5), name
    assert not result
