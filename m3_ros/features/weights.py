"""Weights of published models: found on this machine, never downloaded unasked; and their fingerprint."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from m3_ros.errors import EncoderError

_WAY_ON = "The encoder `embedded` needs no download"


def fingerprint(network: nn.Module | Mapping[str, Tensor], preprocessing: object) -> str:
    """Return a hash of a network's weights and of everything else that its vectors depend on.

    It is the same wherever the files lie and in whatever format they were stored. Take it before `Compute.prepare`.
    """
    digest = hashlib.sha256(repr(preprocessing).encode())
    weights = network.state_dict() if isinstance(network, nn.Module) else network
    for name, value in sorted(weights.items()):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def model_folder(source: str, encoder: str) -> Path:
    """Find a model on this machine: a folder, or what `hf download` of a hub id left in the hub's cache.

    Args:
        source: a local folder or a hub id such as `facebook/dinov2-base`.
        encoder: name of the encoder in the registry, for the message.

    Raises:
        EncoderError: it is not there; the message says how to get it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if looks_like_path(source):
        raise EncoderError(f"the encoder {encoder!r} was to be read from {source}, but there is no such folder")
    try:
        return Path(snapshot_download(source, local_files_only=True))
    except HFValidationError as error:
        raise EncoderError(f"{source!r} is neither a folder nor an id of the model hub such as owner/model") from error
    except LocalEntryNotFoundError as error:
        raise missing_weights(encoder, source) from error


def looks_like_path(source: str) -> bool:
    """Tell whether a source names a place on disk and no hub id."""
    return source.startswith(("/", "./", "../", "~")) or source.count("/") > 1


def missing_weights(encoder: str, repository: str) -> EncoderError:
    """Say which command downloads the weights, how to bring them to a machine without network, and the way without."""
    folder = f"/models/{repository.rsplit('/', maxsplit=1)[-1]}"
    return EncoderError(
        f"the weights of {encoder}:{repository} are not on this machine. With network: `hf download {repository}` "
        f"(some models ask you to accept their licence on https://huggingface.co/{repository} and to `hf auth login`). "
        f"Without: run `hf download {repository} --local-dir {folder}` elsewhere, copy the folder here and name it, "
        f"{encoder}:{folder}. {_WAY_ON}"
    )


def get_again(folder: Path) -> str:
    """Say how to mend a model's folder in which files are missing or broken, and the way without."""
    cached = [part for part in folder.parts if part.startswith("models--")]
    if not cached:
        return f"copy or download the folder again. {_WAY_ON}"
    return f"run `hf download {cached[-1].removeprefix('models--').replace('--', '/', 1)}` again. {_WAY_ON}"
