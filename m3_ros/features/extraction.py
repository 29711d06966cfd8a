"""Feature maps of many frames, in one process or on a cluster, kept on disk so that the work is done once."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from math import nan
from pathlib import Path
from time import monotonic

from m3_ros.features.encoder import BatchEncoder, Encoder, FeatureMap
from m3_ros.features.feature_cache import cache_path, read_map, rounded, write_map
from m3_ros.features.ray_extraction import Images, encode_batch, encode_on_cluster
from m3_ros.recording.frame import Frame


@dataclass(frozen=True)
class Extracted:
    """How far an extraction is."""

    done: int
    """Frames whose maps were given."""
    encode_s: float
    """Seconds that a frame took which the cache did not hold, on average; nan before the first one."""

    def eta_s(self, frames: int) -> float:
        """Return the seconds left of so many frames, should the cache hold none of the rest; nan: unknown."""
        return (frames - self.done) * self.encode_s if frames > self.done else 0.0


ProgressHook = Callable[[Extracted], None]
"""Told after each frame."""


def extract(
    frames: Iterable[Frame],
    encoder: Encoder,
    cache_dir: Path | None = None,
    progress: ProgressHook | None = None,
    *,
    ray_address: str | None = None,
) -> Iterator[FeatureMap]:
    """Yield the feature map of each frame, in order, as it is done.

    With a cache folder, maps are stored there in half precision under the encoder's version and the picture's hash, and
    read back when they are there; an interrupted run goes on where it stopped. First and later runs give the same bits,
    and so do one process and a cluster of like machines.

    Args:
        frames: read as they are needed.
        encoder: sees as many frames at once as it says are worth it.
        cache_dir: where maps are kept; None: nowhere.
        progress: told after each frame how many are done, and how long one takes that must be encoded.
        ray_address: the Ray cluster to work on, such as "10.0.0.5:6379"; None: in this process.

    Raises:
        EncoderError: a frame cannot be encoded, the cache cannot be written, or the cluster cannot be used.
    """
    planned: deque[_Window] = deque()

    def batches() -> Iterator[Images]:
        for window in _windows(frames, encoder, cache_dir):
            planned.append(window)
            yield [window.frames[i].rgb for i in window.missing]

    done, pace = 0, _Pace()
    with closing(_encode_all(batches(), encoder, ray_address)) as encoded:
        for maps in encoded:
            pace.encoded += len(maps)
            for seen in planned.popleft().complete(maps):
                yield seen
                done += 1
                if progress:
                    progress(Extracted(done, pace.seconds()))


class _Pace:
    """Clocks what is encoded, from the last frame on that was read from the cache before anything was."""

    def __init__(self) -> None:
        self._since, self.encoded = monotonic(), 0

    def seconds(self) -> float:
        """Return the mean time of an encoded frame; call it after each frame of any kind."""
        now = monotonic()
        if self.encoded:
            return (now - self._since) / self.encoded
        self._since = now
        return nan


@dataclass(frozen=True, eq=False)
class _Window:
    """Some frames in a row, and what the cache knows of them."""

    frames: list[Frame]
    paths: list[Path] | None
    stored: list[FeatureMap | None]

    @property
    def missing(self) -> list[int]:
        """Numbers of the frames to encode."""
        return [i for i, seen in enumerate(self.stored) if seen is None]

    def complete(self, maps: list[FeatureMap]) -> Iterator[FeatureMap]:
        """Yield all maps, storing the new ones."""
        new = dict(zip(self.missing, maps, strict=True))
        for i, stored in enumerate(self.stored):
            if stored is not None:
                yield stored
            elif self.paths is None:
                yield new[i]
            else:
                seen = rounded(new[i])
                write_map(self.paths[i], seen)
                yield seen


def _windows(frames: Iterable[Frame], encoder: Encoder, cache_dir: Path | None) -> Iterator[_Window]:
    size = encoder.batch_size if isinstance(encoder, BatchEncoder) else 1
    source = iter(frames)
    while window := list(islice(source, size)):
        if cache_dir is None:
            yield _Window(window, None, [None] * len(window))
            continue
        paths = [cache_path(cache_dir, encoder, frame) for frame in window]
        yield _Window(window, paths, [read_map(path, encoder.dim) for path in paths])


def _encode_all(batches: Iterator[Images], encoder: Encoder, ray_address: str | None) -> Generator[list[FeatureMap]]:
    """Encode batches in order."""
    if ray_address is not None:
        yield from encode_on_cluster(batches, encoder, ray_address)
        return
    for images in batches:
        yield encode_batch(encoder, images)
