import os
import subprocess
import sys

import pytest
import torch
from scenes import cameras, cloud

import m3_ros
from m3_ros.errors import BackendError
from m3_ros.splat import kernel


@pytest.fixture(autouse=True)
def _fresh():
    kernel.load.cache_clear()
    yield
    kernel.load.cache_clear()


def test_a_missing_library_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(m3_ros, "__path__", [str(tmp_path / "m3_ros")])
    monkeypatch.delenv("M3_SPLAT_DIR", raising=False)
    with pytest.raises(BackendError, match=r"make setup.*apt-get install g\+\+ cmake"):
        kernel.load()


def test_a_broken_library_says_what_to_do(monkeypatch, tmp_path):
    (tmp_path / f"libm3_splat_{kernel.candidates()[0]}.so").write_bytes(b"not a library")
    monkeypatch.setenv("M3_SPLAT_DIR", str(tmp_path))
    with pytest.raises(BackendError, match="cannot be loaded"):
        kernel.load()


def test_an_instruction_set_that_the_processor_lacks_is_refused(monkeypatch):
    monkeypatch.setenv("M3_SPLAT_ISA", "avx1024")
    with pytest.raises(BackendError, match="avx1024"):
        kernel.load()


def test_the_widest_usable_instruction_set_comes_first(monkeypatch):
    monkeypatch.delenv("M3_SPLAT_ISA", raising=False)
    monkeypatch.setattr(kernel.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(kernel, "processor_flags", lambda: {"avx2", "fma", "f16c"})
    assert kernel.candidates() == ["avx2", "baseline"]
    monkeypatch.setattr(kernel, "processor_flags", set)
    assert kernel.candidates() == ["baseline"]


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
def test_an_arm_processor_gets_neon(monkeypatch, machine):
    monkeypatch.delenv("M3_SPLAT_ISA", raising=False)
    monkeypatch.setattr(kernel.platform, "machine", lambda: machine)
    assert kernel.candidates() == ["neon"]


def test_an_unknown_processor_gets_the_baseline(monkeypatch):
    monkeypatch.delenv("M3_SPLAT_ISA", raising=False)
    monkeypatch.setattr(kernel.platform, "machine", lambda: "riscv64")
    assert kernel.candidates() == ["baseline"]


def test_the_number_of_threads_is_that_of_torch_unless_set():
    assert kernel.threads() == torch.get_num_threads()
    try:
        kernel.set_threads(3)
        assert kernel.threads() == 3
        with pytest.raises(ValueError, match="positive"):
            kernel.set_threads(0)
    finally:
        kernel.set_threads(None)
    assert kernel.threads() == torch.get_num_threads()


def imported(code: str, **settings: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} | settings
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)


def test_importing_the_package_lets_idle_threads_sleep_unless_the_user_chose():
    code = "import os, m3_ros; print(os.environ['OMP_WAIT_POLICY'])"
    assert imported(code).stdout.strip() == "passive"
    assert imported(code, OMP_WAIT_POLICY="active").stdout.strip() == "active"


def test_threads_that_spin_because_torch_came_first_are_warned_of():
    code = "import torch; from m3_ros.splat import kernel; kernel.load()"
    assert "OMP_WAIT_POLICY=passive" in imported(code).stderr
    assert imported(f"import m3_ros; {code}").stderr == ""


def test_a_view_tells_where_its_time_went():
    (viewmats, Ks), scene = cameras(40, 30), cloud(20, 3)
    *geometry, features = scene.tensors()
    view = kernel.View(tuple(geometry), viewmats[0], Ks[0], (40, 30), 0.05)
    assert view.stages.prepare > 0 == view.stages.forward
    view.forward(features, torch.empty(3, 30, 40), *torch.empty(2, 30, 40), None)
    assert view.stages.forward > 0 == view.stages.backward
    gradients = [*(torch.zeros_like(x) for x in scene.tensors()), None]
    view.backward(tuple(geometry), 3, (torch.ones(3, 30, 40), None, None), gradients)
    assert view.stages.backward > 0 < view.stages.gather


def test_the_issue_rate_is_that_of_a_processor():
    library = kernel.load().library
    assert 1e8 < library.m3_issue_rate(1) < 1e12
    assert library.m3_registers_per_row() in (1, 2, 4)
