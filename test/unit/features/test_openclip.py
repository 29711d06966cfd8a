import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_models import (
    CLIP,
    CLIP_RESNET,
    CLIP_TOKEN,
    COCA,
    CONVNEXT,
    EVA,
    PE_CORE,
    SIGLIP,
    centre_of_change,
    downloaded,
    save_open_clip,
    square_image,
)

from m3_ros.errors import EncoderError
from m3_ros.features import BatchEncoder, Compute, load_encoder
from m3_ros.features.clip_files import import_open_clip, read_clip
from m3_ros.features.clip_towers import dense_tower, resized_positions
from m3_ros.features.encoder import unit
from m3_ros.features.openclip import OpenClipEncoder

if importlib.util.find_spec("open_clip") is None:
    pytest.skip("OpenCLIP is not installed", allow_module_level=True)

KINDS = {
    "clip": CLIP, "siglip": SIGLIP, "resnet": CLIP_RESNET,
    "token": CLIP_TOKEN, "eva": EVA, "pe": PE_CORE, "convnext": CONVNEXT, "coca": COCA,
}  # fmt: skip
FP32 = Compute(precision="float32")


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    return save_open_clip(tmp_path_factory.mktemp("models") / request.param, KINDS[request.param])


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return save_open_clip(tmp_path_factory.mktemp("models") / "clip", CLIP)


@pytest.fixture
def encoder(folder):
    return load_encoder(f"openclip:{folder}", FP32)


@pytest.fixture(scope="module", params=["clip", "siglip"])
def worded(request, tmp_path_factory):
    """The two kinds of texts: CLIP's, and those with a tokenizer of their own."""
    return save_open_clip(tmp_path_factory.mktemp("models") / request.param, KINDS[request.param])


def blank(width, height):
    return square_image(width, height, 0, 0, 0)


def test_it_keeps_the_contract(encoder, folder):
    assert isinstance(encoder, BatchEncoder)
    assert encoder.name == f"openclip:{folder}"
    assert encoder.encode_text(["chair"]).shape == (1, encoder.dim)
    assert encoder.encode_image(blank(64, 64)).features.shape[-1] == encoder.dim


@pytest.mark.parametrize(("width", "height"), [(256, 256), (321, 239), (200, 400), (480, 96), (111, 333)])
def test_a_square_that_moves_in_the_image_moves_in_the_map(folder, width, height):
    encoder = load_encoder(f"openclip:{folder}", FP32)
    still = encoder.encode_image(blank(width, height))
    rows, columns = still.valid.shape
    cell = max(width / columns, height / rows)
    side = round(1.5 * cell)
    for left, top in [(0, 0), (width - side, height - side), (width // 3, (height - side) // 2)]:
        seen = encoder.encode_image(square_image(width, height, left, top, side))
        u, v = centre_of_change(seen, still, share=0.5)
        assert abs(u - (left + side / 2)) < cell
        assert abs(v - (top + side / 2)) < cell


@pytest.mark.parametrize(("config", "side"), [(SIGLIP, 16), (CONVNEXT, 32)], ids=["siglip", "convnext"])
def test_one_patch_alone_has_the_models_own_image_vector(tmp_path, config, side):
    """With one patch the pool has nothing to mix: what we read then is the model itself."""
    read = read_clip(str(save_open_clip(tmp_path, config)))
    encoder = OpenClipEncoder("one", read, FP32)
    picture = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    pixels = (torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        whole = read.model.encode_image(pixels)
        patch = encoder._tower(pixels)
    assert torch.allclose(patch[0, 0, 0], whole[0], atol=1e-5)


@pytest.mark.parametrize("new", [(4, 4), (3, 7), (9, 5)])
def test_positions_are_interpolated_as_the_library_does_it_and_stay_where_they_are(new):
    from open_clip.model import resize_pos_embed

    v, u = torch.meshgrid((torch.arange(4) + 0.5) / 4, (torch.arange(4) + 0.5) / 4, indexing="ij")
    positions = torch.cat([torch.full((1, 2), 9.0), torch.stack([u, v], -1).reshape(16, 2)])
    ours = resized_positions(positions, (4, 4), new)
    state = {"visual.positional_embedding": positions}
    resize_pos_embed(state, SimpleNamespace(visual=SimpleNamespace(grid_size=new)))
    assert torch.allclose(ours, state["visual.positional_embedding"])
    grid = ours[1:].reshape(*new, 2)[1:-1, 1:-1]  # a cubic overshoots at the edge
    v, u = torch.meshgrid(*((torch.arange(n) + 0.5)[1:-1] / n for n in new), indexing="ij")
    assert torch.allclose(grid, torch.stack([u, v], -1), atol=0.03)


def test_the_clip_value_path_is_what_one_token_attends_to(clip_folder):
    """Attention from each patch to itself alone, by the library's own attention, gives the same vectors."""
    read = read_clip(str(clip_folder))
    visual = read.model.visual
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    patches = OpenClipEncoder("clip", read, FP32)._tower(pixels)
    with torch.inference_mode():
        x = visual._embeds(pixels)
        for block in visual.transformer.resblocks[:-1]:
            x = block(x)
        last = visual.transformer.resblocks[-1]
        only_itself = torch.full((x.shape[1],) * 2, -torch.inf).fill_diagonal_(0)
        expected = visual.ln_post(last.attention(last.ln_1(x), attn_mask=only_itself)) @ visual.proj
    assert torch.allclose(patches.flatten(1, 2), expected[:, 1:], atol=1e-5)


@pytest.mark.parametrize("config", [CLIP_TOKEN, EVA], ids=["token", "eva"])
def test_the_value_path_of_timms_towers_is_what_one_token_attends_to(tmp_path, config):
    read = read_clip(str(save_open_clip(tmp_path, config)))
    visual = read.model.visual
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    last, seen = visual.trunk.blocks[-1], []
    with torch.inference_mode():
        handle = last.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        visual(pixels)
        handle.remove()
        only_itself = torch.eye(seen[0].shape[1], dtype=torch.bool)
        values = last.attn(last.norm1(seen[0]), attn_mask=only_itself)
        values = getattr(last, "ls1", torch.nn.Identity())(values)
        expected = visual.head(visual.trunk.head(visual.trunk.fc_norm(visual.trunk.norm(values))))
    patches = OpenClipEncoder("timm", read, FP32)._tower(pixels)
    assert torch.allclose(patches.flatten(1, 2), expected[:, 1:], atol=1e-5)


def test_a_batch_changes_nothing(encoder):
    pictures = [square_image(96, 64, 8 * i, 8, 24) for i in range(3)] + [blank(64, 96)]
    together = OpenClipEncoder.encode_images(_with_batches_of(encoder, 2), pictures)
    for picture, seen in zip(pictures, together, strict=True):
        alone = encoder.encode_image(picture)
        assert torch.allclose(alone.features, seen.features, atol=1e-5)
        assert seen.image_size == (picture.shape[1], picture.shape[0])


def _with_batches_of(encoder, size):
    class Batches(Compute):
        batch_size = size

    encoder._compute = Batches(precision="float32")
    return encoder


def test_bfloat16_gives_nearly_the_same(folder):
    exact, rough = (load_encoder(f"openclip:{folder}", Compute(precision=p)) for p in ("float32", "bfloat16"))
    picture = square_image(160, 120, 30, 20, 50)
    a, b = (unit(e.encode_image(picture).features) for e in (exact, rough))
    assert (a * b).sum(-1).min() > 0.99  # 8 bits of mantissa
    assert exact.version == rough.version
    assert torch.allclose(exact.encode_text(["chair"]), rough.encode_text(["chair"]))


def test_words_are_the_librarys_own(worded):
    read = read_clip(str(worded))
    encoder = OpenClipEncoder("clip", read, FP32, templates=("{}",))
    words = ["red chair", "table"]
    with torch.inference_mode():
        expected = read.model.encode_text(read.tokenizer(words), normalize=True)
    assert torch.allclose(encoder.encode_text(words), expected, atol=1e-6)
    assert torch.allclose(encoder.encode_text(["find the red chair"]), expected[:1], atol=1e-6)


def test_templates_are_averaged(worded):
    plain = OpenClipEncoder("clip", read_clip(str(worded)), FP32, templates=("{}",))
    both = OpenClipEncoder("clip", read_clip(str(worded)), FP32, templates=("a {}", "the room {}"))
    read = read_clip(str(worded))
    with torch.inference_mode():
        a, b = read.model.encode_text(read.tokenizer(["a sofa", "the room sofa"]), normalize=True)
    assert torch.allclose(both.encode_text(["sofa"])[0], unit((a + b) / 2), atol=1e-6)
    assert both.version != plain.version


def test_no_text_and_empty_text(worded):
    encoder = load_encoder(f"openclip:{worded}", FP32)
    assert encoder.encode_text([]).shape == (0, encoder.dim)
    with pytest.raises(EncoderError, match="empty text"):
        encoder.encode_text([" "])


def test_the_version_tells_weights_and_normalisation_apart_but_not_places(tmp_path, clip_folder):
    versions = {
        load_encoder(f"openclip:{folder}").version
        for folder in (
            clip_folder,
            save_open_clip(tmp_path / "other", CLIP, seed=1),
            save_open_clip(tmp_path / "mean", CLIP, mean=0.4),
        )
    }
    assert len(versions) == 3
    copy = save_open_clip(tmp_path / "copy", CLIP)
    assert load_encoder(f"openclip:{copy}").version in versions


def test_a_configuration_and_a_checkpoint_are_read_from_separate_files(tmp_path, worded):
    config, weights = tmp_path / "mine.json", tmp_path / "weights.pt"
    config.write_text((worded / "open_clip_config.json").read_text())
    for file in worded.glob("token*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    from safetensors.torch import load_file

    torch.save(load_file(worded / "open_clip_model.safetensors"), weights)
    together = load_encoder(f"openclip:{worded}", FP32)
    apart = load_encoder(f"openclip:{config}@{weights}", FP32)
    assert apart.version == together.version
    assert torch.equal(apart.encode_text(["sofa"]), together.encode_text(["sofa"]))


def test_the_models_own_normalisation_is_used(encoder):
    assert encoder._preprocessing.mean == (0.5,) * 3
    assert encoder._preprocessing.short_side * encoder._preprocessing.patch == 64


@pytest.mark.parametrize("config", [CLIP, SIGLIP], ids=["clip", "siglip"])
def test_published_weights_are_read_by_their_tag_from_what_was_downloaded(tmp_path, monkeypatch, config):
    open_clip = import_open_clip()
    config = json.loads(json.dumps(config).replace("timm/none", "makers/tiny"))
    published = {"hf_hub": "makers/tiny/", "mean": (0.4,) * 3, "std": (0.3,) * 3, "interpolation": "bilinear"}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "m3-tiny", config)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "m3-tiny", {"tag": published})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = save_open_clip(downloaded(tmp_path, "makers/tiny"), config)
    by_tag, by_folder = load_encoder("openclip:m3-tiny/tag", FP32), load_encoder(f"openclip:{folder}", FP32)
    assert by_tag._preprocessing.mean == (0.4,) * 3
    assert by_tag._preprocessing.interpolation == "bilinear"
    assert torch.equal(by_tag.encode_text(["chair"]), by_folder.encode_text(["chair"]))
    assert load_encoder("openclip:makers/tiny", FP32).version == by_folder.version


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ViT-B-16", "alone has no weights.*openai"),
        ("ViT-B-16/nonsense", "no weights called 'nonsense'.*openai"),
        ("ViT-B-16@/nowhere.pt", "no checkpoint /nowhere.pt"),
        ("/nowhere/at/all", "no such folder"),
        ("two words", "neither a folder nor an id"),
    ],
)
def test_a_wrong_source_is_answered_with_what_to_name(source, message):
    with pytest.raises(EncoderError, match=message):
        load_encoder(f"openclip:{source}")


def test_weights_that_do_not_fit_are_refused(tmp_path, clip_folder):
    other = save_open_clip(tmp_path, SIGLIP)
    with pytest.raises(EncoderError, match="cannot be read as an OpenCLIP model"):
        load_encoder(f"openclip:{clip_folder}/open_clip_config.json@{other}/open_clip_model.safetensors")
    with pytest.raises(EncoderError, match="is no configuration"):
        load_encoder(f"openclip:{tmp_path}/none.json@{other}/open_clip_model.safetensors")
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"nonsense")
    with pytest.raises(EncoderError, match="cannot be read as an OpenCLIP model"):
        load_encoder(f"openclip:{clip_folder}/open_clip_config.json@{broken}")


def test_a_checkpoint_never_runs_code(tmp_path, clip_folder):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "was_here",)

    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(EncoderError):
        load_encoder(f"openclip:{clip_folder}/open_clip_config.json@{tmp_path}/evil.pt")
    assert not (tmp_path / "was_here").exists()


def test_a_tower_whose_patches_have_no_words_is_refused():
    with pytest.raises(EncoderError, match=r"image tower of odd .* cannot be read patch by patch"):
        dense_tower(torch.nn.Identity(), "odd")


def test_a_pool_of_several_queries_gives_each_patch_alone_the_value_that_attention_to_it_alone_gives(tmp_path):
    read = read_clip(str(save_open_clip(tmp_path, COCA)))
    visual = read.model.visual
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        x = visual.transformer(visual._embeds(pixels))
        pool, keys = visual.attn_pool, visual.attn_pool.ln_k(x)
        only_third = torch.full((1, x.shape[1]), -torch.inf)
        only_third[0, 3] = 0
        value = pool.attn(pool.ln_q(pool.query)[None, 2:3], keys, keys, attn_mask=only_third)[0]
        expected = visual.ln_post(value[0, 0]) @ visual.proj
    patches = OpenClipEncoder("coca", read, FP32)._tower(pixels)
    assert torch.allclose(patches.flatten(1, 2)[0, 2], expected, atol=1e-5)


def test_a_picture_of_the_wrong_kind_is_refused(encoder):
    with pytest.raises(EncoderError, match="8-bit RGB"):
        encoder.encode_image(np.zeros((8, 8), np.uint8))


def test_texts_mean_the_same_where_they_lie_closer_than_unrelated_ones(worded):
    encoder = load_encoder(f"openclip:{worded}", FP32)
    words = encoder.encode_text(list(encoder.background_phrases))
    cosines = words @ words.T
    unrelated = float((cosines.sum() - len(words)) / (len(words) * (len(words) - 1)))
    assert unrelated < encoder.same_cosine <= 1
    assert float(cosines.diagonal().min()) >= encoder.same_cosine - 1e-5
