"""`m3 train-encoder`: the embedded encoder, from generated rooms."""

import shutil
from pathlib import Path


def run(
    directory: Path = Path("runs/encoder"),
    minutes: float = 40.0,
    rooms: int = 300,
    seed: int = 0,
    install: bool = False,
) -> int:
    """Train the embedded encoder on generated rooms; run it again with the same folder to go on after a stop.

    Args:
        directory: Keeps rooms, state and the checkpoint.
        minutes: Time for the optimisation; rooms and figures come on top [min].
        rooms: Number of generated rooms.
        seed: Seed of weights and crops.
        install: Put the checkpoint in the place of the package's own when it is finished.
    """
    from m3_ros.features.checkpoint import EMBEDDED_CHECKPOINT
    from m3_ros.training.encoder_training import EncoderTrainingSettings, train_encoder

    checkpoint = train_encoder(EncoderTrainingSettings(seconds=60 * minutes, rooms=rooms, seed=seed), directory)
    print(f"checkpoint: {checkpoint}")
    if install:
        shutil.copyfile(checkpoint, EMBEDDED_CHECKPOINT)
        print(f"installed: {EMBEDDED_CHECKPOINT}")
    return 0
