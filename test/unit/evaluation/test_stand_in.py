import numpy as np
import pytest

from m3_ros.errors import EncoderError
from m3_ros.evaluation.stand_in import load_any

RGB = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


def test_it_has_the_width_and_grid_that_were_asked_for():
    seen = load_any("stand-in:24:3x5").encode_image(RGB)
    assert seen.features.shape == (3, 5, 24)
    assert seen.index is None


def test_regions_have_one_vector_each():
    encoder = load_any("stand-in:24:6x8:regions")
    seen = encoder.encode_image(RGB)
    assert seen.index.shape == (6, 8)
    assert seen.features.shape == (int(seen.index.max()) + 1, 24)
    assert encoder.name == "stand-in-24-6x8-regions"


def test_it_has_no_words():
    with pytest.raises(EncoderError, match="no words"):
        load_any("stand-in:24:3x5").encode_text(["chair"])


@pytest.mark.parametrize(
    "spec", ["stand-in", "stand-in:24", "stand-in:0:3x5", "stand-in:24:3x5:other", "stand-in:24:3"]
)
def test_another_form_is_refused(spec):
    with pytest.raises(EncoderError, match="no stand-in"):
        load_any(spec)
