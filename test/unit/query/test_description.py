import numpy as np
import pytest
from tiny_speakers import save_mllama
from toy_field import toy_gaussians
from toy_room import toy_frames

from m3_ros.errors import EncoderError, MemoryFormatError, QueryError
from m3_ros.features import load_encoder
from m3_ros.features.compute import Compute
from m3_ros.geometry.pose import look_at
from m3_ros.query.description import Describer
from m3_ros.training.memory_stage import MemorySettings, build_memory
from m3_ros.training.polish import PolishSettings

FEW_STEPS = PolishSettings(steps=2)

FLOAT = Compute(precision="float32")
ASK = "what is this ?"


@pytest.fixture(scope="module")
def frames():
    return toy_frames(8)


@pytest.fixture(scope="module")
def describer(frames, tmp_path_factory):
    encoder = load_encoder(f"multimodal:{save_mllama(tmp_path_factory.mktemp('mllama'))}", FLOAT)
    settings = MemorySettings(query_dim=24, theta=0.97, lift_width=64, polish=FEW_STEPS)
    return Describer(build_memory(frames, toy_gaussians(frames), [encoder], settings), encoder)


def test_a_remembered_view_is_put_into_words(describer, frames):
    said = describer.describe(frames[2].camera, frames[2].T_map_camera, ASK, 6)
    assert said.text
    assert said.remembered > 0.9
    assert said.text == describer.describe(frames[2].camera, frames[2].T_map_camera, ASK, 6).text


def test_remembered_tokens_are_nearer_to_the_true_ones_than_those_of_another_view(describer, frames):
    camera = frames[0].camera
    own = [describer.compare(f.rgb, camera, f.T_map_camera, ASK, 4).cosine for f in frames[::3]]
    others = [describer.compare(f.rgb, camera, frames[i - 4].T_map_camera, ASK, 4).cosine
              for i, f in list(enumerate(frames))[::3]]  # fmt: skip
    assert np.mean(own) > np.mean(others) + 0.02


def test_agreement_is_measured_in_words_too(describer, frames):
    agreement = describer.compare(frames[0].rgb, frames[0].camera, frames[0].T_map_camera, ASK, 6)
    assert 0 <= agreement.same_words <= 1
    assert agreement.divergence >= 0
    assert agreement.true_text == describer.encoder.describe(describer.encoder.encode_image(frames[0].rgb), ASK, 6)


def test_a_pose_with_nothing_in_view_is_an_error(describer, frames):
    away = look_at((0.0, 0.0, 50.0), (0.0, 10.0, 60.0))
    with pytest.raises(QueryError, match="nothing in view"):
        describer.describe(frames[0].camera, away)


def test_an_empty_prompt_is_refused(describer, frames):
    with pytest.raises(EncoderError, match="prompt"):
        describer.describe(frames[0].camera, frames[0].T_map_camera, " ")


def test_a_memory_of_other_weights_is_refused(describer, tmp_path):
    with pytest.raises(MemoryFormatError, match=r"made with encoder .* version"):
        Describer(describer.memory, load_encoder(f"multimodal:{save_mllama(tmp_path, seed=1)}", FLOAT))
