"""Where to train."""

from typing import TYPE_CHECKING, Literal

from m3_ros.errors import TrainingError

if TYPE_CHECKING:
    import torch

DeviceName = Literal["auto", "cpu", "cuda"]


def choose_device(name: DeviceName) -> "torch.device":
    """Return the device of that name; auto: the GPU if torch finds one.

    Raises:
        TrainingError: a GPU is asked for and there is none.
    """
    import torch  # not before: commands take the names without it

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device=cuda needs a GPU that torch can use, and there is none: use device=cpu")
    return torch.device(name)
