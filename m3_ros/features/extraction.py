"""Feature maps of many frames, kept on disk so that the work is done once."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch

from m3_ros.features.encoder import Encoder, FeatureMap
from m3_ros.recording.frame import Frame

log = logging.getLogger(__name__)

ProgressHook = Callable[[int], None]
"""Told after each frame how many are done."""


def extract(
    frames: Iterable[Frame], encoder: Encoder, cache_dir: Path | None = None, progress: ProgressHook | None = None
) -> Iterator[FeatureMap]:
    """Yield the feature map of each frame, in order, as it is done.

    With a cache folder, maps are stored there in half precision under the encoder's version and the picture's hash, and
    read back when they are there; an interrupted run goes on where it stopped. First and later runs give the same bits.
    """
    for done, frame in enumerate(frames, 1):
        yield _encode(frame, encoder) if cache_dir is None else _cached(frame, encoder, cache_dir)
        if progress:
            progress(done)


def cache_path(cache_dir: Path, encoder: Encoder, frame: Frame) -> Path:
    """Return where a frame's features lie in a cache folder."""
    digest = hashlib.sha256(repr(frame.rgb.shape).encode())
    digest.update(frame.rgb.tobytes())
    return cache_dir / f"{encoder.name}-{encoder.version}" / f"{digest.hexdigest()[:32]}.safetensors"


def _encode(frame: Frame, encoder: Encoder) -> FeatureMap:
    return encoder.encode_image(frame.rgb)


def _cached(frame: Frame, encoder: Encoder, cache_dir: Path) -> FeatureMap:
    path = cache_path(cache_dir, encoder, frame)
    stored = _read(path, encoder.dim)
    if stored is not None:
        return stored
    seen = _encode(frame, encoder)
    rounded = FeatureMap(seen.features.half().float(), seen.valid, seen.image_size, seen.index)
    _write(path, rounded)
    return rounded


def _write(path: Path, seen: FeatureMap) -> None:
    """Write a map in one step."""
    from safetensors.torch import save

    tensors = {"features": seen.features.half().contiguous(), "valid": seen.valid.to(torch.uint8).contiguous()}
    if seen.index is not None:
        tensors["index"] = seen.index.int().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(save(tensors, metadata={"image_size": json.dumps(seen.image_size)}))
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _read(path: Path, dim: int) -> FeatureMap | None:
    """Read a map; a missing or broken file gives None, and the frame is encoded anew."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            width, height = json.loads(file.metadata()["image_size"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        features, valid, index = tensors["features"].float(), tensors["valid"].bool(), tensors.get("index")
        seen = FeatureMap(features, valid, (int(width), int(height)), None if index is None else index.long())
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        log.warning("the cached features %s cannot be read (%s); encoding the frame anew", path.name, error)
        return None
    if not _is_sound(seen, dim):
        log.warning("the cached features %s do not fit together; encoding the frame anew", path.name)
        return None
    return seen


def _is_sound(seen: FeatureMap, dim: int) -> bool:
    """Tell whether a map read from disk fits together."""
    if seen.features.shape[-1] != dim or seen.valid.ndim != 2 or not torch.isfinite(seen.features).all():
        return False
    if seen.index is None:
        return seen.features.shape[:-1] == seen.valid.shape
    return seen.index.shape == seen.valid.shape and int(seen.index.max()) < len(seen.features)
