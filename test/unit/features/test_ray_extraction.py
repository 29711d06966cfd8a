import importlib.util
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
import torch

from m3_ros.errors import EncoderError
from m3_ros.features import extract, load_encoder
from m3_ros.features.encoder import FeatureMap
from m3_ros.geometry.camera import Camera
from m3_ros.recording.frame import Frame

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed", allow_module_level=True)

SMALL_NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1"}

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
]


class DeadlyEncoder:
    """Gives the mean colour; ends its process at a given image, once or always."""

    name, version, dim, background_phrases, known_names = "deadly", "1", 3, (), ()

    def __init__(self, deadly=-1, once=None, refused=-1):
        self.deadly, self.once, self.refused = deadly, once, refused

    def encode_image(self, rgb):
        self.meet(int(rgb[0, 0, 0]))
        mean = torch.from_numpy(rgb.reshape(-1, 3).mean(0)).float().view(1, 1, 3)
        return FeatureMap(mean, torch.ones(1, 1, dtype=torch.bool), (rgb.shape[1], rgb.shape[0]))

    def meet(self, number):
        if number == self.refused:
            raise EncoderError("this image is refused")
        if number == self.deadly and not (self.once and self.once.exists()):
            if self.once:
                self.once.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class FrailEncoder(DeadlyEncoder):
    """The embedded encoder, slowed down so that a node can be taken away meanwhile; ends its process once."""

    def __init__(self, deadly, once):
        super().__init__(deadly, once)
        self.inner = load_encoder("embedded")
        self.dim = self.inner.dim

    def encode_image(self, rgb):
        self.meet(int(rgb[0, 0, 0]))
        time.sleep(0.1)
        return self.inner.encode_image(rgb)


@pytest.fixture(scope="module")
def ray():
    from m3_ros.features.ray_extraction import import_ray

    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray then stays on the loopback, here as on those
    ray = import_ray()
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    return ray


@pytest.fixture(scope="module")
def cluster(ray):
    from ray.cluster_utils import Cluster

    two = Cluster(initialize_head=True, head_node_args={**SMALL_NODE, "include_dashboard": False})
    add_node(two)
    yield two
    ray.shutdown()
    two.shutdown()


def add_node(cluster):
    """Add a node; on a busy machine one may not start within the 30 s that Ray allows, and the next one does."""
    for _ in range(2):
        with suppress(Exception):  # Ray raises no class of its own
            return cluster.add_node(**SMALL_NODE)
    return cluster.add_node(**SMALL_NODE)


@pytest.fixture(scope="module")
def connected(ray, cluster):
    """Connect once for several tests; the code under test uses a connection that is there."""
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    return cluster


def numbered(count):
    camera = Camera.from_fov(32, 24, 1.2)
    images = [np.full((24, 32, 3), i, np.uint8) for i in range(count)]
    return [Frame(i, image, camera, np.eye(4)) for i, image in enumerate(images)]


def values(maps):
    return [float(seen.features[0, 0, 0]) for seen in maps]


def test_a_cluster_gives_the_bits_of_one_process_though_a_worker_is_killed_and_a_node_goes_away(cluster, tmp_path):
    frames, encoder, told = numbered(12), FrailEncoder(3, tmp_path / "killed"), []
    here = list(extract(frames, encoder.inner))
    there = extract(frames, encoder, progress=told.append, ray_address=cluster.address)
    seen = [next(there)]
    cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
    seen += there
    assert (tmp_path / "killed").exists()
    assert [so_far.done for so_far in told] == list(range(1, 13))
    assert all(torch.equal(a.features, b.features) for a, b in zip(here, seen, strict=True))


def test_only_what_the_cache_lacks_goes_to_the_cluster_and_is_kept(connected, tmp_path):
    cache = tmp_path / "cache"
    list(extract(numbered(3), DeadlyEncoder(), cache))
    encoder = DeadlyEncoder(deadly=3, once=tmp_path / "killed", refused=0)
    assert values(extract(numbered(4), encoder, cache, ray_address=connected.address)) == [0, 1, 2, 3]
    assert (tmp_path / "killed").exists()
    assert values(extract(numbered(4), DeadlyEncoder(refused=3), cache, ray_address="nowhere")) == [0, 1, 2, 3]


def test_an_image_that_kills_every_worker_ends_the_work(connected, monkeypatch):
    monkeypatch.setattr("m3_ros.features.ray_extraction._ATTEMPTS", 2)
    with pytest.raises(EncoderError, match="2 workers died with the same images"):
        list(extract(numbered(1), DeadlyEncoder(deadly=0), ray_address=connected.address))


def test_an_error_of_the_encoder_comes_back_as_it_is(connected):
    with pytest.raises(EncoderError, match="this image is refused"):
        list(extract(numbered(1), DeadlyEncoder(refused=0), ray_address=connected.address))


class NeedsTorchvision(DeadlyEncoder):
    """Imports torchvision when it is unpacked, as all models of OpenCLIP and transformers do."""

    def __setstate__(self, state):
        import torchvision

        self.__dict__ = {**state, "found": torchvision.__name__}


def test_a_worker_unpacks_an_encoder_whose_library_needs_torchvision(ray, tmp_path):
    """In a process of its own: under a CPU-only torch, torchvision cannot be imported just so."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    (tmp_path / "encoder").write_bytes(ray.cloudpickle.dumps(NeedsTorchvision()))
    code = (
        "import sys; from pathlib import Path; from m3_ros.features.ray_extraction import _Worker;"
        "worker = _Worker(1); worker.receive(Path(sys.argv[1]).read_bytes()); print(worker._encoder.found)"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "encoder")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "torchvision"


def test_a_cluster_that_does_not_answer_is_an_error_with_the_command_that_starts_one(ray, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: (_ for _ in ()).throw(ConnectionError("refused")))
    with pytest.raises(EncoderError, match="ray start --head"):
        list(extract(numbered(1), DeadlyEncoder(), ray_address="127.0.0.1:1"))
