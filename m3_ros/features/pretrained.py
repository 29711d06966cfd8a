"""One door to the classes of transformers: local folders only, and one line of remedy where a folder does not fit."""

from pathlib import Path
from typing import Any

from m3_ros.errors import EncoderError
from m3_ros.features.torchvision_door import ensure_torchvision
from m3_ros.features.weights import get_again


def load_pretrained(kind: str, folder: Path, encoder: str, **options: object) -> Any:
    """Load a model, processor or tokenizer from a folder that `save_pretrained` or `hf download` wrote.

    Args:
        kind: class of transformers, such as "AutoProcessor".
        folder: where it lies.
        encoder: name of the encoder in the registry, for the message.
        **options: handed on.

    Raises:
        EncoderError: transformers is not installed, or the folder does not hold what was asked for.
    """
    ensure_torchvision()
    try:
        import transformers
        from safetensors import SafetensorError
        from transformers.utils import logging as transformers_logging
    except ImportError as error:
        raise EncoderError(
            f"the encoder {encoder!r} needs transformers, but {error.name} is not installed: pip install transformers"
        ) from error
    transformers_logging.disable_progress_bar()
    try:
        return getattr(transformers, kind).from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise EncoderError(
            f"the encoder {encoder!r} cannot read {folder} as {kind} ({reason[:300]}): give a folder that "
            f"`save_pretrained` wrote for a model of this family, or {get_again(folder)}"
        ) from error
