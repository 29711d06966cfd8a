import numpy as np
import pytest
import torch
from test_pixels import ramps
from tiny_models import centre_of_change, square_image
from tiny_speakers import save_mllama

from m3_ros.errors import EncoderError
from m3_ros.features import Encoder, FeatureMap
from m3_ros.features.compute import Compute
from m3_ros.features.multimodal import load
from m3_ros.features.tiles import TileLayout
from m3_ros.features.token_reader import tokens_of

FLOAT = Compute(precision="float32")
ASK = "what is this ?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_mllama(tmp_path_factory.mktemp("mllama"))


@pytest.fixture(scope="module")
def encoder(folder):
    return load(str(folder), FLOAT)


def noise(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_it_is_an_encoder_and_says_what_it_loads_by(encoder, folder):
    assert isinstance(encoder, Encoder)
    assert encoder.name == f"multimodal:{folder}"
    assert encoder.dim == 32


@pytest.mark.parametrize(("width", "height"), [(28, 28), (40, 30), (64, 48), (120, 20), (31, 77), (500, 300)])
def test_the_grid_covers_the_whole_picture_and_no_padding(encoder, width, height):
    layout = TileLayout.of(width, height, 28, 7, 4)
    assert layout.rows * layout.columns <= 4
    assert layout.height <= layout.rows * 4
    assert layout.width <= layout.columns * 4
    stretch = (layout.width / width) / (layout.height / height)
    assert abs(np.log(stretch)) <= np.log1p(0.5 / layout.width) + np.log1p(0.5 / (layout.height - 0.5))
    seen = encoder.encode_image(noise(width, height))
    assert seen.features.shape == (layout.height, layout.width, 32)
    assert seen.valid.all()
    assert seen.image_size == (width, height)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (321, 239), (239, 321), (1920, 640), (640, 1920), (50, 900)])
def test_each_token_shows_the_part_of_the_picture_that_its_cell_stands_for(width, height):
    """With the tiles of Llama 3.2: 560 px, 40 tokens. The canvas is the one that its processor would choose itself."""
    layout = TileLayout.of(width, height, 560, 14, 4)
    canvas = layout.canvas(ramps(width, height))
    assert canvas.shape == (layout.rows * 560, layout.columns * 560, 3)
    again = TileLayout.of(canvas.shape[1], canvas.shape[0], 560, 14, 4)
    assert (again.rows, again.columns, again.height, again.width) == (
        layout.rows, layout.columns, layout.rows * 40, layout.columns * 40,
    )  # fmt: skip
    tiles = torch.from_numpy(canvas).float().unfold(0, 560, 560).unfold(1, 560, 560).flatten(0, 1)
    tokens = torch.nn.functional.avg_pool2d(tiles, 14).flatten(2).transpose(1, 2)
    seen = layout.stitch(tokens)[1:-1, 1:-1] / 250
    u, v = ((torch.arange(n) + 0.5)[1:-1] / n for n in (layout.width, layout.height))
    assert torch.allclose(seen[..., 0], u.expand(seen.shape[:2]), atol=0.003)  # half a grey level
    assert torch.allclose(seen[..., 1], v[:, None].expand(seen.shape[:2]), atol=0.003)


@pytest.mark.parametrize(("width", "height"), [(28, 28), (64, 48), (120, 20), (31, 77)])
def test_tiles_are_joined_where_the_models_own_processor_cut_them(encoder, width, height):
    layout = TileLayout.of(width, height, 28, 7, 4)
    rows, columns = layout.rows * 4, layout.columns * 4
    place = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).astype(np.uint8)
    canvas = np.concatenate([place, np.zeros((rows, columns, 1), np.uint8)], axis=-1).repeat(7, 0).repeat(7, 1)
    cut = encoder._processor.image_processor(canvas, do_rescale=False, do_normalize=False, return_tensors="pt")[
        "pixel_values"
    ][0, 0]
    patches = torch.nn.functional.avg_pool2d(cut, 7).flatten(2).transpose(1, 2)
    tokens = torch.cat([torch.full_like(patches[:, :1], -99), patches], dim=1)  # class token first
    joined = layout.stitch(tokens)
    assert torch.equal(joined[..., :2], torch.from_numpy(place).float()[: layout.height, : layout.width])


@pytest.mark.parametrize(("width", "height"), [(64, 48), (63, 47), (48, 96), (112, 30)])
def test_a_moved_bright_square_moves_in_the_map(encoder, width, height):
    side = 14
    blank = encoder.encode_image(square_image(width, height, 0, 0, 0))
    for left, top in ((2, 2), (width - side - 2, 4), (width // 3, height - side - 2)):
        u, v = centre_of_change(encoder.encode_image(square_image(width, height, left, top, side)), blank, 0.6)
        assert abs(u - left - side / 2) < 0.2 * width
        assert abs(v - top - side / 2) < 0.2 * height


def test_pictures_do_not_influence_each_other(encoder):
    first = encoder.encode_image(noise(64, 48)).features
    encoder.encode_image(noise(28, 90, seed=1))
    assert torch.equal(encoder.encode_image(noise(64, 48)).features, first)


def test_the_language_model_reads_the_tokens_as_the_library_feeds_them(encoder):
    layout = TileLayout.of(64, 48, 28, 7, 4)
    canvas = layout.canvas(noise(64, 48))
    inputs = encoder._processor(images=canvas, text=encoder._processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": ASK}]}], tokenize=False
    ), add_special_tokens=False, return_tensors="pt")  # fmt: skip
    with torch.no_grad():
        theirs = encoder._network(**inputs).logits[0, -1]
    tokens = encoder.tile_tokens(canvas)[: layout.rows * layout.columns].flatten(0, 1)
    ours = encoder.reader.generate(tokens, ASK, 1).logits[0]
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_later_words_are_scored_as_without_a_cache(encoder):
    tokens = tokens_of(encoder.encode_image(noise(64, 48)))
    said = encoder.reader.generate(tokens, ASK, 8)
    assert torch.allclose(encoder.reader.predict(tokens, said.ids, ASK), said.logits, atol=1e-3)


def test_words_depend_on_the_tokens_and_not_on_their_order(encoder):
    tokens = tokens_of(encoder.encode_image(noise(64, 48)))
    shuffled = tokens[torch.randperm(len(tokens), generator=torch.Generator().manual_seed(1))]
    first, again = (encoder.reader.generate(t, ASK, 6) for t in (tokens, shuffled))
    assert first.ids == again.ids
    assert torch.allclose(first.logits, again.logits, atol=1e-3)
    other = encoder.reader.generate(tokens_of(encoder.encode_image(square_image(64, 48, 9, 9, 20))), ASK, 6)
    assert not torch.allclose(first.logits[0], other.logits[0], atol=1e-2)


def test_a_description_is_words_and_the_same_every_time(encoder):
    seen = encoder.encode_image(noise(64, 48))
    text = encoder.describe(seen, ASK, 8)
    assert text == encoder.describe(seen, ASK, 8)
    assert text
    assert "<" not in text


def test_a_model_without_a_chat_template_is_asked_plainly(tmp_path):
    plain = load(str(save_mllama(tmp_path, chat=False)), FLOAT)
    assert isinstance(plain.describe(plain.encode_image(noise(64, 48)), ASK, 4), str)


def test_true_tokens_agree_with_themselves_and_spoilt_ones_less(encoder):
    true = encoder.encode_image(noise(64, 48))
    same = encoder.reader.compare(true, true, ASK, 8)
    assert same.cosine == pytest.approx(1, abs=1e-5)
    assert same.same_words == 1
    assert same.divergence == pytest.approx(0, abs=1e-4)
    assert same.true_text == same.rendered_text
    generator = torch.Generator().manual_seed(0)
    spoilt = FeatureMap(
        torch.randn(5, 7, 32, generator=generator), torch.rand(5, 7, generator=generator) > 0.3, (32, 24)
    )
    worse = encoder.reader.compare(true, spoilt, ASK, 8)
    assert worse.cosine < 0.5
    assert worse.divergence > same.divergence
    assert 0 < worse.cells < same.cells


def test_maps_without_a_common_cell_cannot_be_compared(encoder):
    true = encoder.encode_image(noise(64, 48))
    empty = FeatureMap(true.features, torch.zeros_like(true.valid), true.image_size)
    with pytest.raises(EncoderError, match="no cell in common"):
        encoder.reader.compare(true, empty, ASK, 4)
    with pytest.raises(EncoderError, match="at least one"):
        encoder.describe(empty)


def test_tokens_of_another_model_and_empty_prompts_are_refused(encoder):
    with pytest.raises(EncoderError, match=r"tokens \[n, 32\]"):
        encoder.reader.generate(torch.zeros(4, 7), ASK)
    with pytest.raises(EncoderError, match="prompt"):
        encoder.reader.generate(torch.zeros(4, 32), "  ")


def test_text_is_refused_with_the_way_on(encoder):
    with pytest.raises(EncoderError, match="m3 describe"):
        encoder.encode_text(["chair"])


def test_half_precision_sees_the_same(encoder, folder):
    half = load(str(folder), Compute(precision="bfloat16"))
    image = noise(64, 48)
    a, b = (torch.nn.functional.normalize(e.encode_image(image).features, dim=-1) for e in (encoder, half))
    assert (a * b).sum(-1).min() > 0.98
    assert half.version == encoder.version  # a memory of one can be read with the other


def test_the_version_changes_with_the_weights(encoder, folder, tmp_path):
    assert load(str(folder), FLOAT).version == encoder.version
    assert load(str(save_mllama(tmp_path, seed=1)), FLOAT).version != encoder.version


@pytest.mark.parametrize("damage", ["cut short", "gone"])
def test_broken_weights_are_refused(tmp_path, damage):
    weights = save_mllama(tmp_path) / "model.safetensors"
    data = weights.read_bytes()
    weights.unlink()
    if damage == "cut short":
        weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(EncoderError, match=r"cannot read.*download the folder again.*embedded"):
        load(str(tmp_path), FLOAT)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(EncoderError, match="cannot read"):
        load(str(tmp_path), FLOAT)
