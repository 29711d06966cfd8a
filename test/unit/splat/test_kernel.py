import pytest

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
    monkeypatch.setattr(kernel, "processor_flags", lambda: {"avx2", "fma"})
    assert kernel.candidates() == ["avx2", "baseline"]
    monkeypatch.setattr(kernel, "processor_flags", set)
    assert kernel.candidates() == ["baseline"]
