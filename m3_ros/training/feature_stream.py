"""The feature maps of one encoder, gone through as often as needed: encoded once, then held or read from the cache."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.errors import Cancelled
from m3_ros.features import extract
from m3_ros.features.encoder import Encoder, FeatureMap, unit
from m3_ros.features.extraction import Extracted
from m3_ros.recording.frame import Frame
from m3_ros.training.progress import CancelCheck, Progress, ProgressCallback, ignore_progress

_SAMPLE_PER_VIEW = 48
_PRODUCTS_PER_VIEW = 1 << 28
"""Most multiplications that a view's share of the second moment takes; some of its features stand for all beyond."""
_ROWS_AT_ONCE = 2048
KEPT_BYTES = 1 << 30
"""Features [bytes] that the streams of one training hold in memory; those beyond are read from the cache each time."""


@dataclass(frozen=True, eq=False)
class FeatureStream:
    """What an encoder saw in some frames. The first of them are held in memory, as many as `kept_bytes` allow."""

    frames: Sequence[Frame]
    """Frames, in order."""
    encoder: Encoder
    """The model."""
    cache_dir: Path
    """Where its features are kept."""
    cancelled: CancelCheck
    """Asked once a view."""
    ray_address: str | None = None
    """Ray cluster to encode on; None: this process."""
    kept_bytes: int = KEPT_BYTES
    """Most memory that features are held in."""
    directions: Float[Tensor, "p D"] | None = None
    """Rows along which features are given; None: as the encoder made them."""
    held: list[FeatureMap] = field(default_factory=list, init=False, repr=False)
    """The first maps."""

    def maps(self, progress: ProgressCallback = ignore_progress) -> Iterator[FeatureMap]:
        """Yield the feature map of each frame, in the half precision that the cache has too."""
        total, ready = len(self.frames), len(self.held)

        def report(so_far: Extracted) -> None:
            progress(Progress("features", (ready + so_far.done) / total, so_far.eta_s(total - ready)))

        rest = extract(self.frames[ready:], self.encoder, self.cache_dir, report, ray_address=self.ray_address)
        projected = (halved(_along(seen, self.directions)) for seen in rest)
        for number, seen in enumerate(chain(self.held[:ready], projected)):
            if self.cancelled():
                raise Cancelled("training was cancelled while the memory was built; nothing was written")
            self._keep(number, seen)
            yield seen

    def map(self, number: int) -> FeatureMap:
        """Return the feature map of one frame, in half precision."""
        if number < len(self.held):
            return self.held[number]
        (feature_map,) = extract([self.frames[number]], self.encoder, self.cache_dir)
        return halved(_along(feature_map, self.directions))

    def along(self, directions: Float[Tensor, "p D"]) -> "FeatureStream":
        """Return a stream of features along some directions. It holds what this one did; this one lets go of it."""
        stream = replace(self, directions=directions)
        while self.held:
            stream.held.append(halved(_along(_widened(self.held.pop(0)), directions)))
        return stream

    def _keep(self, number: int, seen: FeatureMap) -> None:
        """Hold a map where it is the next of the first ones and there is room."""
        room = self.kept_bytes - sum(2 * kept.features.numel() for kept in self.held)
        if number == len(self.held) and 2 * seen.features.numel() <= room:
            self.held.append(seen)

    def __iter__(self) -> Iterator[Float[Tensor, "n D"]]:
        """Yield the valid vectors of each frame."""
        for feature_map in self.maps():
            yield vectors(feature_map).float()


def _along(seen: FeatureMap, directions: Float[Tensor, "p D"] | None) -> FeatureMap:
    return seen if directions is None else replace(seen, features=seen.features @ directions.T)


def halved(seen: FeatureMap) -> FeatureMap:
    """Return a map in half precision: what it takes to hold it, and to read it, is half as much."""
    return replace(seen, features=seen.features.half())


def _widened(kept: FeatureMap) -> FeatureMap:
    return replace(kept, features=kept.features.float())


def vectors(feature_map: FeatureMap) -> Float[Tensor, "n D"]:
    """Return the valid vectors of a map: cells of a grid, or regions once each."""
    if feature_map.index is None:
        all_valid = bool(feature_map.valid.all())
        return feature_map.features.flatten(0, 1) if all_valid else feature_map.features[feature_map.valid]
    regions = torch.unique(feature_map.index[feature_map.valid & (feature_map.index >= 0)])
    return feature_map.features[regions]


@dataclass(frozen=True, eq=False)
class Statistics:
    """What one pass over the features tells."""

    moment: Float[Tensor, "D D"]
    """Uncentred second moment E[x x^T] of unit features."""
    sample: Float[Tensor, "n D"]
    """Some unit features of every view."""
    mean_square: float
    """E[|x|^2] of the features as they are."""


def statistics(stream: FeatureStream, seed: int, progress: ProgressCallback = ignore_progress) -> Statistics:
    """Go through the features once."""
    dim = stream.encoder.dim
    most = max(_SAMPLE_PER_VIEW, _PRODUCTS_PER_VIEW // dim**2)
    moment, count, square, sample, waiting = torch.zeros(dim, dim), 0, 0.0, [], _Rows()
    generator = torch.Generator().manual_seed(seed)
    for feature_map in stream.maps(progress):
        raw = vectors(feature_map).float()
        square += float(raw.square().sum())
        count += len(raw)
        x = unit(raw[torch.randperm(len(raw), generator=generator)[:most]])
        waiting.add(x * (len(raw) / max(len(x), 1)) ** 0.5, moment)
        sample.append(x[:_SAMPLE_PER_VIEW])
    waiting.flush(moment)
    return Statistics(moment / max(count, 1), torch.cat(sample), square / max(count, 1))


class _Rows:
    """Rows of several views, whose products are added to a moment at once: it may be larger than all they are."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []

    def add(self, rows: Float[Tensor, "n D"], moment: Float[Tensor, "D D"]) -> None:
        self._rows.append(rows)
        if sum(map(len, self._rows)) >= _ROWS_AT_ONCE:
            self.flush(moment)

    def flush(self, moment: Float[Tensor, "D D"]) -> None:
        if self._rows:
            x = torch.cat(self._rows)
            moment.addmm_(x.T, x)
            self._rows.clear()
