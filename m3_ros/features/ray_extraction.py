"""Encoding on several machines through Ray: the encoder travels to the workers, a lost worker's batches are redone.

The order of the results, and with like machines their bits, are those of one process: batches are the same ones, and
each is encoded as a whole by one worker.
"""

import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray

from m3_ros.errors import EncoderError, M3Error
from m3_ros.features.encoder import BatchEncoder, Encoder, FeatureMap
from m3_ros.features.torchvision_door import ensure_torchvision

log = logging.getLogger(__name__)

Images = Sequence[UInt8[NDArray[np.uint8], "H W 3"]]

_MOST_CPUS = 4
"""A worker takes at most so many processors: several small workers are faster than a large one."""
_QUEUED = 2
"""Batches that a worker holds, so that it has the next one at hand."""
_ATTEMPTS = 3
"""A batch that so many workers died with is given up."""
_PATIENCE_S = 30.0


def encode_batch(encoder: Encoder, images: Images) -> list[FeatureMap]:
    """Encode images in order, together where the encoder can."""
    if isinstance(encoder, BatchEncoder):
        return encoder.encode_images(images) if images else []
    return [encoder.encode_image(rgb) for rgb in images]


def encode_on_cluster(batches: Iterator[Images], encoder: Encoder, address: str) -> Iterator[list[FeatureMap]]:
    """Encode batches on a Ray cluster and yield the results in order.

    Empty batches go nowhere, and before the first one that is not, no cluster is asked for.

    Raises:
        EncoderError: Ray is not installed, no cluster answers, a batch cannot be encoded, or it kills every worker.
    """
    first: Images = []
    for first in batches:
        if first:
            break
        yield []
    if not first:
        return
    ray = import_ray()
    connected_here = not ray.is_initialized()
    if connected_here:
        _connect(ray, address)
    workers = _Workers(ray, encoder)
    try:
        yield from _in_order(workers, chain([first], batches))
    finally:
        workers.stop()
        if connected_here:
            ray.shutdown()


def import_ray() -> Any:
    """Import Ray, with its reports to its makers switched off.

    Raises:
        EncoderError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise EncoderError(
            f"work on a cluster needs Ray, but {error.name} is not installed: pip install 'm3_ros[ray]'"
        ) from error
    return ray


def _connect(ray: Any, address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise EncoderError(
            f"no Ray cluster answers at {address!r} ({error}): start one with `ray start --head` on one machine and "
            "`ray start --address=HOST:6379` on the others, all with this version of m3_ros, and name HOST:6379"
        ) from error


class _Worker:
    """Holds the encoder in a process of the cluster."""

    _encoder: Encoder

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def receive(self, pickled: bytes) -> None:
        """Unpack the encoder; torchvision must be importable before its modules are."""
        from ray import cloudpickle

        ensure_torchvision()
        self._encoder = cloudpickle.loads(pickled)

    def encode(self, images: Images) -> list[FeatureMap]:
        """Encode a batch."""
        return encode_batch(self._encoder, images)


@dataclass(eq=False)
class _Job:
    """A batch on its way."""

    number: int
    images: Images
    attempts: int = 0


class _Workers:
    """The processes of a cluster: takes jobs, starts a process where one is wanted, says which jobs are done."""

    def __init__(self, ray: Any, encoder: Encoder) -> None:
        self._ray = ray
        self._pickled = ray.put(ray.cloudpickle.dumps(encoder))
        self._resource = "GPU" if str(getattr(encoder, "device", "cpu")).startswith("cuda") else "CPU"
        nodes = [node["Resources"].get(self._resource, 0) for node in ray.nodes() if node["Alive"]]
        self._each = 1 if self._resource == "GPU" else max(1, int(min([_MOST_CPUS, *(n for n in nodes if n >= 1)])))
        self._jobs: deque[_Job] = deque()
        self._running: dict[Any, tuple[Any, _Job | None]] = {}
        self._load: dict[Any, int] = {}
        self.count = sum(int(n) // self._each for n in nodes)
        if not self.count:
            raise EncoderError(f"the Ray cluster has no {self._resource}: add machines with `ray start --address=...`")
        self._starts_left = _ATTEMPTS * self.count

    def _start(self) -> None:
        if not self._starts_left:
            raise EncoderError("the workers of the Ray cluster die again and again: look at `ray logs`, their memory")
        self._starts_left -= 1
        needs = {"num_gpus": self._each} if self._resource == "GPU" else {"num_cpus": self._each}
        remote = self._ray.remote(_Worker).options(max_restarts=0, scheduling_strategy="SPREAD", **needs)
        actor = remote.remote(self._each)
        self._running[actor.receive.remote(self._pickled)] = (actor, None)

    def submit(self, job: _Job) -> None:
        """Queue a job; it runs as soon as a worker has room."""
        self._jobs.append(job)
        self._hand_out()

    def _hand_out(self) -> None:
        """Give jobs to workers that have room; start a worker for each job left over, while the cluster has room."""
        while self._jobs and min(self._load.values(), default=_QUEUED) < _QUEUED:
            actor = min(self._load, key=self._load.__getitem__)
            job = self._jobs.popleft()
            self._load[actor] += 1
            self._running[actor.encode.remote(job.images)] = (actor, job)
        starting = sum(job is None for _, job in self._running.values())
        for _ in range(min(len(self._jobs), self.count - len(self._load)) - starting):
            self._start()

    def next_done(self) -> list[tuple[int, list[FeatureMap]]]:
        """Wait for something to end; return the job that is done with its result, or none if a worker came or went."""
        ended, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_PATIENCE_S)
        if not ended:
            busy = len(self._load)
            log.info("waiting for the Ray cluster: %d of %d workers have started", busy, self.count)
            return []
        actor, job = self._running.pop(ended[0])
        try:
            result = self._ray.get(ended[0])
        except self._ray.exceptions.RayTaskError as error:
            raise _cause(error) from error
        except self._ray.exceptions.RayError as error:
            self._lost(actor, job, error)
            return []
        if job is None:
            self._load[actor] = 0
        elif actor in self._load:  # else it died since
            self._load[actor] -= 1
        self._hand_out()
        return [(job.number, result)] if job else []

    def _lost(self, actor: Any, job: _Job | None, error: Exception) -> None:
        """Redo the job elsewhere; two jobs of a worker may report its death."""
        if job is not None:
            job.attempts += 1
            if job.attempts >= _ATTEMPTS:
                raise EncoderError(
                    f"{_ATTEMPTS} workers died with the same images, probably for want of memory: give workers more"
                ) from error
            self._jobs.appendleft(job)
        if job is None or self._load.pop(actor, None) is not None:
            log.warning("a worker of the Ray cluster was lost; its frames are encoded again elsewhere")
        self._hand_out()

    def stop(self) -> None:
        """End the processes."""
        for actor in {*self._load, *(actor for actor, _ in self._running.values())}:
            self._ray.kill(actor)


def _cause(error: Any) -> Exception:
    """Return the error that a worker met; one of ours as it is."""
    cause = error.cause
    return cause if isinstance(cause, M3Error) else EncoderError(f"a worker of the Ray cluster failed: {cause!r}")


def _in_order(workers: _Workers, batches: Iterator[Images]) -> Iterator[list[FeatureMap]]:
    """Keep the workers busy, a bounded number of batches ahead of what was yielded."""
    done: dict[int, list[FeatureMap]] = {}
    taken, given, more = 0, 0, True
    while True:
        while more and taken - given < (_QUEUED + 1) * workers.count:
            images = next(batches, None)
            more = images is not None
            if images:
                workers.submit(_Job(taken, images))
            elif more:
                done[taken] = []
            taken += more
        while given in done:
            yield done.pop(given)
            given += 1
        if not more and given == taken:
            return
        if given not in done and taken > given:
            done.update(workers.next_done())
