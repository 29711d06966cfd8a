"""What the embedded encoder sees in rooms it was not trained on, and how fast: its card, measured anew."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from m3_ros.errors import EncoderError
from m3_ros.features.checkpoint import EMBEDDED_CHECKPOINT, Measurement
from m3_ros.features.embedded import EmbeddedEncoder
from m3_ros.training.encoder_data import RoomSettings, generate_rooms, read_room
from m3_ros.training.encoder_metrics import measure_rooms
from m3_ros.training.encoder_settings import LEFT_OUT
from m3_ros.training.encoder_training import UNSEEN, test_rows

FIGURES = (
    *("patch_top1", "patch_top1_objects", "miou", "localisation", "localisation_synonyms", "localisation_colours"),
    *("auroc_known", "auroc_foreign"),
)
"""What is measured in every set of rooms."""

_FIRST_FEATURE = """
import sys
from time import perf_counter
start = perf_counter()
import numpy as np
from pathlib import Path
from m3_ros.features.embedded import EmbeddedEncoder
encoder = EmbeddedEncoder.load(Path(sys.argv[1]))
encoder.encode_image(np.zeros((240, 320, 3), np.uint8))
print(perf_counter() - start)
"""

Figures = dict[str, Measurement]
Rows = dict[str, Figures]
ProgressHook = Callable[[str], None]


def bench_encoder(
    seeds: Sequence[int],
    views: int = 40,
    checkpoint: Path = EMBEDDED_CHECKPOINT,
    room: RoomSettings | None = None,
    progress: ProgressHook | None = None,
) -> Rows:
    """Measure a checkpoint on the rooms of some seeds, on the demo room, and on rooms with the shapes left out.

    The first row holds all of `FIGURES` and the speed; the others say what they are of.

    Args:
        seeds: Rooms to generate; none of its training.
        views: Pictures of each room.
        checkpoint: What to measure.
        room: How finely rooms are made.
        progress: Told what is measured next.

    Raises:
        EncoderError: the checkpoint cannot be read, or was trained on one of the rooms.
        TrainingError: this machine cannot generate rooms.
    """
    card = EmbeddedEncoder.load(checkpoint).card
    if card.room_seeds and any(min(card.room_seeds) <= seed <= max(card.room_seeds) for seed in seeds):
        raise EncoderError(f"the encoder was trained on rooms {card.room_seeds}: measure it on other seeds")
    figures: Rows = {}
    rows = test_rows(tuple(seeds), replace(room or RoomSettings(), views=views))
    with TemporaryDirectory(prefix="m3_bench_encoder_") as folder:
        for number, (row, (rooms, settings)) in enumerate(rows.items()):
            if progress:
                progress(row)
            place = Path(folder) / str(number)
            ready = generate_rooms(place, rooms, settings)
            found = measure_rooms(checkpoint, [read_room(place, seed) for seed in ready])
            figures[row] = _of_kinds(found) if row.startswith("unseen shape") else {n: found[n] for n in FIGURES}
            if row == UNSEEN:
                figures["shapes of training"] = _of_kinds(found)
    if progress:
        progress("speed")
    speed = {"images_per_s": images_per_s(checkpoint), "first_feature_s": first_feature_s(checkpoint)}
    return {**figures, UNSEEN: {**speed, **figures[UNSEEN]}}


def _of_kinds(found: Figures) -> Figures:
    """Pick the figures of the kinds that have a shape left out of training."""
    kinds = sorted({shape.partition("/")[0] for shape in LEFT_OUT})
    names = [f"{figure} of {kind}" for kind in kinds for figure in ("patch_top1", "localisation")]
    return {name: found.get(name, Measurement(float("nan"), 0)) for name in names}


def images_per_s(checkpoint: Path, count: int = 40) -> Measurement:
    """Encode pictures of 320x240 one after another, on all threads that torch has."""
    encoder = EmbeddedEncoder.load(checkpoint)
    images = np.random.default_rng(0).integers(0, 255, (4, 240, 320, 3), dtype=np.uint8)
    for image in images:
        encoder.encode_image(image)
    start = perf_counter()
    for number in range(count):
        encoder.encode_image(images[number % len(images)])
    return Measurement(round(count / (perf_counter() - start), 1), count)


def first_feature_s(checkpoint: Path, count: int = 3) -> Measurement:
    """Time a fresh process from its first import to its first feature; the median of a few [s].

    Raises:
        EncoderError: the process failed.
    """
    times = []
    for _ in range(count):
        command = [sys.executable, "-c", _FIRST_FEATURE, str(checkpoint)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EncoderError(f"a fresh process could not encode a picture: {done.stderr.strip()[-300:]}")
        times.append(float(done.stdout))
    return Measurement(round(float(np.median(times)), 2), count)
