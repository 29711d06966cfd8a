import importlib.util
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from tiny_models import CLIP, save_open_clip, square_image

from m3_ros.errors import EncoderError
from m3_ros.features import Compute, extract, load_encoder
from m3_ros.features.encoder import FeatureMap
from m3_ros.geometry.camera import Camera
from m3_ros.recording.frame import Frame

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed", allow_module_level=True)

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
        number = int(rgb[0, 0, 0])
        if number == self.refused:
            raise EncoderError("this image is refused")
        if number == self.deadly and not (self.once and self.once.exists()):
            if self.once:
                self.once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        mean = torch.from_numpy(rgb.reshape(-1, 3).mean(0)).float().view(1, 1, 3)
        return FeatureMap(mean, torch.ones(1, 1, dtype=torch.bool), (rgb.shape[1], rgb.shape[0]))


class SlowEncoder(DeadlyEncoder):
    """Takes its time, so that a node can be taken away meanwhile."""

    def encode_image(self, rgb):
        time.sleep(0.15)
        return super().encode_image(rgb)


@pytest.fixture(scope="module")
def cluster():
    from m3_ros.features.ray_extraction import import_ray

    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray then stays on the loopback, here as on those
    ray = import_ray()
    from ray.cluster_utils import Cluster

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test

    small = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1"}
    two = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    two.add_node(**small)
    yield two
    ray.shutdown()
    two.shutdown()


def numbered(count):
    camera = Camera.from_fov(32, 24, 1.2)
    images = [np.full((24, 32, 3), i, np.uint8) for i in range(count)]
    return [Frame(i, image, camera, np.eye(4)) for i, image in enumerate(images)]


def values(maps):
    return [float(seen.features[0, 0, 0]) for seen in maps]


def test_a_cluster_gives_the_same_bits_as_one_process(cluster):
    camera = Camera.from_fov(64, 48, 1.2)
    pictures = [square_image(64, 48, 3 * i, 2 * i, 20) for i in range(6)]
    frames = [Frame(i, picture, camera, np.eye(4)) for i, picture in enumerate(pictures)]
    encoder, done = load_encoder("embedded"), []
    here = list(extract(frames, encoder))
    there = list(extract(frames, encoder, progress=done.append, ray_address=cluster.address))
    assert done == [1, 2, 3, 4, 5, 6]
    assert all(torch.equal(a.features, b.features) for a, b in zip(here, there, strict=True))


def test_a_killed_workers_frames_are_encoded_again_and_the_cache_is_filled(cluster, tmp_path):
    encoder = DeadlyEncoder(deadly=3, once=tmp_path / "killed")
    there = list(extract(numbered(8), encoder, tmp_path / "cache", ray_address=cluster.address))
    assert (tmp_path / "killed").exists()
    assert values(there) == list(range(8))
    cached = DeadlyEncoder(refused=0)
    assert values(extract(numbered(8), cached, tmp_path / "cache", ray_address="nowhere")) == list(range(8))


def test_an_image_that_kills_every_worker_ends_the_work(cluster):
    with pytest.raises(EncoderError, match="workers died with the same images"):
        list(extract(numbered(3), DeadlyEncoder(deadly=1), ray_address=cluster.address))


def test_an_error_of_the_encoder_comes_back_as_it_is(cluster):
    with pytest.raises(EncoderError, match="this image is refused"):
        list(extract(numbered(3), DeadlyEncoder(refused=1), ray_address=cluster.address))


def test_a_node_that_goes_away_takes_no_frame_with_it(cluster):
    extra = cluster.add_node(num_cpus=1, object_store_memory=80 << 20, node_ip_address="127.0.0.1")
    seen, left = [], False
    for feature_map in extract(numbered(24), SlowEncoder(), ray_address=cluster.address):
        seen.append(float(feature_map.features[0, 0, 0]))
        if not left:
            cluster.remove_node(extra, allow_graceful=False)
            left = True
    assert seen == list(range(24))


def test_a_worker_unpacks_an_encoder_whose_library_needs_torchvision(tmp_path):
    encoder = load_encoder(f"openclip:{save_open_clip(tmp_path / 'clip', CLIP)}", Compute(precision="float32"))
    picture = square_image(64, 48, 3, 2, 20)
    from ray import cloudpickle

    (tmp_path / "encoder").write_bytes(cloudpickle.dumps(encoder))
    np.save(tmp_path / "picture.npy", picture)
    code = (
        "import numpy, sys, torch; from m3_ros.features.ray_extraction import _Worker; from pathlib import Path;"
        "place = Path(sys.argv[1]); worker = _Worker(1); worker.receive((place / 'encoder').read_bytes());"
        "torch.save(worker.encode([numpy.load(place / 'picture.npy')])[0].features, place / 'features')"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path)], check=True)
    assert torch.equal(torch.load(tmp_path / "features"), encoder.encode_image(picture).features)


def test_a_cluster_that_does_not_answer_is_an_error_with_the_command_that_starts_one(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "init", lambda **_: (_ for _ in ()).throw(ConnectionError("refused")))
    with pytest.raises(EncoderError, match="ray start --head"):
        list(extract(numbered(1), DeadlyEncoder(), ray_address="127.0.0.1:1"))
