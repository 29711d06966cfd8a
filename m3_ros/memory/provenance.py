"""Where a memory comes from: recording, time, settings, and what made it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from math import nan

import torch


@dataclass(frozen=True)
class Provenance:
    """Where a memory comes from."""

    recording: str
    """Recording that it was trained on."""
    created: str
    """When, ISO 8601 with zone."""
    psnr_db: float
    """Held-out PSNR of the geometry [dB]; nan: not measured."""
    settings: str
    """Settings of the training as JSON text."""
    versions: str
    """Versions of the packages that made it, as JSON text."""

    @classmethod
    def now(cls, recording: str = "", psnr_db: float = nan, **settings: object) -> "Provenance":
        """Describe a training that ends now; every further keyword is kept as a setting, one without JSON as text."""
        versions: Mapping[str, str] = {name: _version(name) for name in ("m3_ros", "torch", "numpy")}
        return cls(
            recording,
            datetime.now(UTC).isoformat(timespec="seconds"),
            psnr_db,
            json.dumps(settings, sort_keys=True, default=str),
            json.dumps(versions),
        )


def _version(package: str) -> str:
    if package == "torch":
        return str(torch.__version__)
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
