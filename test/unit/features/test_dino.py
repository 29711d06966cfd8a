import json
from pathlib import Path

import pytest
import torch
from tiny_models import centre_of_change, save_dinov2, save_dinov3, square_image

from m3_ros.errors import EncoderError
from m3_ros.features import BatchEncoder, Compute, load_encoder
from m3_ros.features.encoder import unit
from m3_ros.features.pretrained import load_pretrained

FP32 = Compute(precision="float32")


@pytest.fixture(scope="module", params=["dinov2", "registers", "dinov3"])
def spec(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / request.param
    if request.param == "dinov3":
        return f"dinov3:{save_dinov3(folder)}"
    return f"dinov2:{save_dinov2(folder, registers=3 if request.param == 'registers' else 0)}"


@pytest.fixture
def encoder(spec):
    return load_encoder(spec, FP32)


def test_it_keeps_the_contract(encoder, spec):
    assert isinstance(encoder, BatchEncoder)
    assert encoder.name == spec
    assert encoder.background_phrases == encoder.known_names == ()


@pytest.mark.parametrize(
    ("width", "height", "grid"), [(96, 96, (24, 24)), (320, 240, (24, 32)), (50, 200, (96, 24))]
)
def test_the_grid_covers_the_whole_picture(encoder, width, height, grid):
    seen = encoder.encode_image(square_image(width, height, 0, 0, 0))
    assert seen.valid.shape == grid
    assert seen.valid.all()
    assert seen.image_size == (width, height)


@pytest.mark.parametrize(("width", "height"), [(240, 240), (321, 239), (120, 360)])
def test_a_square_that_moves_in_the_image_moves_in_the_map(encoder, width, height):
    still = encoder.encode_image(square_image(width, height, 0, 0, 0))
    side = 24
    for left, top in [(0, 0), (width - side, height - side), (width // 2, height // 3)]:
        u, v = centre_of_change(encoder.encode_image(square_image(width, height, left, top, side)), still, share=0.5)
        assert abs(u - (left + side / 2)) < 10  # a cell
        assert abs(v - (top + side / 2)) < 10


@pytest.mark.parametrize(("width", "height"), [(96, 96), (321, 239)])
def test_the_vectors_are_the_models_own_patches(encoder, spec, width, height):
    """Class token and registers left out, positions interpolated (or rotated) to the picture's grid by the library."""
    name, folder = spec.split(":", 1)
    model = load_pretrained("AutoModel", folder, name).eval()
    picture = square_image(width, height, 20, 30, 40)
    pixels = encoder._preprocessing.pixels(picture)[None]
    with torch.inference_mode():
        hidden = model(pixel_values=pixels).last_hidden_state[0]
    seen = encoder.encode_image(picture).features
    extra = {"registers": 3, "dinov3": 4}.get(Path(folder).name, 0)
    assert len(hidden) == 1 + extra + seen[..., 0].numel()
    assert torch.allclose(seen.flatten(0, 1), hidden[1 + extra :], atol=1e-5)


def test_a_batch_changes_nothing(encoder):
    class Batches(Compute):
        batch_size = 2

    pictures = [square_image(64, 48, 8 * i, 8, 24) for i in range(3)] + [square_image(48, 64, 0, 0, 9)]
    alone = [encoder.encode_image(picture) for picture in pictures]
    encoder._compute = Batches(precision="float32")
    for one, seen in zip(alone, encoder.encode_images(pictures), strict=True):
        assert torch.allclose(one.features, seen.features, atol=1e-5)


def test_bfloat16_gives_nearly_the_same(spec):
    picture = square_image(64, 48, 10, 20, 20)
    a, b = (
        unit(load_encoder(spec, Compute(precision=p)).encode_image(picture).features) for p in ("float32", "bfloat16")
    )
    assert (a * b).sum(-1).min() > 0.99  # 8 bits of mantissa


def test_a_question_in_words_is_refused(encoder):
    with pytest.raises(EncoderError, match=r"has no words.*'chair'.*with a picture"):
        encoder.encode_text(["chair"])


def test_the_version_tells_weights_and_normalisation_apart(tmp_path):
    first, other = save_dinov2(tmp_path / "a"), save_dinov2(tmp_path / "b", seed=1)
    mean = save_dinov2(tmp_path / "c")
    (mean / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.4] * 3, "image_std": [0.5] * 3}))
    again = save_dinov2(tmp_path / "d")
    versions = [load_encoder(f"dinov2:{folder}").version for folder in (first, other, mean, again)]
    assert len(set(versions)) == 3
    assert versions[0] == versions[3]


def test_the_models_own_crop_is_not_taken_over(tmp_path):
    folder = save_dinov2(tmp_path)
    own = {"do_center_crop": True, "crop_size": {"height": 28, "width": 28}, "size": {"shortest_edge": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(own))
    assert load_encoder(f"dinov2:{folder}").encode_image(square_image(320, 240, 0, 0, 0)).valid.shape == (24, 32)


def test_another_model_or_a_partial_one_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    with pytest.raises(EncoderError, match="type 'dinov2'; dinov3 is one of"):
        load_encoder(f"dinov3:{save_dinov2(tmp_path / 'two')}")
    weights = tmp_path / "two" / "model.safetensors"
    tensors = load_file(weights)
    tensors.popitem()
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(EncoderError, match="lacks 1 weights"):
        load_encoder(f"dinov2:{tmp_path / 'two'}")
    weights.write_bytes(b"nonsense")
    with pytest.raises(EncoderError, match=r"download the folder again.*embedded"):
        load_encoder(f"dinov2:{tmp_path / 'two'}")
    with pytest.raises(EncoderError, match="no folder of a dinov2 model"):
        load_encoder(f"dinov2:{tmp_path}")
