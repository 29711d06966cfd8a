"""A training on disk, to go on from: one safetensors file with JSON beside the tensors. Nothing is unpickled."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from m3_ros.errors import TrainingError
from m3_ros.files import write_whole
from m3_ros.recording.frame import Frame
from m3_ros.training.geometry_result import CurvePoint
from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.schedule import Position

Parts = dict[str, dict[str, Tensor]]
"""Named tensors of each part of a training."""

_VERSION = "1"
_FREE = ("curve_every_s", "checkpoint_every_s", "align_held_out")
"""Settings that may change between a checkpoint and going on: they only say what is measured and saved."""
_PROBE_STRIDE = 7
"""Every so-manieth row and column of a picture goes into its fingerprint."""


def fingerprint(frames: Sequence[Frame], settings: GeometrySettings) -> dict[str, str]:
    """Return what a checkpoint belongs to: a digest of the settings and one of the frames."""
    fixed = {k: repr(v) for k, v in dataclasses.asdict(settings).items() if k not in _FREE}
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(repr((frame.stamp_ns, frame.camera)).encode())
        digest.update(np.ascontiguousarray(frame.T_map_camera, np.float64).tobytes())
        for picture in (frame.rgb, frame.depth):
            if picture is not None:
                digest.update(np.ascontiguousarray(picture[::_PROBE_STRIDE, ::_PROBE_STRIDE]).tobytes())
    settings_digest = hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()
    return {"settings": settings_digest, "frames": digest.hexdigest()}


def save_checkpoint(path: Path, owner: dict[str, str], parts: Parts, position: Position) -> None:
    """Write a checkpoint, atomically.

    Raises:
        TrainingError: it cannot be written.
    """
    from safetensors.torch import save

    plain = {
        f"{part}/{name}": tensor.detach().cpu().contiguous()
        for part, tensors in parts.items()
        for name, tensor in tensors.items()
    }
    text = json.dumps(dataclasses.asdict(position))
    data = save(plain, {"version": _VERSION, "position": text, **owner})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        raise TrainingError(f"the checkpoint cannot be written to {path}: {error.strerror or error}") from error


def load_checkpoint(path: Path, owner: dict[str, str]) -> tuple[Parts, Position]:
    """Read a checkpoint of the training that `owner` describes.

    Raises:
        TrainingError: it is corrupt, of another version, or belongs to other frames or settings.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            _check_owner(path, metadata, owner)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            parts: Parts = {}
            for name, tensor in tensors.items():
                part, _, key = name.partition("/")
                parts.setdefault(part, {})[key] = tensor
        position = _position(metadata["position"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"the checkpoint {path} is corrupt ({error}): delete it to train from the start") from error
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise TrainingError(f"the checkpoint {path} is corrupt ({broken[0]} is not finite): delete it to train anew")
    return parts, position


def _check_owner(path: Path, metadata: dict[str, str], owner: dict[str, str]) -> None:
    if metadata.get("version") != _VERSION:
        raise TrainingError(
            f"the checkpoint {path} has version {metadata.get('version')}, this m3_ros reads {_VERSION}: delete it"
        )
    for name, digest in owner.items():
        if metadata.get(name) != digest:
            raise TrainingError(
                f"the checkpoint {path} belongs to a training with other {name}: "
                f"go on with the same {name}, or delete it to train from the start"
            )


def _position(text: str) -> Position:
    values = json.loads(text)
    if set(values) != {f.name for f in dataclasses.fields(Position)}:
        raise ValueError("its position is incomplete")
    values["curve"] = [CurvePoint(**point) for point in values["curve"]]
    return Position(**values)
