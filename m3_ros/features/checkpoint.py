"""The embedded encoder's file: half-precision weights and a card that says what the encoder knows and what not."""

import hashlib
import json
import struct
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m3_ros.errors import EncoderError
from m3_ros.features.vision_transformer import VisionSettings, VisionTransformer
from m3_ros.files import write_whole

EMBEDDED_CHECKPOINT = Path(__file__).parent / "checkpoints" / "embedded.safetensors"
"""The checkpoint that ships with the package."""

_CARD_KEY = "card"
_LARGEST_FILE = 64 << 20
_REMEDY = "reinstall m3_ros, or train an encoder with `m3 train-encoder`"


@dataclass(frozen=True)
class Measurement:
    """One figure and how many cases it rests on."""

    value: float
    count: int


@dataclass(frozen=True)
class EncoderCard:
    """What a checkpoint is, in its own words."""

    network: VisionSettings
    """Sizes of the network."""
    kinds: tuple[str, ...]
    """Kinds of things that it was shown."""
    background_phrases: tuple[str, ...]
    """What a query is weighed against."""
    room_seeds: tuple[int, ...]
    """First and last seed of the training rooms."""
    rooms: int
    """Number of training rooms."""
    images: int
    """Crops seen in training."""
    seed: int
    """Seed of the training."""
    limits: str
    """What it is not, in plain words."""
    started_from: str = ""
    """Checkpoint whose weights were the first; empty: random ones."""
    left_out: tuple[str, ...] = ()
    """Shapes that it was not shown."""
    metrics: dict[str, dict[str, Measurement]] = field(default_factory=dict)
    """Figures by set of rooms and name."""


def write_checkpoint(path: Path, network: VisionTransformer, card: EncoderCard) -> None:
    """Write weights and card in one step: the file is there completely or not at all."""
    from safetensors.torch import save

    weights = {
        name: value.half().contiguous() if value.is_floating_point() else value.contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    data = save(weights, metadata={_CARD_KEY: json.dumps(asdict(card))})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)


def read_checkpoint(path: Path) -> tuple[VisionTransformer, EncoderCard, str]:
    """Read a checkpoint: the network ready to encode, its card, and the SHA-256 of the file.

    Raises:
        EncoderError: the file is missing, broken, or holds other weights than its card says.
    """
    data = _bytes_of(path)
    card = _card_of(path, data)
    with torch.device("meta"):  # costs no memory, whatever sizes the card claims
        shapes = _shapes(VisionTransformer(card.network).state_dict())
    weights = _weights_of(path, data, shapes)
    network = VisionTransformer(card.network)
    network.load_state_dict(weights, strict=False)  # names and shapes were compared; only batch counters are absent
    return network.eval(), card, hashlib.sha256(data).hexdigest()


def _bytes_of(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise EncoderError(f"{path} is no checkpoint of the embedded encoder: it has {size >> 20} MB; {_REMEDY}")
        return path.read_bytes()
    except OSError as error:
        raise EncoderError(f"the encoder's checkpoint {path} cannot be read ({error.strerror}): {_REMEDY}") from error


def _card_of(path: Path, data: bytes) -> EncoderCard:
    """Read the card from the header; every part is checked by being built."""
    try:
        (length,) = struct.unpack("<Q", data[:8])
        raw = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_CARD_KEY])
        known = {f.name for f in fields(EncoderCard)}
        parts = {name: value for name, value in raw.items() if name in known}
        parts["network"] = _network_settings(raw["network"])
        for name in ("kinds", "background_phrases", "room_seeds", "left_out"):
            parts[name] = tuple(raw.get(name, ()) if name == "left_out" else raw[name])
        parts["metrics"] = {
            rooms: {name: Measurement(**figure) for name, figure in figures.items()}
            for rooms, figures in raw.get("metrics", {}).items()
        }
        return EncoderCard(**parts)
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise EncoderError(f"{path} is no checkpoint of the embedded encoder ({error!r}): {_REMEDY}") from error


def _network_settings(raw: dict[str, Any]) -> VisionSettings:
    """Build the sizes, refusing what would not fit a small network."""
    settings = VisionSettings(**{**raw, "stem": tuple(int(c) for c in raw["stem"])})
    sizes = [*settings.stem, settings.width, settings.depth, settings.heads, settings.head_width, settings.dim]
    possible = len(settings.stem) == 3 and all(isinstance(s, int) and 1 <= s <= 4096 for s in sizes)
    if not possible or settings.width % settings.heads or settings.depth > 64 or settings.local_blocks > 64:
        raise ValueError(f"impossible network sizes {settings}")
    return settings


def _shapes(weights: dict[str, Tensor]) -> dict[str, torch.Size]:
    """Return the shapes of a network's weights, batch counters left out."""
    return {name: value.shape for name, value in weights.items() if not name.endswith("num_batches_tracked")}


def _weights_of(path: Path, data: bytes, shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """Read the weights and compare names, shapes and values with what the network needs."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        weights = load(data)
    except (SafetensorError, ValueError) as error:
        raise EncoderError(f"the encoder's checkpoint {path} is broken ({error}): {_REMEDY}") from error
    if _shapes(weights) != shapes:
        raise EncoderError(f"the weights in {path} do not fit the network that its card describes: {_REMEDY}")
    weights = {name: value.float() for name, value in weights.items()}
    if not all(torch.isfinite(value).all() for value in weights.values()):
        raise EncoderError(f"the encoder's checkpoint {path} holds weights that are not finite: {_REMEDY}")
    return weights
