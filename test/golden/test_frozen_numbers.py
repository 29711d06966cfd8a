"""Numbers that must not move by accident. To move one on purpose, change golden.json in the commit that says why.

`python test/golden/test_frozen_numbers.py` prints the numbers of the code at hand.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).with_name("golden.json")


def room():
    """Return where the things of the demo's room stand: every trained memory and every figure depends on it."""
    from m3_ros.sim.layout import DEMO_SEED, build_room

    placed = build_room(DEMO_SEED, complete=True)
    return {p.name: [round(float(v), 4) for v in p.T_map_item[:3, 3]] for p in placed.items}


def rendering():
    """Return a row of a rendering, its alpha and its depth, from three fixed Gaussians."""
    from m3_ros.splat import render

    means = torch.tensor([[0.0, 0, 2], [0.3, 0.1, 3], [-0.4, 0, 2.5]])
    quats = torch.tensor([[1.0, 0, 0, 0], [0.9, 0.1, 0.3, 0], [0.7, 0, 0, 0.7]])
    scales = torch.tensor([[0.1, 0.2, 0.1], [0.3, 0.05, 0.1], [0.2, 0.2, 0.02]])
    features = torch.eye(3)
    K = torch.tensor([[[20.0, 0, 8], [0, 20, 6], [0, 0, 1]]])
    drawn = render(means, quats, scales, torch.tensor([0.9, 0.6, 0.3]), features, torch.eye(4)[None], K, 16, 12)
    rows = torch.cat([drawn.features[0, 6], drawn.alpha[0, 6, :, None], drawn.depth[0, 6, :, None]], dim=1)
    return [[round(v, 4) for v in row] for row in rows.tolist()]


def words():
    """Return how near words are to each other in the sentence space that every memory is asked in."""
    from m3_ros.features.sentence import embed_sentences

    e = embed_sentences(["sofa", "couch", "chair", "banana", "traffic cone"])
    return [[round(v, 3) for v in row] for row in (e @ e.T).tolist()]


def grain():
    """The noise under every texture: textures are part of what the encoder was trained on."""
    from m3_ros.sim.noise import noise

    points = np.stack(np.meshgrid([0.1, 0.7], [0.2, 1.3], [0.05]), axis=-1).reshape(-1, 3).astype(np.float32)
    return [round(float(v), 5) for v in noise(points, 0.3, 7)]


NUMBERS = {"room": (room, 1e-3), "rendering": (rendering, 2e-3), "words": (words, 5e-3), "noise": (grain, 1e-4)}


@pytest.mark.parametrize("name", NUMBERS)
def test_number_has_not_moved(name):
    compute, tolerance = NUMBERS[name]
    frozen, now = json.loads(GOLDEN.read_text())[name], compute()
    if isinstance(frozen, dict):
        assert list(now) == list(frozen)
        frozen, now = list(frozen.values()), list(now.values())
    np.testing.assert_allclose(np.array(now), np.array(frozen), atol=tolerance)


def test_the_demo_room_was_never_trained_on():
    from m3_ros.features.checkpoint import EMBEDDED_CHECKPOINT, read_checkpoint
    from m3_ros.sim.layout import DEMO_SEED

    _, card, _ = read_checkpoint(EMBEDDED_CHECKPOINT)
    low, high = min(card.room_seeds), max(card.room_seeds)
    assert not low <= DEMO_SEED <= high


if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: compute() for name, (compute, _) in NUMBERS.items()}, indent=1))
