import numpy as np
import pytest
import torch

from m3_ros.errors import EncoderError
from m3_ros.features.checkpoint import EncoderCard, read_checkpoint, write_checkpoint
from m3_ros.features.compute import Compute
from m3_ros.features.embedded import EmbeddedEncoder, working_size
from m3_ros.features.encoder import Encoder, FeatureMap
from m3_ros.features.registry import load_encoder
from m3_ros.features.vision_transformer import VisionSettings, VisionTransformer, normalise

SMALL = VisionSettings(stem=(8, 8, 16), local_blocks=1, width=24, depth=2, heads=2, position_blocks=1, head_width=16)


def small_network(seed=0):
    torch.manual_seed(seed)
    return VisionTransformer(SMALL).eval()


def small_card():
    return EncoderCard(SMALL, ("chair",), ("wall",), (100_000, 100_001), 2, 64, 0, "Knows nothing.")


@pytest.fixture
def encoder():
    return EmbeddedEncoder(small_network(), small_card(), "fingerprint")


def picture_with_square(u, v, width=320, height=240, side=48):
    image = np.full((height, width, 3), 60, np.uint8)
    image[v : v + side, u : u + side] = 255
    return image


def test_encoder_fulfils_the_protocol(encoder):
    assert isinstance(encoder, Encoder)
    assert encoder.dim == 384


@pytest.mark.parametrize(
    ("width", "height"), [(320, 240), (240, 320), (640, 360), (97, 131), (16, 16), (1, 1), (2000, 20)]
)
def test_any_size_and_aspect_gives_finite_unit_vectors(encoder, width, height):
    rng = np.random.default_rng(0)
    seen = encoder.encode_image(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))
    assert isinstance(seen, FeatureMap)
    assert seen.image_size == (width, height)
    assert seen.features.shape == (*seen.valid.shape, 384)
    assert torch.allclose(seen.features.norm(dim=-1), torch.ones(seen.valid.shape), atol=1e-4)


def test_a_picture_of_the_training_size_is_not_resized():
    assert working_size(320, 240) == (320, 240)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (540, 360), (1920, 1080), (480, 640)])
def test_working_size_keeps_proportions_to_within_a_token(width, height):
    w, h = working_size(width, height)
    assert w % 16 == h % 16 == 0
    assert abs(w / h / (width / height) - 1) < 0.06


@pytest.mark.parametrize(("width", "height"), [(320, 240), (480, 270), (300, 400)])
@pytest.mark.parametrize(("left", "top"), [(0.1, 0.1), (0.7, 0.2), (0.4, 0.7)])
def test_a_bright_square_changes_the_map_where_it_is(encoder, width, height, left, top):
    u, v, side = int(left * width), int(top * height), 48
    empty = encoder.encode_image(np.full((height, width, 3), 60, np.uint8)).features
    seen = encoder.encode_image(picture_with_square(u, v, width, height, side)).features
    change = (seen - empty).norm(dim=-1)
    h, w = change.shape
    weight = (change - change.quantile(0.8)).clamp(min=0)
    rows, columns = (torch.arange(n) + 0.5 for n in (h, w))
    centre_v = float((weight.sum(1) @ rows) / weight.sum()) * height / h
    centre_u = float((weight.sum(0) @ columns) / weight.sum()) * width / w
    assert abs(centre_u - u - side / 2) < 0.07 * width
    assert abs(centre_v - v - side / 2) < 0.07 * height


def test_encoding_is_deterministic_and_batches_agree():
    network = small_network()
    images = torch.randint(0, 256, (3, 3, 64, 80), dtype=torch.uint8)
    with torch.inference_mode():
        together, alone = network(normalise(images)), network(normalise(images[1:2]))
        again = network(normalise(images))
    assert torch.equal(together, again)
    assert torch.allclose(together[1:2], alone, atol=1e-5)


def test_the_same_picture_twice_gives_the_same_bits(encoder):
    image = picture_with_square(40, 60)
    assert torch.equal(encoder.encode_image(image).features, encoder.encode_image(image).features)


@pytest.mark.parametrize(
    "image", [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(encoder, image):
    with pytest.raises(EncoderError, match="8-bit RGB"):
        encoder.encode_image(image)


def test_written_checkpoint_is_read_back_with_its_card(tmp_path):
    network, path = small_network(), tmp_path / "e.safetensors"
    write_checkpoint(path, network, small_card())
    stored, card, _ = read_checkpoint(path)
    assert card == small_card()
    for name, value in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.allclose(stored.state_dict()[name], value, atol=2e-3)
    assert [p.name for p in tmp_path.iterdir()] == ["e.safetensors"]


def test_it_is_named_by_its_file_and_computes_as_asked(tmp_path):
    path, picture = tmp_path / "e.safetensors", picture_with_square(40, 60)
    write_checkpoint(path, small_network(), small_card())
    exact, rounded = (load_encoder(f"embedded:{path}", Compute(precision=p)) for p in ("float32", "bfloat16"))
    assert exact.name == rounded.name == f"embedded:{path}"
    assert exact.device == "cpu"
    assert exact.version == rounded.version
    there, here = (encoder.encode_image(picture).features for encoder in (exact, rounded))
    assert not torch.equal(there, here)
    assert (there * here).sum(-1).min() > 0.98


def test_version_follows_the_weights(tmp_path):
    versions = set()
    for seed in (0, 0, 1):
        write_checkpoint(tmp_path / "e.safetensors", small_network(seed), small_card())
        versions.add(EmbeddedEncoder.load(tmp_path / "e.safetensors").version)
    assert len(versions) == 2


def corrupt(data, how):
    return {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "noise": b"\xff" * 200,
        "header": b"\x10" + data[1:],
        "no card": data.replace(b'"card"', b'"dard"'),
        "other sizes": data.replace(rb"\"depth\": 2", rb"\"depth\": 3"),
        "huge sizes": data.replace(rb"\"depth\": 2", rb"\"depth\":99"),
        "not a number": data[:-64] + b"\xff\x7f" * 32,
    }[how]


@pytest.mark.parametrize(
    "how", ["cut", "empty", "noise", "header", "no card", "other sizes", "huge sizes", "not a number"]
)
def test_a_broken_checkpoint_is_refused_with_a_remedy(tmp_path, how):
    path = tmp_path / "e.safetensors"
    write_checkpoint(path, small_network(), small_card())
    damaged = corrupt(path.read_bytes(), how)
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    with pytest.raises(EncoderError, match="train-encoder"):
        read_checkpoint(path)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(EncoderError, match=r"nothing\.safetensors"):
        EmbeddedEncoder.load(tmp_path / "nothing.safetensors")
