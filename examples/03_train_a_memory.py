"""Build a memory from a recording: python 03_train_a_memory.py RECORDING MEMORY."""

import sys
from pathlib import Path

from m3_ros.training.pipeline import TrainingSettings, train
from m3_ros.training.progress import Progress


def show(progress: Progress) -> None:
    """Print one line a stage."""
    if progress.fraction == 1.0:
        print(f"{progress.stage}: done")


def main(recording: str, memory: str, max_seconds: str = "0") -> None:
    """Train with the quickest preset; `max_seconds` bounds the geometry stage, 0 leaves it to the preset."""
    settings = TrainingSettings(preset="seconds", max_seconds=float(max_seconds))
    report = train(Path(recording), Path(memory), settings, show)
    print(f"{report.gaussians} Gaussians, held-out PSNR {report.psnr_db:.1f} dB, {report.seconds:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
