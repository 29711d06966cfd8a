"""Train the embedded encoder: rooms, then contrast of patches and phrases, then figures and a card."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from m3_ros.errors import Cancelled, TrainingError
from m3_ros.features.checkpoint import EncoderCard, Measurement, read_checkpoint, write_checkpoint
from m3_ros.features.sentence import embed_sentences
from m3_ros.features.vision_transformer import VisionSettings, normalise, prefers_bf16
from m3_ros.features.vocabulary import BACKGROUND_KINDS, BACKGROUND_PHRASES, plain_name
from m3_ros.training.encoder_captions import Captions, Thing, build_captions
from m3_ros.training.encoder_crops import CropBatch, CropSettings, CropStream, clear, crop_loader
from m3_ros.training.encoder_data import FIRST_TRAINING_SEED, RoomSettings, generate_rooms, read_room
from m3_ros.training.encoder_loss import LossSettings, PhraseTargets, naming_loss, phrase_loss
from m3_ros.training.encoder_metrics import measure_rooms
from m3_ros.training.encoder_state import FINISH, Start, TrainingState, alone_in, load_state, new_state, save_state
from m3_ros.training.progress import CancelCheck, never_cancelled

log = logging.getLogger(__name__)

LEFT_OUT = ("armchair/tub",)
"""Shapes kept out of training: they measure what a shape never seen is worth."""

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
class EncoderTrainingSettings:
    """How long and on what the embedded encoder is trained."""

    crops: int = 48_000
    """Crops to learn from: what a training is long by, whatever else the machine does meanwhile."""
    cooldown: int = 24_000
    """The last crops, over which the steps shrink to nothing."""
    small_share: float = 0.5
    """Share of the crops, the first ones, that are three quarters as wide and high: they teach nearly as much in two
    thirds of the time."""
    rooms: int = 260
    """Number of generated rooms."""
    first_seed: int = FIRST_TRAINING_SEED
    """Seed of the first room; the others follow."""
    test_seeds: tuple[int, ...] = tuple(range(1000, 1010))
    """Rooms for the figures, never trained on."""
    test_views: int = 40
    """Pictures of each test room."""
    room: RoomSettings = field(default_factory=lambda: RoomSettings(left_out=LEFT_OUT))
    """What the rooms look like."""
    start: Start = field(default_factory=Start)
    """First weights and largest steps."""
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
    background_weight: float = 0.3
    """Odds of floor, wall and ceiling against things, when patches are drawn."""
    background_naming: float = 0.4
    """What a patch of floor, wall or ceiling counts when all are named. Far less than a thing's would teach the network
    to name a wardrobe wherever a wall shows little."""
    threads: int = 2
    """CPU threads."""
    loader_processes: int = 1
    """Processes that cut crops; 0: in this one."""
    save_every: int = 300
    """Steps between saved states; an interrupted training goes on from there."""


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


@dataclass(frozen=True)
class _Targets:
    """Captions as tensors, by instance."""

    phrases: PhraseTargets
    captions: Captions
    kinds: tuple[str, ...]
    thing_of_instance: Int[Tensor, " instances"]
    odds_of_instance: Float[Tensor, " instances"]
    naming_of_kind: Float[Tensor, " k"]
    """What a patch of each kind counts when all are named."""


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
        TrainingError: the seeds of training and test overlap, no room can be generated, or the folder is in use.
        EncoderError: the checkpoint to start from cannot be read.
        Cancelled: `cancelled` said so; the folder keeps what is needed to go on.
    """
    seeds = tuple(range(settings.first_seed, settings.first_seed + settings.rooms))
    if settings.first_seed < FIRST_TRAINING_SEED or set(seeds) & set(settings.test_seeds):
        raise TrainingError(
            f"training rooms have seeds from {FIRST_TRAINING_SEED} on, others are for tests; got {settings.first_seed}"
        )
    torch.set_num_threads(settings.threads)
    with alone_in(directory):
        seeds = generate_rooms(
            directory / "train", seeds, settings.room, settings.threads, lambda f: progress(EncoderProgress("rooms", f))
        )
        path = _train(settings, directory, seeds, progress, cancelled)
        measure_checkpoint(path, directory, settings, progress)
    return path


def _train(
    settings: EncoderTrainingSettings,
    directory: Path,
    seeds: tuple[int, ...],
    progress: ProgressHook,
    cancelled: CancelCheck,
) -> Path:
    targets = _targets(directory / "train", seeds, settings)
    fresh = new_state(settings.network, settings.start)
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
    state: TrainingState, targets: _Targets, seeds: tuple[int, ...], settings: EncoderTrainingSettings
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


def _targets(directory: Path, seeds: tuple[int, ...], settings: EncoderTrainingSettings) -> _Targets:
    """Read what is in the rooms and embed all phrases for it."""
    rooms = [read_room(directory, seed) for seed in seeds]
    things = [Thing(k, w) for room in rooms for k, w in zip(room.kinds, room.words, strict=True)]
    captions = build_captions(things)
    number = {thing: i for i, thing in enumerate(captions.things)}
    frequency: dict[str, int] = {}
    for thing in things:
        frequency[thing.kind] = frequency.get(thing.kind, 0) + 1
    kinds = tuple(frequency)
    odds = [
        (len(rooms) / frequency[thing.kind]) ** 0.35
        * (settings.background_weight if thing.kind in BACKGROUND_KINDS else 1.0)
        for thing in things
    ]
    texts = captions.texts()
    vectors = embed_sentences([*texts, *(plain_name(kind) for kind in kinds)])
    split = len(captions.phrases)
    log.info("%d rooms, %d things, %d phrases", len(rooms), len(captions.things), split)
    phrases = PhraseTargets.of(
        vectors[:split],
        vectors[split : len(texts)],
        vectors[len(texts) :],
        captions.right,
        captions.wrong,
        torch.tensor([kinds.index(thing.kind) for thing in captions.things]),
    )
    naming = [settings.background_naming if kind in BACKGROUND_KINDS else 1.0 for kind in kinds]
    return _Targets(
        phrases, captions, kinds, torch.tensor([number[t] for t in things]), torch.tensor(odds), torch.tensor(naming)
    )


def _optimise(
    state: TrainingState, targets: _Targets, directory: Path, seeds: tuple[int, ...], settings: EncoderTrainingSettings
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
        sums.append(_step(state, targets, batch, pace, settings))
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

    for crop, wanted in ((settings.crop.smaller(), starting), (settings.crop, lambda: True)):
        if not wanted():
            continue
        crops = CropStream(directory, seeds, settings.batch, settings.start.seed + 7919 * state.step, crop)
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


def _step(
    state: TrainingState, targets: _Targets, batch: CropBatch, pace: float, settings: EncoderTrainingSettings
) -> tuple[float, float]:
    """Take one step; returns the loss and the share of the cells that were named right."""
    for optimiser in state.optimisers:
        for group in optimiser.param_groups:
            group["lr"] = pace * settings.start.learning_rate
    state.network.train()
    instances, weight = _labelled(batch, _odds(state, targets))
    labelled = weight.nonzero()[:, 0]
    with torch.autocast("cpu", torch.bfloat16, enabled=prefers_bf16()):
        seen = state.network.features(normalise(batch.images.permute(0, 3, 1, 2)))
        vectors = state.network.head(seen.flatten(0, 2)[labelled])
    vectors = functional.normalize(vectors.float(), dim=-1)
    thing, weight = targets.thing_of_instance[instances[labelled]], weight[labelled]
    drawn = torch.multinomial(weight, min(settings.cells, len(weight)))
    kind = targets.phrases.kind[thing]
    counts = targets.naming_of_kind[kind] * clear(batch.coverage.flatten()[labelled])
    naming, named = naming_loss(vectors, kind, counts, targets.phrases, settings.loss)
    loss = phrase_loss(vectors[drawn], thing[drawn], targets.phrases, settings.loss) + settings.loss.naming * naming
    thing, named = thing[drawn], named[drawn]
    state.network.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
    for optimiser in state.optimisers:
        optimiser.step()
    state.step += 1
    state.images += len(batch.images)
    state.follow()
    _remember_skill(state, targets, targets.phrases.kind[thing], named.float())
    return float(loss.detach()), float(named.float().mean())


def _odds(state: TrainingState, targets: _Targets) -> Float[Tensor, " instances"]:
    """Return each instance's odds: rare kinds more, and kinds that are often named wrong of late more."""
    need = torch.tensor([1.25 - state.skill.get(kind, 0.5) for kind in targets.kinds])
    return targets.odds_of_instance * need[targets.phrases.kind[targets.thing_of_instance]]


def _remember_skill(
    state: TrainingState, targets: _Targets, kind: Int[Tensor, " n"], named: Float[Tensor, " n"]
) -> None:
    """Let the skill of the kinds just seen follow their outcomes."""
    seen = torch.bincount(kind, minlength=len(targets.kinds))
    right = torch.bincount(kind, named, minlength=len(targets.kinds))
    for index in seen.nonzero().flatten().tolist():
        before = state.skill.get(targets.kinds[index], 0.5)
        state.skill[targets.kinds[index]] = before + 0.03 * (float(right[index] / seen[index]) - before)


def _labelled(batch: CropBatch, odds: Float[Tensor, " instances"]) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the instance of each cell and what it counts.

    An instance of a picture counts by the root of its size and its odds, cells on outlines less or not at all.
    """
    instances = batch.instances.flatten().long()
    picture = torch.arange(len(batch.images)).repeat_interleave(batch.instances[0].numel())
    keys = picture * (len(odds) + 1) + instances + 1
    _, inverse, sizes = torch.unique(keys, return_inverse=True, return_counts=True)
    weight = ((batch.coverage.flatten() - 0.4) / 0.5).clamp(0, 1) * sizes[inverse].float() ** -0.5
    return instances, weight * odds[instances.clamp(min=0)] * (instances >= 0)
