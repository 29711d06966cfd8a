"""`m3 train-encoder`: the embedded encoder, from generated rooms."""

import os
import shutil
import sys
from pathlib import Path

from m3_ros.training.device import DeviceName

_SPINS = "10000"
"""Rounds that OpenMP's threads wait before they sleep. A step has thousands of short parallel parts: on two idle cores
it takes 0.84 s instead of 0.94. Beside another busy process waiting costs more than waking, 2.3 s instead of 1.5."""


def run(
    directory: Path = Path("runs/encoder"),
    crops: int = 130_000,
    cooldown: int = 81_000,
    rooms: int = 200,
    seed: int = 0,
    start_from: Path | None = None,
    learning_rate: float = 4e-3,
    device: DeviceName = "auto",
    finish: bool = False,
    install: bool = False,
) -> int:
    """Train the embedded encoder on generated rooms; run it again with the same folder to go on after a stop.

    Beside other work GOMP_SPINCOUNT=0 makes it faster, on an idle machine slower.

    Args:
        directory: Keeps rooms, state and the checkpoint.
        crops: Crops to learn from.
        cooldown: The last crops, over which the steps shrink to nothing.
        rooms: Number of generated rooms.
        seed: Seed of weights and crops.
        start_from: Checkpoint whose weights are the first; without it, random ones.
        learning_rate: Largest step; a quarter of the default suits a checkpoint that was trained to its end.
        device: Where to train; auto: on the GPU if torch finds one.
        finish: Cool down from here on and end; a training that runs in the folder now is told to.
        install: Put the checkpoint in the place of the package's own when it is finished.
    """
    if "torch" not in sys.modules:  # which reads it when it is loaded, below
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    from m3_ros.features.checkpoint import EMBEDDED_CHECKPOINT
    from m3_ros.training.encoder_settings import EncoderTrainingSettings
    from m3_ros.training.encoder_state import FINISH, Start, is_running
    from m3_ros.training.encoder_training import train_encoder

    if finish:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / FINISH).touch()
        if is_running(directory):
            print(f"the training in {directory} cools down and ends soon")
            return 0
    start = Start(seed, learning_rate, start_from)
    settings = EncoderTrainingSettings(crops=crops, cooldown=cooldown, rooms=rooms, start=start, device=device)
    checkpoint = train_encoder(settings, directory)
    print(f"checkpoint: {checkpoint}")
    if install:
        shutil.copyfile(checkpoint, EMBEDDED_CHECKPOINT)
        print(f"installed: {EMBEDDED_CHECKPOINT}")
    return 0
