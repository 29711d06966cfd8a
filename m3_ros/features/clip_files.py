"""Finding the files of an OpenCLIP model on this machine, whatever form they come in, and reading them."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3_ros.errors import EncoderError
from m3_ros.features.torchvision_door import ensure_torchvision
from m3_ros.features.weights import get_again, looks_like_path, missing_weights, model_folder

_CONFIG = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True, eq=False)
class ClipModel:
    """A loaded OpenCLIP model."""

    model: Any
    """The network, both towers; `visual.preprocess_cfg` says how to treat pixels."""
    tokenizer: Any
    """Turns texts into tokens."""


def read_clip(source: str) -> ClipModel:
    """Read a model: MODEL/TAG, MODEL@CHECKPOINT, CONFIG.json@CHECKPOINT, a folder, or the id of a hub repository.

    Raises:
        EncoderError: OpenCLIP is not installed, the files are not on this machine, or do not fit together.
    """
    open_clip = import_open_clip()
    if "@" in source:
        return _read_checkpoint(open_clip, *source.split("@", 1))
    model, _, tag = source.rpartition("/")
    if model in open_clip.list_models() and not looks_like_path(source):
        return _read_tag(open_clip, model, tag)
    if source in open_clip.list_models():
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(source)) or "none"
        raise EncoderError(f"{source} alone has no weights: name {source}/TAG (tags: {tags}) or {source}@CHECKPOINT")
    folder = model_folder(source, "openclip")
    if not (folder / _CONFIG).is_file():
        raise EncoderError(f"{folder} holds no {_CONFIG}: name CONFIG.json@CHECKPOINT for separate files")
    return _read_folder(open_clip, folder)


def import_open_clip() -> Any:
    """Import OpenCLIP.

    Raises:
        EncoderError: it is not installed.
    """
    ensure_torchvision()
    try:
        import open_clip
    except ImportError as error:
        raise EncoderError(
            f"CLIP and SigLIP need OpenCLIP, but {error.name} is not installed: pip install 'm3_ros[openclip]'"
        ) from error
    return open_clip


def _read_tag(open_clip: Any, model: str, tag: str) -> ClipModel:
    """Read published weights by their tag, from the hub's cache."""
    published = open_clip.get_pretrained_cfg(model, tag)
    if not published:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise EncoderError(f"{model} has no weights called {tag!r}: choose from {tags}")
    repository, _, file = published["hf_hub"].rpartition("/")
    folder = model_folder(repository, "openclip")
    checkpoint = next((folder / name for name in ([file] if file else _WEIGHTS) if (folder / name).is_file()), None)
    if checkpoint is None:
        raise missing_weights("openclip", repository)
    config = open_clip.get_model_config(model)
    config["quick_gelu"] = published.get("quick_gelu", False)
    preprocessing = {k: published[k] for k in ("mean", "std", "interpolation", "resize_mode") if k in published}
    return _read_parts(open_clip, config, preprocessing, checkpoint, folder)


def _read_checkpoint(open_clip: Any, model: str, checkpoint: str) -> ClipModel:
    """Read a model of the library, or a configuration file of one's own, with a checkpoint file."""
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        raise EncoderError(f"there is no checkpoint {path}: name a file of weights that fits {model}")
    if not model.endswith(".json"):
        config = open_clip.get_model_config(model)
        if config is None:
            raise EncoderError(
                f"OpenCLIP knows no model {model!r}: name one of `open_clip.list_models()` or a .json file"
            )
        return _read_parts(open_clip, config, {}, path, None)
    config_file = Path(model).expanduser()
    try:
        own = json.loads(config_file.read_text(encoding="utf-8"))
        config, preprocessing = own.get("model_cfg", own), own.get("preprocess_cfg", {})
    except (OSError, ValueError, AttributeError) as error:
        raise EncoderError(f"{config_file} is no configuration of an OpenCLIP model: {error}") from error
    return _read_parts(open_clip, config, preprocessing, path, config_file.parent)


def _read_parts(
    open_clip: Any, config: dict[str, Any], preprocessing: dict[str, Any], checkpoint: Path, folder: Path | None
) -> ClipModel:
    """Put the parts into the one form that the library reads completely offline: a folder."""
    tokenizer = config.get("text_cfg", {}).get("hf_tokenizer_name")
    if tokenizer and (folder is None or not list(folder.glob("tokenizer*"))):
        folder = model_folder(tokenizer, "openclip")
    with tempfile.TemporaryDirectory() as scratch:
        together = Path(scratch)
        for file in folder.iterdir() if tokenizer and folder else ():
            if file.is_file() and "token" in file.name:
                (together / file.name).symlink_to(file.resolve())
        name = _WEIGHTS[0] if checkpoint.suffix == ".safetensors" else _WEIGHTS[-1]
        (together / name).symlink_to(checkpoint.resolve())
        whole = {"model_cfg": config, "preprocess_cfg": preprocessing}
        (together / _CONFIG).write_text(json.dumps(whole), encoding="utf-8")
        return _read_folder(open_clip, together, checkpoint)


def _read_folder(open_clip: Any, folder: Path, weights: Path | None = None) -> ClipModel:
    """Read a folder, put together around `weights` where these are given."""
    import pickle

    from safetensors import SafetensorError

    try:
        model = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True)
        return ClipModel(model, open_clip.get_tokenizer(f"local-dir:{folder}"))
    except (
        OSError,
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        SafetensorError,
        pickle.UnpicklingError,
    ) as error:
        raise EncoderError(
            f"{weights or folder} cannot be read as an OpenCLIP model ({error}): name the model that the weights were "
            f"made for, or {get_again(weights or folder)}"
        ) from error
