from dataclasses import replace

import numpy as np
import pytest
import torch

from m3_ros.errors import Cancelled, TrainingError
from m3_ros.features.checkpoint import read_checkpoint, write_checkpoint
from m3_ros.features.encoder import FeatureMap, unit
from m3_ros.features.vision_transformer import VisionSettings
from m3_ros.sim.layout import DEMO_SEED
from m3_ros.training import encoder_step, encoder_training
from m3_ros.training.encoder_captions import Thing, build_captions
from m3_ros.training.encoder_crops import CropSettings, CropStream, camera_effects, clear, majority, make_crop
from m3_ros.training.encoder_data import (
    FIRST_TRAINING_SEED,
    RoomSettings,
    RoomViews,
    generate_rooms,
    read_room,
    room_seeds,
    write_room,
)
from m3_ros.training.encoder_loss import LossSettings, PhraseTargets, naming_loss, phrase_loss
from m3_ros.training.encoder_metrics import auroc, measure_encoder
from m3_ros.training.encoder_settings import EncoderTrainingSettings
from m3_ros.training.encoder_state import Start, alone_in, is_running, new_state
from m3_ros.training.encoder_step import read_targets, take_step
from m3_ros.training.encoder_training import train_encoder

NETWORK = VisionSettings(stem=(8, 8, 16), local_blocks=1, width=24, depth=1, heads=2, position_blocks=1, head_width=16)
COLOURS = {"floor": (120, 90, 60), "chair": (200, 30, 30), "mug": (30, 30, 200)}


def fake_room(seed, views=4):
    """A brown floor with a red chair and a blue mug."""
    rng = np.random.default_rng(seed)
    ids = np.ones((views, 96, 128), np.uint8)
    for view in ids:
        for thing, size in ((2, 40), (3, 24)):
            v, u = rng.integers(0, 96 - size), rng.integers(0, 128 - size)
            view[v : v + size, u : u + size] = thing
    palette = np.array([(0, 0, 0), *COLOURS.values()], np.uint8)
    return RoomViews(seed, palette[ids], ids, tuple(COLOURS), ((), ("red",), ("blue",)), ("", "office", "cup"))


@pytest.fixture
def folder(tmp_path):
    for seed in (FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 1):
        write_room(tmp_path / "train", fake_room(seed))
    for row, (seeds, _) in encoder_training.test_rows((1000,), RoomSettings()).items():
        write_room(tmp_path / row.replace(" ", "_"), fake_room(seeds[0], 2))
    return tmp_path


@pytest.fixture
def settings():
    return EncoderTrainingSettings(
        crops=40,
        cooldown=16,
        rooms=2,
        test_seeds=(1000,),
        network=NETWORK,
        crop=CropSettings(64, 48),
        batch=4,
        cells=64,
        threads=1,
        loader_processes=0,
    )


def test_a_short_training_writes_a_checkpoint_with_a_card(folder, settings):
    reports = []
    path = train_encoder(settings, folder, reports.append)
    _, card, _ = read_checkpoint(path)
    assert card.kinds == ("chair", "floor", "mug")
    assert card.room_seeds == (FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 1)
    assert card.images > 0
    for row in ("unseen rooms", "demo room"):
        assert 0 <= card.metrics[row]["patch_top1"].value <= 1
    assert {r.stage for r in reports} >= {"figures"}


def test_a_stopped_training_goes_on_from_its_state(folder, settings):
    with pytest.raises(Cancelled):
        train_encoder(replace(settings, crops=4000), folder, cancelled=lambda: True)
    images = torch.load(folder / "state.pt", weights_only=True)["images"]
    assert images == 25 * 2 * settings.batch
    path = train_encoder(replace(settings, crops=400), folder)
    assert read_checkpoint(path)[1].images == 400


def test_a_training_that_is_told_to_finish_cools_down_and_ends(folder, settings):
    (folder / "finish").touch()
    path = train_encoder(replace(settings, crops=100_000), folder)
    assert read_checkpoint(path)[1].images == settings.cooldown
    assert not (folder / "finish").exists()


def test_steps_are_full_until_the_cooldown_and_then_shrink_to_nothing(settings):
    state = new_state(settings.network, Start())
    state.step, paces = 1000, []
    for state.images in (0, 24, 32, 40):
        paces.append(encoder_training._progress(state, settings))
    assert paces == [(0, 1), (0.6, 1), (0.8, 0.5), (1, 0)]


def test_the_first_crops_are_smaller_and_twice_as_many(folder, settings):
    state, shapes = new_state(settings.network, Start()), []
    seeds = (FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 1)
    for batch in encoder_training._batches(state, folder / "train", seeds, replace(settings, small_share=0.625)):
        shapes.append(tuple(batch.images.shape[:3]))
        state.images += len(batch.images)
        if state.images >= settings.crops:
            break
    assert shapes == [(8, 32, 32)] * 4 + [(4, 48, 64)] * 2
    smaller = CropSettings().smaller()
    assert (smaller.width, smaller.height) == (128, 96)
    assert (smaller.smallest, smaller.largest) == pytest.approx((0.1, 0.7), abs=0.01)


def test_a_gpu_that_is_not_there_is_refused_at_once(folder, settings, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="needs a GPU"):
        train_encoder(replace(settings, device="cuda"), folder)
    assert not (folder / "state.pt").exists()


def test_targets_and_batches_move_to_a_device(folder, settings):
    """The meta device stands in for a GPU: what is not moved shows as a tensor elsewhere."""
    seeds, meta = (FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 1), torch.device("meta")
    targets = read_targets(folder / "train", seeds, settings).to(meta)
    parts = [*vars(targets).values(), *vars(targets.phrases).values()]
    assert {part.device for part in parts if isinstance(part, torch.Tensor)} == {meta} == {targets.device}
    batch = next(iter(CropStream(folder / "train", seeds, 2, 0, settings.crop))).to(meta)
    assert {part.device for part in vars(batch).values()} == {meta}


def test_two_trainings_do_not_share_a_folder(folder, settings):
    with alone_in(folder):
        assert is_running(folder)
        with pytest.raises(TrainingError, match="another training"):
            train_encoder(settings, folder)
    assert not is_running(folder)


def test_a_training_starts_from_a_checkpoint_of_its_own_sizes_only(tmp_path, settings):
    path, state = tmp_path / "e.safetensors", new_state(settings.network, Start(3))
    card = encoder_training.EncoderCard(NETWORK, (), (), (0, 0), 0, 0, 0, "")
    write_checkpoint(path, state.network, card)
    again = new_state(settings.network, Start(checkpoint=path))
    assert torch.allclose(again.network.head.weight, state.network.head.weight, atol=1e-3)
    with pytest.raises(TrainingError, match="sizes"):
        new_state(VisionSettings(), Start(checkpoint=path))


def test_kinds_that_are_named_wrong_are_drawn_more_often(folder, settings):
    seeds = (FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 1)
    targets = read_targets(folder / "train", seeds, settings)
    state = new_state(settings.network, Start())
    before = encoder_step._odds(state, targets)
    chair = targets.kinds.index("chair")
    for _ in range(50):
        encoder_step._remember_skill(state, targets, torch.full((8,), chair), torch.ones(8))
    after = encoder_step._odds(state, targets)
    assert (after < 0.7 * before).tolist() == [False, True, False] * 2


def test_a_broken_state_is_refused(folder, settings):
    (folder / "state.pt").write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match="delete it"):
        train_encoder(settings, folder)


def test_the_demo_room_is_no_training_room():
    assert DEMO_SEED < FIRST_TRAINING_SEED


def test_test_rooms_are_never_trained_on(folder, settings):
    with pytest.raises(TrainingError, match="seeds"):
        train_encoder(replace(settings, first_seed=1000), folder)


def test_steps_lower_the_loss(folder, settings):
    torch.manual_seed(0)
    seeds = (FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 1)
    targets = read_targets(folder / "train", seeds, settings)
    state = new_state(settings.network, Start(learning_rate=0.02))
    batch = next(iter(CropStream(folder / "train", seeds, 8, 0, settings.crop)))
    losses = [take_step(state, targets, batch, 1.0, settings)[0] for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.7 * losses[0]


def test_cells_of_nothing_count_nothing(folder, settings):
    batch = next(iter(CropStream(folder / "train", (FIRST_TRAINING_SEED,), 4, 0, settings.crop)))
    batch.instances[:, 0] = -1
    instances, weight = encoder_step._labelled(batch, torch.ones(6))
    assert (weight[instances < 0] == 0).all()
    assert (weight > 0).any()


def test_outlines_count_nothing_when_all_are_named():
    assert clear(torch.tensor([0.3, 0.4, 0.5, 0.6, 1.0])).tolist() == pytest.approx([0, 0, 0.5, 1, 1])


def test_backgrounds_are_known_as_such(folder, settings):
    targets = read_targets(folder / "train", (FIRST_TRAINING_SEED,), settings)
    known = dict(zip(targets.kinds, targets.background.tolist(), strict=True))
    assert known["floor"]
    assert not known["chair"]
    assert settings.background_naming < 1


def test_rooms_on_disk_read_back_and_broken_ones_are_named(folder):
    stored = read_room(folder / "train", FIRST_TRAINING_SEED)
    fresh = fake_room(FIRST_TRAINING_SEED)
    assert (stored.rgb == fresh.rgb).all()
    assert stored.words == fresh.words
    (folder / "train" / f"room_{FIRST_TRAINING_SEED:06d}" / "ids.npy").write_bytes(b"")
    with pytest.raises(TrainingError, match="delete it"):
        read_room(folder / "train", FIRST_TRAINING_SEED)


def test_finished_rooms_are_not_rendered_again_and_settings_do_not_mix(folder, monkeypatch):
    rendered = []
    monkeypatch.setattr(
        "m3_ros.training.encoder_data.render_room", lambda seed, _: rendered.append(seed) or fake_room(seed)
    )
    seeds = range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 3)
    assert generate_rooms(folder / "train", seeds, processes=1) == tuple(seeds)
    assert rendered == [FIRST_TRAINING_SEED + 2]
    assert room_seeds(folder / "train") == tuple(seeds)
    with pytest.raises(TrainingError, match="other settings"):
        generate_rooms(folder / "train", seeds, RoomSettings(views=3), processes=1)


def test_captions_tell_right_from_wrong_and_leave_the_rest_open():
    red, blue, mug = Thing("chair", ("red",)), Thing("chair", ("blue", "striped")), Thing("mug", ("green",))
    captions = build_captions([red, blue, mug, red], ("bicycle", "armchair"))
    column = {phrase: i for i, phrase in enumerate(captions.phrases)}
    assert captions.things == (red, blue, mug)
    assert torch.allclose(captions.right.sum(1), torch.ones(3))
    assert captions.right[0, column["red chair"]] > 0
    assert captions.wrong[1, column["red chair"]]
    assert captions.right[0, column["striped chair"]] == 0
    assert not captions.wrong[0, column["striped chair"]]
    assert captions.wrong[2, column["chair"]]
    assert captions.wrong[:, column["bicycle"]].all()
    assert "armchair" not in column


def test_the_loss_is_lower_for_the_right_phrase():
    captions = build_captions([Thing("chair"), Thing("mug")], ("bicycle",))
    vectors = unit(torch.randn(len(captions.texts()), 32, generator=torch.Generator().manual_seed(0)))
    split = len(captions.phrases)
    kinds = torch.tensor([0, 1])
    names = vectors[[captions.phrases.index(name) for name in ("chair", "mug")]]
    targets = PhraseTargets.of(vectors[:split], vectors[split:], names, captions.right, captions.wrong, kinds)
    settings = LossSettings(hardest=2)
    good, bad = (phrase_loss(targets.middle, k, targets, settings) for k in (kinds, kinds.flip(0)))
    assert good < 0.5 * bad
    even = torch.ones(2)
    good, named = naming_loss(targets.middle, kinds, even, targets, settings)
    bad, misnamed = naming_loss(targets.middle, kinds.flip(0), even, targets, settings)
    assert good < 0.5 * bad
    assert named.tolist() == [True, True]
    assert misnamed.tolist() == [False, False]


def test_majority_names_the_most_frequent_id_and_its_share():
    ids = np.zeros((16, 16), np.uint8)
    ids[:8, :6] = 7
    cells, share = majority(ids, 8)
    assert cells.tolist() == [[7, 0], [0, 0]]
    assert share.tolist() == [[0.75, 1.0], [1.0, 1.0]]


def test_crops_keep_picture_and_labels_together():
    rng, room = np.random.default_rng(0), fake_room(5)
    plain = CropSettings(64, 48, blur=0, jpeg=0, noise=0)
    for _ in range(10):
        image, cells, coverage = make_crop(rng, room.rgb[0], room.ids[0], plain)
        assert (image.shape, cells.shape) == ((48, 64, 3), (6, 8))
        middles = image[4::8, 4::8].astype(int)
        chair, mug = (cells == 2) & (coverage == 1), (cells == 3) & (coverage == 1)
        assert (middles[chair][:, 0] > middles[chair][:, 2]).all()
        assert (middles[mug][:, 2] > middles[mug][:, 0]).all()


def test_camera_effects_keep_size_and_type():
    image = fake_room(1).rgb[0]
    for seed in range(20):
        out = camera_effects(np.random.default_rng(seed), image, CropSettings(blur=1, jpeg=1))
        assert (out.shape, out.dtype) == (image.shape, np.uint8)


def test_the_same_seed_gives_the_same_crops(folder, settings):
    first, second = (
        next(iter(CropStream(folder / "train", (FIRST_TRAINING_SEED,), 3, 4, settings.crop))) for _ in "ab"
    )
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.instances, second.instances)


class PaletteEncoder:
    """Sees the fake rooms perfectly, or (blind) not at all."""

    name, version, dim, background_phrases, known_names = "palette", "1", 4, (), ()

    def __init__(self, blind=False):
        self.blind = blind

    def encode_image(self, rgb):
        H, W = rgb.shape[:2]
        cells = rgb[4::8, 4::8].astype(int)
        vectors = torch.zeros(*cells.shape[:2], 4)
        for i, colour in enumerate(COLOURS.values()):
            vectors[torch.from_numpy((cells == colour).all(-1))] = torch.eye(4)[i]
        return FeatureMap(vectors * (0 if self.blind else 1), torch.ones(cells.shape[:2], dtype=torch.bool), (W, H))

    def encode_text(self, texts):
        rows = [list(COLOURS).index(t) if t in COLOURS else 3 for t in texts]
        return torch.eye(4)[rows]


def test_a_perfect_encoder_measures_perfectly_and_a_blind_one_does_not():
    rooms = [fake_room(1), fake_room(2)]
    perfect, blind = (measure_encoder(PaletteEncoder(b), rooms) for b in (False, True))
    for name in ("patch_top1", "patch_top1_objects", "localisation", "auroc_foreign"):
        assert perfect[name].value > 0.99, name
        assert perfect[name].count > 0
    assert perfect["miou"].value > 0.7  # outlines lie within cells
    assert perfect["localisation_colours"].count == 0
    assert blind["auroc_foreign"].value == 0.5
    assert blind["patch_top1"].value < 0.5


def test_auroc_counts_ties_half():
    assert auroc([2, 3], [0, 1]) == 1.0
    assert auroc([1], [1]) == 0.5
    assert auroc([0, 2], [1]) == 0.5
    assert np.isnan(auroc([], [1]))


def test_the_network_fits_the_wheel(tmp_path, settings):
    state = new_state(VisionSettings(), Start())
    card = encoder_training.EncoderCard(VisionSettings(), (), (), (0, 0), 0, 0, 0, "")
    write_checkpoint(tmp_path / "e.safetensors", state.network, card)
    assert (tmp_path / "e.safetensors").stat().st_size < 10e6
