"""Train the embedded encoder: rooms, then contrast of patches and phrases, then figures and a card."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import torch

from m3_ros.errors import Cancelled, TrainingError
from m3_ros.features.checkpoint import EncoderCard, Measurement, read_checkpoint, write_checkpoint
from m3_ros.features.vocabulary import BACKGROUND_PHRASES
from m3_ros.training.device import choose_device
from m3_ros.training.encoder_crops import CropBatch, CropStream, crop_loader
from m3_ros.training.encoder_data import FIRST_TRAINING_SEED, RoomSettings, generate_rooms, read_room
from m3_ros.training.encoder_metrics import measure_rooms
from m3_ros.training.encoder_settings import LEFT_OUT, EncoderTrainingSettings
from m3_ros.training.encoder_state import FINISH, TrainingState, alone_in, load_state, new_state, save_state
from m3_ros.training.encoder_step import Targets, read_targets, take_step
from m3_ros.training.progress import CancelCheck, never_cancelled

log = logging.getLogger(__name__)

UNSEEN = "unseen rooms"
"""The row of figures that counts: rooms of the test seeds, with all that training left in."""

LIMITS = (
    "Knows the kinds of household things listed here as the simulated world draws them, by their names and near "
    "synonyms. It is no open vocabulary: other words, other shapes and real photographs were not trained. The rooms of "
    "its figures draw their shapes from the generators of its training rooms. Things smaller than about 15 pixels and "
    "thin parts such as legs and poles are often missed, and things of similar form taken for each other."
)
"""What the encoder is not, for its card."""


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

    The averaged weights are written as a checkpoint every now and then. A file called `finish` in the folder lets the
    steps shrink from there on, and the training ends `cooldown` crops later.

    Raises:
        TrainingError: the seeds of training and test overlap, no room can be generated, the folder is in use, or there
            is no GPU where one was asked for.
        EncoderError: the checkpoint to start from cannot be read.
        Cancelled: `cancelled` said so; the folder keeps what is needed to go on.
    """
    seeds = tuple(range(settings.first_seed, settings.first_seed + settings.rooms))
    if settings.first_seed < FIRST_TRAINING_SEED or set(seeds) & set(settings.test_seeds):
        raise TrainingError(
            f"training rooms have seeds from {FIRST_TRAINING_SEED} on, others are for tests; got {settings.first_seed}"
        )
    device = choose_device(settings.device)
    torch.set_num_threads(settings.threads)
    with alone_in(directory):
        seeds = generate_rooms(
            directory / "train", seeds, settings.room, settings.threads, lambda f: progress(EncoderProgress("rooms", f))
        )
        path = _train(settings, directory, seeds, device, progress, cancelled)
        measure_checkpoint(path, directory, settings, progress)
    return path


def _train(
    settings: EncoderTrainingSettings,
    directory: Path,
    seeds: tuple[int, ...],
    device: torch.device,
    progress: ProgressHook,
    cancelled: CancelCheck,
) -> Path:
    targets = read_targets(directory / "train", seeds, settings).to(device)
    fresh = new_state(settings.network, settings.start, device)
    state = load_state(directory / "state.pt", fresh)
    path, saved = directory / "embedded.safetensors", state.step

    def save() -> None:
        save_state(directory / "state.pt", state)
        write_checkpoint(path, state.average, _card(state, targets, seeds, settings))

    for report in _optimise(state, targets, directory, seeds, settings):
        progress(report)
        if cancelled():
            save_state(directory / "state.pt", state)
            raise Cancelled("the training of the encoder was stopped; run it again in the same folder to go on")
        if state.step - saved >= settings.save_every:
            saved = state.step
            save()
    save()
    (directory / FINISH).unlink(missing_ok=True)
    return path


def measure_checkpoint(
    path: Path, directory: Path, settings: EncoderTrainingSettings, progress: ProgressHook = log_progress
) -> dict[str, dict[str, Measurement]]:
    """Measure a checkpoint on rooms it was not trained on and, by itself, the demo's; put the figures into its card.

    Raises:
        EncoderError: the checkpoint cannot be read.
        TrainingError: the rooms cannot be generated.
    """
    network, card, _ = read_checkpoint(path)
    figures = {}
    rows = test_rows(settings.test_seeds, replace(settings.room, views=settings.test_views))
    for done, (row, (seeds, room)) in enumerate(rows.items(), 1):
        folder = directory / row.replace(" ", "_")
        ready = generate_rooms(folder, seeds, room, settings.threads)
        figures[row] = measure_rooms(path, [read_room(folder, seed) for seed in ready])
        progress(EncoderProgress("figures", done / len(rows)))
    write_checkpoint(path, network, replace(card, metrics=figures))
    return figures


def test_rows(seeds: tuple[int, ...], room: RoomSettings) -> dict[str, tuple[tuple[int, ...], RoomSettings]]:
    """Return the rooms of each row of figures: unseen ones, the demo's, and ones with only the shapes left out."""
    from m3_ros.sim.kinds import KINDS
    from m3_ros.sim.layout import DEMO_SEED

    kinds = {name.partition("/")[0] for name in LEFT_OUT}
    shapes = tuple(f"{kind}/{shape}" for kind in sorted(kinds) for shape in dict.fromkeys(KINDS[kind].shapes))
    return {
        UNSEEN: (seeds, replace(room, left_out=LEFT_OUT)),
        "demo room": ((DEMO_SEED,), replace(room, complete=True, left_out=())),
        f"unseen shape {' '.join(LEFT_OUT)}".replace("/", " "): (
            seeds,
            replace(room, left_out=tuple(shape for shape in shapes if shape not in LEFT_OUT)),
        ),
    }


def _card(
    state: TrainingState, targets: Targets, seeds: tuple[int, ...], settings: EncoderTrainingSettings
) -> EncoderCard:
    return EncoderCard(
        settings.network,
        tuple(sorted(targets.kinds)),
        BACKGROUND_PHRASES,
        (min(seeds), max(seeds)),
        len(seeds),
        state.images,
        settings.start.seed,
        LIMITS,
        started_from=settings.start.checkpoint.name if settings.start.checkpoint else "",
        left_out=settings.room.left_out,
    )


def _optimise(
    state: TrainingState, targets: Targets, directory: Path, seeds: tuple[int, ...], settings: EncoderTrainingSettings
) -> Iterator[EncoderProgress]:
    """Take steps to the end; yields a report every now and then."""
    start, first = monotonic(), state.images
    sums: list[tuple[float, float]] = []
    for batch in _batches(state, directory / "train", seeds, settings):
        if state.cooling_from is None and (directory / FINISH).exists():
            state.cooling_from = state.images
        share, pace = _progress(state, settings)
        if share >= 1:
            return
        sums.append(take_step(state, targets, batch, pace, settings))
        if len(sums) >= 25:
            loss, accuracy = torch.tensor(sums).mean(dim=0).tolist()
            rate = (state.images - first) / (monotonic() - start)
            yield EncoderProgress("training", share, loss, accuracy, rate)
            sums.clear()


def _batches(
    state: TrainingState, directory: Path, seeds: tuple[int, ...], settings: EncoderTrainingSettings
) -> Iterator[CropBatch]:
    """Yield batches without end: of small crops at first, of whole ones later."""

    def starting() -> bool:
        return state.images < settings.small_share * settings.crops and state.cooling_from is None

    stages = (settings.crop.smaller(), 2 * settings.batch, starting), (settings.crop, settings.batch, lambda: True)
    for crop, count, wanted in stages:
        if not wanted():
            continue
        crops = CropStream(directory, seeds, count, settings.start.seed + 7919 * state.step, crop)
        for batch in crop_loader(crops, settings.loader_processes):
            yield batch
            if not wanted():
                break


def _progress(state: TrainingState, settings: EncoderTrainingSettings) -> tuple[float, float]:
    """Return the share of the training that is done, and the size of the next step as a share of the largest."""
    cooldown = min(settings.cooldown, settings.crops)
    turn = settings.crops - cooldown if state.cooling_from is None else state.cooling_from
    warm = min(1.0, (state.step + 1) / 150)
    return state.images / max(turn + cooldown, 1), warm * min(1.0, 1 - (state.images - turn) / max(cooldown, 1))
