from copy import copy

import numpy as np
import pytest
import torch
from tiny_models import square_image
from tiny_regions import Thresholds, sam2_pictures, sam_pictures, save_sam, save_sam2, save_sam2_video, save_sam_hq

from m3_ros.errors import EncoderError
from m3_ros.features import Encoder, FeatureMap, load_encoder
from m3_ros.features.compute import Compute
from m3_ros.features.encoder import PromptEncoder
from m3_ros.features.masks import overlaps
from m3_ros.features.perception import PerceptionEncoder
from m3_ros.features.segmentation import SegmentationSettings, Segmenter
from m3_ros.features.visual_prompt import encode_prompt
from m3_ros.query.settings import QuerySettings

FLOAT = Compute(precision="float32")
FEW = SegmentationSettings(points_per_side=3)
SIZES = [(320, 240), (321, 239), (239, 321), (640, 180), (100, 333)]


class Colours:
    """A dense encoder of known vectors: a cell of 4 px has its mean colour."""

    name, version, dim, known_names, background_phrases = "colours", "1", 3, ("sun",), ("grey",)

    def encode_image(self, rgb):
        h, w = max(1, rgb.shape[0] // 4), max(1, rgb.shape[1] // 4)
        pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float()
        cells = torch.nn.functional.interpolate(pixels, (h, w), mode="area")[0].permute(1, 2, 0)
        return FeatureMap(cells, torch.ones(h, w, dtype=torch.bool), (rgb.shape[1], rgb.shape[0]))

    def encode_text(self, texts):
        return torch.tensor([[1.0, 1.0, 0.2]] * len(texts))


def known_segmenter(pictures=None):
    return Segmenter(Thresholds(), pictures or sam_pictures(), FLOAT, FEW)


def square_mask(cells, width, height, left, top, side):
    h, w = cells
    v, u = np.meshgrid((np.arange(h) + 0.5) * height / h, (np.arange(w) + 0.5) * width / w, indexing="ij")
    return torch.from_numpy((u > left) & (u < left + side) & (v > top) & (v < top + side))


@pytest.mark.parametrize("pictures", [sam_pictures, sam2_pictures], ids=["padded", "squashed"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_masks_lie_where_the_thing_lies_whatever_the_aspect_ratio(pictures, width, height):
    segmenter = known_segmenter(pictures())
    side = min(width, height) // 2
    for left, top in ((0, 0), (width - side, height - side), (width // 3, height // 4)):
        masks = segmenter.everything(square_image(width, height, left, top, side))
        assert masks.shape[1:] == segmenter.cells(width, height)
        wanted = square_mask(masks.shape[1:], width, height, left, top, side)
        assert float(overlaps(torch.stack([wanted, masks[0]]))[0, 1]) > 0.85
        assert float(overlaps(torch.stack([~wanted, masks[1]]))[0, 1]) > 0.85


@pytest.mark.parametrize("pictures", [sam_pictures, sam2_pictures], ids=["padded", "squashed"])
def test_clicks_and_boxes_reach_the_model_where_they_were_made(pictures):
    segmenter = known_segmenter(pictures())
    image = square_image(320, 160, 100, 40, 60)
    segmenter.at(image, point=(160.0, 80.0))
    segmenter.at(image, box=(0.0, 0.0, 320.0, 160.0))
    click, box = segmenter._network.prompts
    bottom = 128 if pictures is sam_pictures else 256
    assert torch.allclose(click[0, 0, 0], torch.tensor([128, bottom / 2]) - 0.5)
    assert torch.allclose(box[0, 0], torch.tensor([0, 0, 256, bottom]) - 0.5)


def test_a_grid_of_clicks_covers_the_picture_evenly():
    segmenter = known_segmenter(sam2_pictures())
    segmenter.everything(square_image(320, 160, 100, 40, 60))
    clicks = torch.cat(segmenter._network.prompts, dim=1)[0, :, 0]
    third = 256 / 3
    assert sorted(set(clicks[:, 0].round().tolist())) == [round((i + 0.5) * third - 0.5) for i in range(3)]
    assert len(clicks) == 9


def test_weak_and_tiny_masks_are_dropped():
    strict = SegmentationSettings(points_per_side=2, min_score=0.93)
    image = square_image(320, 240, 80, 60, 120)
    assert len(known_segmenter().everything(image)) == 2
    assert len(Segmenter(Thresholds(), sam_pictures(), FLOAT, strict).everything(image)) == 1
    large = SegmentationSettings(points_per_side=2, min_share=0.5)
    assert len(Segmenter(Thresholds(), sam_pictures(), FLOAT, large).everything(image)) == 1


@pytest.mark.parametrize("prompt", [
    {}, {"box": (1, 1, 5, 5), "point": (2, 2)}, {"point": (-1, 5)}, {"box": (10, 10, 5, 20)}, {"box": (0, 0, 400, 20)},
])  # fmt: skip
def test_what_is_no_visual_prompt_is_refused(prompt):
    for ask in (known_segmenter().at, lambda rgb, **p: encode_prompt(Colours(), rgb, **p)):
        with pytest.raises(EncoderError, match="visual prompt"):
            ask(square_image(320, 240, 0, 0, 50), **prompt)


def test_a_region_has_the_vector_of_what_it_shows_and_a_click_on_it_finds_it_again():
    encoder = PerceptionEncoder(known_segmenter(), Colours())
    image = square_image(320, 240, 200, 100, 80)
    seen = encoder.encode_image(image)
    vectors, valid = seen.at(torch.tensor([240.0, 20.0]), torch.tensor([140.0, 20.0]))
    assert valid.all()
    yellow = torch.nn.functional.normalize(torch.tensor([250.0, 240, 60]), dim=0)
    assert float(torch.nn.functional.normalize(vectors[0], dim=0) @ yellow) > 0.999
    query = encoder.encode_prompt(image, point=(240, 140))
    assert torch.allclose(query, torch.nn.functional.normalize(vectors[0], dim=0), atol=1e-5)
    elsewhere = encoder.encode_image(square_image(320, 240, 30, 20, 60))
    there, _ = elsewhere.at(torch.tensor([60.0, 300.0]), torch.tensor([50.0, 220.0]))
    scores = torch.nn.functional.normalize(there, dim=1) @ query
    assert scores[0] > scores[1] + 0.05


@pytest.mark.parametrize("pictures", [sam_pictures, sam2_pictures], ids=["padded", "squashed"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_moved_bright_square_moves_in_the_map(pictures, width, height):
    encoder = PerceptionEncoder(known_segmenter(pictures()), Colours())
    side = min(width, height) // 3
    for left, top in ((10, 10), (width - side - 10, height - side - 10), (width // 2, height // 3)):
        seen = encoder.encode_image(square_image(width, height, left, top, side))
        h, w = seen.index.shape
        u, v = left + side / 2, top + side / 2
        square = seen.index == seen.index[int(v * h / height), int(u * w / width)]
        row, column = square.nonzero().float().add(0.5).mean(0)
        assert abs(column * width / w - u) < 2
        assert abs(row * height / h - v) < 2


def test_words_are_those_of_the_dense_encoder():
    encoder = PerceptionEncoder(known_segmenter(), Colours())
    assert torch.equal(encoder.encode_text(["sun"]), Colours().encode_text(["sun"]))
    assert (encoder.known_names, encoder.background_phrases, encoder.dim) == (("sun",), ("grey",), 3)


def test_the_constants_of_the_space_are_those_of_the_dense_encoder_where_it_has_any():
    class Measured(Colours):
        temperature, same_cosine = 0.02, 0.9

    plain, measured = (PerceptionEncoder(known_segmenter(), dense) for dense in (Colours(), Measured()))
    settings = QuerySettings.of(measured).relevancy
    assert (settings.temperature, settings.same_cosine) == (0.02, 0.9)
    assert QuerySettings.of(plain) == QuerySettings()
    assert copy(measured).temperature == 0.02  # as a cluster's worker gets it


def test_the_version_changes_with_either_model_and_with_the_settings():
    network, other = Thresholds(), Thresholds()
    other.anchor.data += 1
    base = PerceptionEncoder(Segmenter(network, sam_pictures(), FLOAT, FEW), Colours()).version
    assert base == PerceptionEncoder(known_segmenter(), Colours()).version
    changed = Colours()
    changed.version = "2"
    versions = {
        base,
        PerceptionEncoder(known_segmenter(), changed).version,
        PerceptionEncoder(Segmenter(other, sam_pictures(), FLOAT, FEW), Colours()).version,
        PerceptionEncoder(Segmenter(network, sam_pictures(), FLOAT), Colours()).version,
        PerceptionEncoder(known_segmenter(sam_pictures(128)), Colours()).version,
    }
    assert len(versions) == 5


def test_regions_cannot_be_pooled_from_regions():
    inner = PerceptionEncoder(known_segmenter(), Colours())
    with pytest.raises(EncoderError, match="dense"):
        PerceptionEncoder(known_segmenter(), inner).encode_image(square_image(320, 240, 9, 9, 90))


def test_a_picture_in_which_nothing_is_found_gives_an_empty_map():
    never = SegmentationSettings(points_per_side=2, min_score=1.0)
    encoder = PerceptionEncoder(Segmenter(Thresholds(), sam_pictures(), FLOAT, never), Colours())
    seen = encoder.encode_image(square_image(320, 240, 9, 9, 90))
    assert not seen.valid.any()
    assert seen.features.shape == (1, 3)


def test_encoders_without_regions_answer_visual_prompts_by_the_cells_meant():
    image = square_image(320, 240, 200, 100, 80)
    yellow = torch.nn.functional.normalize(torch.tensor([250.0, 240, 60]), dim=0)
    for prompt in ({"box": (202, 102, 278, 178)}, {"point": (240, 140)}):
        assert float(encode_prompt(Colours(), image, **prompt) @ yellow) > 0.999
    assert float(encode_prompt(Colours(), image, point=(20, 20)) @ yellow) < 0.97


@pytest.fixture(scope="module", params=[save_sam, save_sam_hq, save_sam2, save_sam2_video])
def saved(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("masks"))


def test_saved_models_load_by_path_and_see_whole_frames(saved):
    encoder = load_encoder(f"perception:{saved}+embedded", FLOAT)
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, PromptEncoder)
    assert encoder.name == f"perception:{saved}+embedded"
    assert encoder.version == load_encoder(f"perception:{saved}+embedded", FLOAT).version
    image = np.random.default_rng(0).integers(0, 256, (90, 160, 3)).astype(np.uint8)
    seen = encoder.encode_image(image)
    assert seen.image_size == (160, 90)
    assert seen.index.shape == (90, 160)
    assert seen.valid.float().mean() > 0.5
    assert seen.index.max() < len(seen.features)
    query = encoder.encode_prompt(image, box=(20, 20, 120, 80))
    assert query.shape == (384,)
    assert torch.linalg.vector_norm(query) == pytest.approx(1, abs=1e-5)


def test_masks_do_not_depend_on_how_many_clicks_are_made_at_once_nor_on_other_pictures(saved, monkeypatch):
    image, other = (np.random.default_rng(i).integers(0, 256, (48, 64, 3)).astype(np.uint8) for i in range(2))
    segmenter = Segmenter.load(str(saved), "perception", FLOAT, FEW)
    together = segmenter.everything(image)
    segmenter.everything(other)
    monkeypatch.setattr("m3_ros.features.segmentation._POINTS_AT_ONCE", 4)
    assert torch.equal(segmenter.everything(image), together)


def test_a_view_of_a_picture_is_seen_as_the_picture(saved):
    """BGR turned around, or a crop three pixels high: whatever an array looks like in memory."""
    segmenter = Segmenter.load(str(saved), "perception", FLOAT, FEW)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    for view in (image[:, ::-1, ::-1], image[10:13]):
        assert torch.equal(segmenter.everything(view), segmenter.everything(np.ascontiguousarray(view)))
        assert segmenter.everything(view).shape[1:] == view.shape[:2]


def test_half_precision_finds_like_masks(saved):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    masks = [
        Segmenter.load(str(saved), "perception", compute).at(image, box=(5, 5, 60, 60))
        for compute in (FLOAT, Compute(precision="bfloat16"))
    ]
    assert (masks[0] == masks[1]).float().mean() > 0.9


def test_the_published_form_of_sam2_finds_the_same_masks(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    (tmp_path / "film").mkdir()
    plain, film = (Segmenter.load(str(save(tmp_path / name)), "perception", FLOAT, FEW) for save, name in
                   ((save_sam2, "plain"), (save_sam2_video, "film")))  # fmt: skip
    assert torch.equal(plain.everything(image), film.everything(image))
