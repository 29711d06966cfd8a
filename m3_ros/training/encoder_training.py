"""Train the embedded encoder: rooms, then contrast of patches and phrases for a given time, then figures and a card."""

import copy
import logging
import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from m3_ros.errors import Cancelled, TrainingError
from m3_ros.features.checkpoint import EncoderCard, Measurement, read_checkpoint, write_checkpoint
from m3_ros.features.sentence import embed_sentences
from m3_ros.features.vision_transformer import VisionSettings, VisionTransformer, normalise, prefers_bf16
from m3_ros.features.vocabulary import BACKGROUND_KINDS, BACKGROUND_PHRASES
from m3_ros.training.encoder_captions import Captions, Thing, build_captions
from m3_ros.training.encoder_crops import CropBatch, CropSettings, CropStream
from m3_ros.training.encoder_data import FIRST_TRAINING_SEED, RoomSettings, generate_rooms, read_room
from m3_ros.training.encoder_loss import LossSettings, PhraseTargets, phrase_loss
from m3_ros.training.encoder_metrics import measure_rooms
from m3_ros.training.progress import CancelCheck, never_cancelled

log = logging.getLogger(__name__)

LIMITS = (
    "Knows the kinds of household things listed here as the simulated world draws them, by their names and near "
    "synonyms. It is no open vocabulary: other words, other shapes and real photographs were not trained. The rooms of "
    "its figures draw their shapes from the generators of its training rooms. Things smaller than about 15 pixels, "
    "thin parts such as legs and poles, and chairs, lamps and cushions from afar are often missed."
)
"""What the encoder is not, for its card."""


@dataclass(frozen=True)
class EncoderTrainingSettings:
    """How long and on what the embedded encoder is trained."""

    seconds: float = 3000.0
    """Time for the optimisation [s]; rooms and figures come on top."""
    rooms: int = 300
    """Number of generated rooms."""
    first_seed: int = FIRST_TRAINING_SEED
    """Seed of the first room; the others follow."""
    test_seeds: tuple[int, ...] = (1000, 1001, 1002, 1003, 1004)
    """Rooms for the figures, never trained on."""
    test_views: int = 40
    """Pictures of each test room."""
    room: RoomSettings = field(default_factory=RoomSettings)
    """What the rooms look like."""
    crop: CropSettings = field(default_factory=CropSettings)
    """What the crops look like."""
    network: VisionSettings = field(default_factory=VisionSettings)
    """Sizes of the network."""
    loss: LossSettings = field(default_factory=LossSettings)
    """Weights of the loss."""
    batch: int = 12
    """Crops per step: few, since steps are what a short training lacks."""
    cells: int = 1024
    """Patches per step, drawn so that small and rare things get their share."""
    learning_rate: float = 1.2e-3
    """Largest step of AdamW."""
    background_weight: float = 0.3
    """Odds of floor, wall and ceiling against things."""
    threads: int = 2
    """CPU threads."""
    loader_processes: int = 1
    """Processes that cut crops; 0: in this one."""
    save_every_s: float = 180.0
    """Time between saved states [s]; an interrupted training goes on from there."""
    seed: int = 0
    """Seed of weights and crops."""


@dataclass(frozen=True)
class EncoderProgress:
    """One report of a running encoder training."""

    stage: str
    """rooms, training or figures."""
    fraction: float
    """Share of this stage that is done."""
    loss: float = float("nan")
    """Mean loss since the last report."""
    accuracy: float = float("nan")
    """Share of the drawn patches whose best phrase fits, since the last report."""
    images_per_s: float = float("nan")
    """Crops per second since the start of this run."""


ProgressHook = Callable[[EncoderProgress], None]


def log_progress(report: EncoderProgress) -> None:
    """Write a report to the log."""
    log.info(
        "%s %.1f %% loss %.3f accuracy %.3f %.1f img/s",
        report.stage, 100 * report.fraction, report.loss, report.accuracy, report.images_per_s,
    )  # fmt: skip


@dataclass
class _State:
    """What an interrupted training needs; changes in place."""

    network: VisionTransformer
    average: VisionTransformer
    optimiser: torch.optim.Optimizer
    step: int = 0
    images: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Targets:
    """Captions as tensors, by instance."""

    phrases: PhraseTargets
    captions: Captions
    thing_of_instance: Int[Tensor, " instances"]
    odds_of_instance: Float[Tensor, " instances"]


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Take denormals for zero: gradients of the contrast underflow, and denormals are slow."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_without_denormals()
def train_encoder(
    settings: EncoderTrainingSettings,
    directory: Path,
    progress: ProgressHook = log_progress,
    cancelled: CancelCheck = never_cancelled,
) -> Path:
    """Train in a folder, which keeps rooms and state; returns the checkpoint with its card.

    Raises:
        TrainingError: the seeds of training and test overlap, or no room can be generated.
        Cancelled: `cancelled` said so; the folder keeps what is needed to go on.
    """
    seeds = tuple(range(settings.first_seed, settings.first_seed + settings.rooms))
    if settings.first_seed < FIRST_TRAINING_SEED or set(seeds) & set(settings.test_seeds):
        raise TrainingError(
            f"training rooms have seeds from {FIRST_TRAINING_SEED} on, others are for tests; got {settings.first_seed}"
        )
    torch.set_num_threads(settings.threads)
    seeds = generate_rooms(
        directory / "train", seeds, settings.room, settings.threads, lambda f: progress(EncoderProgress("rooms", f))
    )
    targets = _targets(directory / "train", seeds, settings)
    state = _load_state(directory / "state.pt", settings)
    path, saved = directory / "embedded.safetensors", state.seconds
    for report in _optimise(state, targets, directory / "train", seeds, settings):
        progress(report)
        if cancelled():
            _save_state(directory / "state.pt", state)
            raise Cancelled("the training of the encoder was stopped; run it again in the same folder to go on")
        if state.seconds - saved >= settings.save_every_s:
            saved = state.seconds
            _save_state(directory / "state.pt", state)
            write_checkpoint(path, state.average, _card(state, targets, seeds, settings))
    _save_state(directory / "state.pt", state)
    write_checkpoint(path, state.average, _card(state, targets, seeds, settings))
    measure_checkpoint(path, directory, settings, progress)
    return path


def measure_checkpoint(
    path: Path, directory: Path, settings: EncoderTrainingSettings, progress: ProgressHook = log_progress
) -> dict[str, dict[str, Measurement]]:
    """Measure a checkpoint on rooms it was not trained on and, by itself, the demo's; put the figures into its card.

    Raises:
        EncoderError: the checkpoint cannot be read.
        TrainingError: the rooms cannot be generated.
    """
    from m3_ros.sim.layout import DEMO_SEED

    network, card, _ = read_checkpoint(path)
    views = replace(settings.room, views=settings.test_views)
    rows = {
        "unseen rooms": (directory / "test", settings.test_seeds, views),
        "demo room": (directory / "demo", (DEMO_SEED,), replace(views, complete=True)),
    }
    figures = {}
    for done, (row, (folder, seeds, room)) in enumerate(rows.items(), 1):
        ready = generate_rooms(folder, seeds, room, settings.threads)
        figures[row] = measure_rooms(path, [read_room(folder, seed) for seed in ready])
        progress(EncoderProgress("figures", done / len(rows)))
    write_checkpoint(path, network, replace(card, metrics=figures))
    return figures


def _card(state: _State, targets: _Targets, seeds: tuple[int, ...], settings: EncoderTrainingSettings) -> EncoderCard:
    kinds = tuple(sorted({thing.kind for thing in targets.captions.things}))
    return EncoderCard(
        settings.network,
        kinds,
        BACKGROUND_PHRASES,
        (min(seeds), max(seeds)),
        len(seeds),
        state.images,
        settings.seed,
        LIMITS,
    )


def _targets(directory: Path, seeds: tuple[int, ...], settings: EncoderTrainingSettings) -> _Targets:
    """Read what is in the rooms and embed all phrases for it."""
    rooms = [read_room(directory, seed) for seed in seeds]
    things = [Thing(k, w) for room in rooms for k, w in zip(room.kinds, room.words, strict=True)]
    captions = build_captions(things)
    number = {thing: i for i, thing in enumerate(captions.things)}
    kinds = [thing.kind for thing in things]
    frequency = {kind: kinds.count(kind) for kind in set(kinds)}
    odds = [
        (len(rooms) / frequency[k]) ** 0.35 * (settings.background_weight if k in BACKGROUND_KINDS else 1.0)
        for k in kinds
    ]
    vectors = embed_sentences(captions.texts())
    split = len(captions.phrases)
    log.info("%d rooms, %d things, %d phrases", len(rooms), len(captions.things), split)
    phrases = PhraseTargets.of(vectors[:split], vectors[split:], captions.right, captions.wrong)
    return _Targets(phrases, captions, torch.tensor([number[t] for t in things]), torch.tensor(odds))


def _optimise(
    state: _State, targets: _Targets, directory: Path, seeds: tuple[int, ...], settings: EncoderTrainingSettings
) -> Iterator[EncoderProgress]:
    """Take steps until the time is up; yields a report every now and then."""
    crops = CropStream(directory, seeds, settings.batch, settings.seed + 7919 * state.step, settings.crop)
    workers = settings.loader_processes
    loader = DataLoader(
        crops,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="spawn" if workers else None,
    )
    start, before, first = time.monotonic(), state.seconds, state.images
    sums: list[tuple[float, float]] = []
    for batch in loader:
        state.seconds = before + time.monotonic() - start
        share = state.seconds / settings.seconds
        if share >= 1:
            return
        sums.append(_step(state, targets, batch, share, settings))
        if len(sums) >= 25:
            loss, accuracy = torch.tensor(sums).mean(dim=0).tolist()
            rate = (state.images - first) / (time.monotonic() - start)
            yield EncoderProgress("training", share, loss, accuracy, rate)
            sums.clear()


def _step(
    state: _State, targets: _Targets, batch: CropBatch, share: float, settings: EncoderTrainingSettings
) -> tuple[float, float]:
    """Take one step; returns loss and accuracy."""
    warm = min(1.0, (state.step + 1) / 150)
    for group in state.optimiser.param_groups:
        group["lr"] = (
            settings.learning_rate * warm * (0.5 + 0.5 * float(torch.cos(torch.tensor(torch.pi * share))) + 0.005)
        )
    state.network.train()
    cells = _draw_cells(batch, targets.odds_of_instance, settings.cells)
    with torch.autocast("cpu", torch.bfloat16, enabled=prefers_bf16()):
        seen = state.network.features(normalise(batch.images.permute(0, 3, 1, 2)))
        vectors = state.network.head(seen.flatten(0, 2)[cells])
    vectors = functional.normalize(vectors.float(), dim=-1)
    thing = targets.thing_of_instance[batch.instances.flatten()[cells]]
    loss = phrase_loss(vectors, thing, targets.phrases, settings.loss)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
    state.optimiser.step()
    state.step += 1
    state.images += len(batch.images)
    _average(state)
    return float(loss.detach()), _accuracy(vectors.detach()[:256], thing[:256], targets.phrases)


def _draw_cells(batch: CropBatch, odds: Float[Tensor, " instances"], count: int) -> Int[Tensor, " n"]:
    """Draw cells: each instance of a picture by the root of its size, rare kinds more, cells on outlines less."""
    instances = batch.instances.flatten().long()
    picture = torch.arange(len(batch.images)).repeat_interleave(batch.instances[0].numel())
    keys = picture * (len(odds) + 1) + instances + 1
    _, inverse, sizes = torch.unique(keys, return_inverse=True, return_counts=True)
    weight = ((batch.coverage.flatten() - 0.4) / 0.5).clamp(0, 1) * sizes[inverse].float() ** -0.5
    weight = weight * odds[instances.clamp(min=0)] * (instances >= 0)
    return torch.multinomial(weight, min(count, int((weight > 0).sum())))


def _accuracy(vectors: Float[Tensor, "n D"], thing: Int[Tensor, " n"], targets: PhraseTargets) -> float:
    """Return the share of vectors whose best decided phrase fits."""
    right, penalty = targets.right[thing], targets.penalty[thing]
    similarity = (vectors @ targets.phrases.T).masked_fill((right == 0) & (penalty < 0), -1.0)
    return float((right.gather(1, similarity.argmax(dim=1, keepdim=True)) > 0).float().mean())


@torch.no_grad()
def _average(state: _State) -> None:
    """Let the averaged network follow the trained one."""
    keep = min(0.998, (1 + state.step) / (20 + state.step))
    ours, theirs = state.average.state_dict(), state.network.state_dict()
    names = [n for n, v in ours.items() if v.is_floating_point()]
    torch._foreach_lerp_([ours[n] for n in names], [theirs[n] for n in names], 1 - keep)


def _new_state(settings: EncoderTrainingSettings) -> _State:
    torch.manual_seed(settings.seed)
    network = VisionTransformer(settings.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": 0.05},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), fused=True)
    return _State(network, copy.deepcopy(network).eval(), optimiser)


def _save_state(path: Path, state: _State) -> None:
    """Write the state in one step."""
    parts = {
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "step": state.step,
        "images": state.images,
        "seconds": state.seconds,
    }
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    try:
        torch.save(parts, temporary)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _load_state(path: Path, settings: EncoderTrainingSettings) -> _State:
    """Go on from a saved state, or start anew where there is none."""
    state = _new_state(settings)
    if not path.exists():
        return state
    try:
        parts = torch.load(path, weights_only=True)
        state.network.load_state_dict(parts["network"])
        state.average.load_state_dict(parts["average"])
        state.optimiser.load_state_dict(parts["optimiser"])
        state.step, state.images, state.seconds = int(parts["step"]), int(parts["images"]), float(parts["seconds"])
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"the saved training {path} is broken or of other settings ({error}): delete it to start anew"
        ) from error
    return state
