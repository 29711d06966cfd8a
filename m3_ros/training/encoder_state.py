"""What a training of the embedded encoder keeps on disk, so that it goes on where it stopped."""

import copy
import fcntl
import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from m3_ros.errors import TrainingError
from m3_ros.features.checkpoint import read_checkpoint
from m3_ros.features.vision_transformer import VisionSettings, VisionTransformer
from m3_ros.files import write_whole
from m3_ros.training.muon import optimisers

_AVERAGED_STEPS = 1000
_WEIGHT_DECAY = 0.05
FINISH = "finish"
"""A file of this name in the folder asks the training there to cool down and end."""


@dataclass
class TrainingState:
    """What an interrupted training needs; changes in place."""

    network: VisionTransformer
    average: VisionTransformer
    """Follows the network: what is measured and shipped."""
    optimisers: tuple[torch.optim.Optimizer, ...]
    step: int = 0
    images: int = 0
    """Crops seen."""
    cooling_from: int | None = None
    """Crops after which somebody asked for the end."""
    skill: dict[str, float] = field(default_factory=dict)
    """Share of each kind's cells that were named right of late."""

    @torch.no_grad()
    def follow(self) -> None:
        """Let the averaged network follow the trained one."""
        keep = min(1 - 1 / _AVERAGED_STEPS, (1 + self.step) / (20 + self.step))
        ours, theirs = self.average.state_dict(), self.network.state_dict()
        names = [n for n, v in ours.items() if v.is_floating_point()]
        torch._foreach_lerp_([ours[n] for n in names], [theirs[n] for n in names], 1 - keep)


@dataclass(frozen=True)
class Start:
    """What a training starts with."""

    seed: int = 0
    """Seed of what starts at random."""
    learning_rate: float = 4e-3
    """Largest step of Muon and AdamW."""
    checkpoint: Path | None = None
    """A checkpoint of the same sizes whose weights are the first; None: random ones."""


def new_state(sizes: VisionSettings, start: Start, device: torch.device | None = None) -> TrainingState:
    """Make a network with random weights, or with those of a checkpoint of the same sizes, on a device (the CPU).

    Raises:
        EncoderError: the checkpoint cannot be read.
        TrainingError: the checkpoint has other sizes.
    """
    torch.manual_seed(start.seed)
    network = VisionTransformer(sizes)
    if start.checkpoint is not None:
        trained, card, _ = read_checkpoint(start.checkpoint)
        if card.network != sizes:
            raise TrainingError(
                f"{start.checkpoint} has sizes {card.network}, not {sizes}: start from another checkpoint"
            )
        network.load_state_dict(trained.state_dict())
    network = network.to(device or torch.device("cpu"), memory_format=torch.channels_last)  # type: ignore[call-overload]
    steppers = optimisers(network, network.head, start.learning_rate, _WEIGHT_DECAY)
    return TrainingState(network, copy.deepcopy(network).eval(), steppers)


def save_state(path: Path, state: TrainingState) -> None:
    """Write the state in one step."""
    parts = {
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in state.optimisers],
        "step": state.step,
        "images": state.images,
        "cooling_from": state.cooling_from,
        "skill": state.skill,
    }
    buffer = io.BytesIO()
    torch.save(parts, buffer)
    write_whole(path, buffer.getvalue())


def load_state(path: Path, state: TrainingState) -> TrainingState:
    """Fill a new state with a saved one, where there is one; returns it.

    Raises:
        TrainingError: the saved state is broken or of other sizes.
    """
    if not path.exists():
        return state
    try:
        parts = torch.load(path, map_location="cpu", weights_only=True)
        state.network.load_state_dict(parts["network"])
        state.average.load_state_dict(parts["average"])
        for optimiser, saved in zip(state.optimisers, parts["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        state.step, state.images, state.skill = int(parts["step"]), int(parts["images"]), dict(parts["skill"])
        state.cooling_from = None if parts["cooling_from"] is None else int(parts["cooling_from"])
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"the saved training {path} is broken or of other settings ({error}): delete it to start anew"
        ) from error
    return state


def is_running(directory: Path) -> bool:
    """Tell whether a training works in a folder now."""
    try:
        with _locked(directory):
            return False
    except BlockingIOError:
        return True


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Keep other trainings out of a folder.

    Raises:
        TrainingError: another training works there.
    """
    try:
        with _locked(directory):
            yield
    except BlockingIOError:
        raise TrainingError(f"another training works in {directory}: wait for it or use another folder") from None


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
