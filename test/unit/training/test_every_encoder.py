"""Every encoder there is, from pictures to an answer: training, saving, loading by the name in the memory, asking."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import CLIP, SIGLIP, save_dinov2, save_dinov3, save_open_clip
from tiny_regions import save_sam
from tiny_speakers import save_blip, save_llama, save_mllama
from toy_field import toy_gaussians
from toy_room import toy_frames

from m3_ros.cli.main import main
from m3_ros.errors import EncoderError, MemoryFormatError
from m3_ros.features import Encoder, encoder_names, load_encoder
from m3_ros.features.ray_extraction import encode_batch
from m3_ros.features.visual_prompt import encode_prompt
from m3_ros.memory import SpatialMemory
from m3_ros.query import Finder
from m3_ros.training.memory_stage import MemorySettings, build_memory
from m3_ros.training.polish import PolishSettings

FEW_STEPS = PolishSettings(steps=2)

FRAMES = toy_frames(3)
CLICK = (32.0, 24.0)
"""What is asked for in the first picture [px]."""


@dataclass(frozen=True)
class Kind:
    """An encoder of the table and whether it has words."""

    source: str
    words: bool


KINDS = {
    "embedded": Kind("", words=True),
    "openclip": Kind("{clip}", words=True),
    "openclip-siglip": Kind("{siglip}", words=True),
    "dinov2": Kind("{dinov2}", words=False),
    "dinov3": Kind("{dinov3}", words=False),
    "perception": Kind("{sam}+dinov2:{dinov2}", words=False),
    "perception-words": Kind("{sam}+embedded", words=True),
    "language": Kind("{blip}+{sam}+minilm", words=True),
    "language-causal": Kind("{blip}+{sam}+{llama}", words=True),
    "multimodal": Kind("{mllama}", words=False),
}


@pytest.fixture(scope="module", autouse=True)
def short_captions():
    """Tiny models babble until they are stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("m3_ros.features.captions._MAX_TOKENS", 4)
        yield


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    save = {
        "clip": lambda f: save_open_clip(f, CLIP), "siglip": lambda f: save_open_clip(f, SIGLIP),
        "dinov2": save_dinov2, "dinov3": save_dinov3, "sam": save_sam, "blip": save_blip, "llama": save_llama,
        "mllama": save_mllama,
    }  # fmt: skip
    return {name: _saved(root / name, write) for name, write in save.items()}


def _saved(folder: Path, write) -> str:
    folder.mkdir()
    return str(write(folder))


@dataclass(frozen=True)
class Remembered:
    """A memory before and after it was on disk."""

    kind: Kind
    spec: str
    encoder: Encoder
    memory: SpatialMemory
    path: Path


@pytest.fixture(scope="module", params=KINDS)
def remembered(request, sources, tmp_path_factory):
    kind = KINDS[request.param]
    name = request.param.partition("-")[0]
    spec = f"{name}:{kind.source.format(**sources)}" if kind.source else name
    encoder, settings = load_encoder(spec), MemorySettings(query_dim=16, theta=0.9999, lift_width=64, polish=FEW_STEPS)
    memory = build_memory(FRAMES, toy_gaussians(FRAMES, step=2), [encoder], settings)
    path = tmp_path_factory.mktemp("memory")
    memory.save(path)
    return Remembered(kind, spec, encoder, memory, path)


def test_this_file_knows_every_encoder_of_the_table():
    assert {name.partition("-")[0] for name in KINDS} == set(encoder_names())


def test_a_memory_names_its_encoder_and_loads_with_it(remembered):
    entry = SpatialMemory.load(remembered.path).principal_queries[0]
    assert entry.encoder_name == remembered.spec
    encoder = load_encoder(entry.encoder_name)
    assert encoder.version == entry.encoder_version
    assert encoder.dim == entry.attention.bank.dim
    assert (entry.queries != 0).any(dim=1).float().mean() > 0.5


def test_words_are_answered_alike_before_and_after_saving_or_refused(remembered):
    encoder = remembered.encoder
    if not remembered.kind.words:
        with pytest.raises(EncoderError):
            encoder.encode_text(["chair"])
        return
    before = Finder(remembered.memory, encoder).find("find the red chair")
    after = Finder.open(remembered.path).find("find the red chair")
    assert before.status == after.status
    assert [c.probability for c in after.candidates] == pytest.approx([c.probability for c in before.candidates])
    assert all(np.isfinite(c.centre).all() for c in after.candidates)


def test_what_a_picture_shows_is_found_where_it_is(remembered):
    frame, (u, v) = FRAMES[0], CLICK
    memory = SpatialMemory.load(remembered.path)
    seen = remembered.encoder.encode_image(frame.rgb)
    query = seen.at(torch.tensor([u]), torch.tensor([v]))[0]
    scores = memory.principal_queries[0].text_scores(query)[:, 0]
    there = seen_there(seen, frame, memory.gaussians.means.numpy()) & memory.seen
    assert there.sum() > 20
    assert torch.isfinite(scores).all()
    assert scores[there].mean() > scores[memory.seen & ~there].mean()


def seen_there(seen, frame, means):
    """Tell which Gaussians lie where the click's region is, or, where there are no regions, near the click."""
    p_camera = np.linalg.inv(frame.T_map_camera) @ np.c_[means, np.ones(len(means))].T
    uv = frame.camera.project(p_camera[:3].T)
    inside = ((uv > 0) & (uv < (64, 48))).all(axis=1)
    if seen.index is None:
        return torch.from_numpy(inside & (np.abs(uv - CLICK) < 8).all(axis=1))
    h, w = seen.index.shape
    column, row = (np.where(inside[:, None], uv, 0) * (w / 64, h / 48)).astype(int).T
    region = seen.index[int(CLICK[1] * h / 48), int(CLICK[0] * w / 64)]
    return (seen.index[row, column] == region) & torch.from_numpy(inside)


def test_a_box_in_a_picture_is_a_question(remembered):
    query = encode_prompt(remembered.encoder, FRAMES[0].rgb, box=(10.0, 8.0, 50.0, 40.0))
    scores = remembered.memory.principal_queries[0].text_scores(query[None])
    assert torch.isfinite(scores).all()
    assert scores.std() > 0


def test_a_memory_refuses_an_encoder_with_other_weights(sources):
    encoder = load_encoder(f"dinov2:{sources['dinov2']}")
    memory = build_memory(
        FRAMES, toy_gaussians(FRAMES), [encoder], MemorySettings(query_dim=8, lift_width=64, polish=FEW_STEPS)
    )
    _saved(Path(sources["dinov2"] + "-other"), lambda folder: save_dinov2(folder, seed=5))
    retrained = load_encoder(f"dinov2:{sources['dinov2']}-other")
    with pytest.raises(MemoryFormatError, match="made with encoder"):
        Finder(memory, retrained)
    retrained.name = encoder.name  # other weights put in the same place
    with pytest.raises(MemoryFormatError, match="version"):
        Finder(memory, retrained)


THIRD_PARTY = """
import torch
from m3_ros.features.encoder import FeatureMap, unit

class Brightness:
    name, version, dim = "brightness:fine", "7", 4
    background_phrases, known_names = ("thing", "dark"), ()

    def encode_image(self, rgb):
        cells = torch.from_numpy(rgb[4::8, 4::8].copy()).float() / 255
        vectors = torch.cat([cells, 1 - cells.mean(-1, keepdim=True)], dim=-1)
        return FeatureMap(vectors, torch.ones(cells.shape[:2], dtype=torch.bool), (rgb.shape[1], rgb.shape[0]))

    def encode_text(self, texts):
        return unit(torch.tensor([[1.0, 1, 1, 0] if "bright" in text else [0.1, 0.1, 0.1, 1] for text in texts]))

def load(source, compute):
    assert source == "fine"
    return Brightness()
"""


def test_an_encoder_of_another_package_is_trained_saved_loaded_and_asked_like_ours(tmp_path, monkeypatch):
    """Installed as pip would: a module and a dist-info on the path, and nothing told to this package."""
    (tmp_path / "brightness.py").write_text(THIRD_PARTY)
    info = tmp_path / "brightness-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brightness\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[m3_ros.encoders]\nbrightness = brightness:load\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "brightness" in encoder_names()
    settings = MemorySettings(query_dim=4, lift_width=64, polish=FEW_STEPS)
    memory = build_memory(FRAMES, toy_gaussians(FRAMES, step=2), [load_encoder("brightness:fine")], settings)
    memory.save(tmp_path / "memory")
    finder = Finder.open(tmp_path / "memory")
    assert type(finder.encoder).__module__ == "brightness"
    relevancy = finder.relevancy("something bright").probability
    shade = memory.gaussians.sh0[:, 0].mean(dim=1)
    assert relevancy[memory.seen & (shade > 0.3)].mean() > relevancy[memory.seen & (shade < -0.3)].mean()


def test_features_are_encoded_on_the_cluster_that_the_command_names(sources, tmp_path, monkeypatch):
    named, asked = [], []

    def on_cluster(batches, encoder, address):
        asked.append(address)
        return (encode_batch(encoder, images) for images in batches)

    def train(recording, path, settings, progress):
        named.append(settings.ray_address)
        raise EncoderError("far enough")

    monkeypatch.setattr("m3_ros.training.pipeline.train", train)
    assert main(["train", str(tmp_path), "--ray", "10.0.0.5:6379"]) == 1
    monkeypatch.setattr("m3_ros.features.extraction.encode_on_cluster", on_cluster)
    encoder, settings = load_encoder(f"dinov2:{sources['dinov2']}"), MemorySettings(query_dim=8, polish=FEW_STEPS)
    build_memory(FRAMES, toy_gaussians(FRAMES), [encoder], settings, ray_address=named[0])
    assert set(asked) == {"10.0.0.5:6379"}
