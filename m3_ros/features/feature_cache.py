"""Feature maps on disk: half precision, one file a picture, under the encoder's fingerprint and the picture's hash."""

import hashlib
import json
import logging
import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.errors import EncoderError
from m3_ros.features.encoder import Encoder, FeatureMap
from m3_ros.files import write_whole
from m3_ros.recording.frame import Frame

log = logging.getLogger(__name__)


def cache_path(cache_dir: Path, encoder: Encoder, frame: Frame) -> Path:
    """Return where a frame's features lie in a cache folder."""
    name = re.sub(r"[^\w.-]+", "-", encoder.name)[-80:]
    return cache_dir / f"{name}-{encoder.version}" / f"{_picture_hash(frame.rgb)}.safetensors"


def rounded(seen: FeatureMap) -> FeatureMap:
    """Return a map as it will be read back, so that first and later runs give the same bits.

    Raises:
        EncoderError: the features do not fit into half precision.
    """
    features = seen.features.half().float()
    if not torch.isfinite(features).all():
        raise EncoderError("the encoder gave features that are not finite in half precision: use precision 'float32'")
    return replace(seen, features=features)


def write_map(path: Path, seen: FeatureMap) -> None:
    """Write a map in one step: the file is there completely or not at all.

    Raises:
        EncoderError: the folder cannot be written to.
    """
    from safetensors.torch import save

    tensors = {"features": seen.features.half().contiguous(), "valid": seen.valid.to(torch.uint8).contiguous()}
    if seen.index is not None:
        tensors["index"] = seen.index.int().contiguous()
    metadata = {"image_size": json.dumps(seen.image_size), "crc32": str(_checksum(tensors))}
    if seen.captions is not None:
        metadata["captions"] = json.dumps(seen.captions)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, save(tensors, metadata=metadata), lasting=False)
    except OSError as error:
        raise EncoderError(
            f"features cannot be kept in {path.parent} ({error.strerror}): make room there or name another folder"
        ) from error


def read_map(path: Path, dim: int) -> FeatureMap | None:
    """Read a map; a missing or broken file gives None, and the picture is to be encoded anew."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        intact = int(metadata["crc32"]) == _checksum(tensors)
        width, height = json.loads(metadata["image_size"])
        features, valid, index = tensors["features"].float(), tensors["valid"].bool(), tensors.get("index")
        captions = tuple(map(str, json.loads(metadata["captions"]))) if "captions" in metadata else None
        index = None if index is None else index.long()
        seen = FeatureMap(features, valid, (int(width), int(height)), index, captions)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        log.warning("the cached features %s cannot be read (%s); encoding the frame anew", path.name, error)
        return None
    if not intact or not _is_sound(seen, dim):
        log.warning("the cached features %s do not fit together; encoding the frame anew", path.name)
        return None
    return seen


def _picture_hash(rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> str:
    digest = hashlib.sha256(repr(rgb.shape).encode())
    digest.update(rgb.tobytes())
    return digest.hexdigest()[:32]


def _checksum(tensors: dict[str, Tensor]) -> int:
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].contiguous().numpy().data, zlib.crc32(name.encode(), total))
    return total


def _is_sound(seen: FeatureMap, dim: int) -> bool:
    """Tell whether a map read from disk fits together."""
    if seen.features.shape[-1] != dim or seen.valid.ndim != 2 or not torch.isfinite(seen.features).all():
        return False
    if seen.index is None:
        return seen.features.shape[:-1] == seen.valid.shape
    if seen.captions is not None and len(seen.captions) != len(seen.features):
        return False
    if seen.features.ndim != 2 or seen.index.shape != seen.valid.shape:
        return False
    return seen.index.numel() == 0 or -1 <= int(seen.index.min()) <= int(seen.index.max()) < len(seen.features)
