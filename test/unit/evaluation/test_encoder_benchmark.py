import json

import numpy as np
import pytest
import torch

from m3_ros.cli import bench_encoder as command
from m3_ros.errors import EncoderError, M3Error
from m3_ros.evaluation import encoder_benchmark
from m3_ros.evaluation.encoder_benchmark import FIGURES, bench_encoder
from m3_ros.features.checkpoint import EncoderCard, write_checkpoint
from m3_ros.features.vision_transformer import VisionSettings, VisionTransformer
from m3_ros.training.encoder_data import RoomViews

SMALL = VisionSettings(stem=(8, 8, 16), local_blocks=1, width=24, depth=1, heads=2, position_blocks=1, head_width=16)
ROWS = ["shapes of training", "demo room", "unseen shape armchair tub"]


def two_things(seed, settings):
    """A wall with a red armchair, two of them in some views."""
    ids = np.ones((settings.views, 48, 64), np.uint8)
    ids[:, 8:32, 4:28] = 2
    rgb = np.array([(0, 0, 0), (200, 200, 190), (200, 30, 30)], np.uint8)[ids]
    return RoomViews(seed, rgb, ids, ("wall", "armchair"), ((), ("red",)), ("", "tub"))


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    torch.manual_seed(0)
    path = tmp_path / "e.safetensors"
    card = EncoderCard(SMALL, ("armchair",), ("wall",), (100_000, 100_001), 2, 64, 0, "Knows nothing.")
    write_checkpoint(path, VisionTransformer(SMALL), card)
    monkeypatch.setattr("m3_ros.training.encoder_data.render_room", two_things)
    monkeypatch.setattr(encoder_benchmark, "first_feature_s", lambda _: encoder_benchmark.Measurement(0.5, 1))
    return path


def test_every_figure_has_a_value_and_a_count(checkpoint, capsys):
    assert command.run("1000", views=2, checkpoint=checkpoint, json_document=True) == 0
    document = json.loads(capsys.readouterr().out)
    for name in (*FIGURES, "images_per_s", "first_feature_s"):
        assert set(document[name]) == {"value", "count"}, name
    for name in ("patch_top1", "miou", "localisation", "auroc_foreign"):
        assert 0 <= document[name]["value"] <= 1
    assert document["images_per_s"]["value"] > 0
    assert document["localisation_colours"] == {"value": None, "count": 0}
    rows = document["rows"]
    assert list(rows) == ROWS
    assert rows["demo room"]["localisation"]["count"] > 0
    assert rows["unseen shape armchair tub"]["localisation of armchair"]["count"] == 2


def test_rooms_of_the_training_are_refused(checkpoint):
    with pytest.raises(EncoderError, match="other seeds"):
        bench_encoder([100_000], checkpoint=checkpoint)


def test_seeds_are_read_as_range_or_list():
    assert command.parse_seeds("1000-1002") == (1000, 1001, 1002)
    assert command.parse_seeds("3,7") == (3, 7)
    for text in ("", "a", "9-3"):
        with pytest.raises(M3Error, match="seeds"):
            command.parse_seeds(text)
