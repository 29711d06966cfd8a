"""The rules by which answers and renders are judged."""

from math import inf, isnan, log10

import numpy as np
import pytest

from m3_ros.evaluation import Truth, psnr
from m3_ros.evaluation.localisation import judge_position
from m3_ros.query import Status

CHAIRS = [Truth("chair", np.array([1.0, 0, 0.4])), Truth("chair", np.array([-2.0, 1, 0.4])), Truth("sofa", np.zeros(3))]


def test_equal_images_have_infinite_psnr():
    image = np.full((4, 5, 3), 0.5, np.float32)
    assert psnr(image, image) == inf


def test_psnr_follows_its_definition():
    reference = np.full((4, 5, 3), 0.5, np.float32)
    assert psnr(reference + 0.1, reference) == pytest.approx(-20 * log10(0.1), abs=1e-4)


def test_psnr_refuses_images_of_two_shapes():
    with pytest.raises(ValueError, match="one shape"):
        psnr(np.zeros((2, 2, 3), np.float32), np.zeros((2, 3, 3), np.float32))


def test_the_nearest_instance_counts():
    judged = judge_position(Status.FOUND, np.array([-2.0, 1.3, 0.4]), "chair", CHAIRS)
    assert judged.correct
    assert judged.error_m == pytest.approx(0.3)


def test_a_far_answer_is_wrong():
    judged = judge_position(Status.FOUND, np.array([0.0, 0.0, 0.0]), "chair", CHAIRS)
    assert not judged.correct
    assert judged.error_m > 0.5


@pytest.mark.parametrize("status", [Status.NOT_FOUND, Status.UNOBSERVED])
def test_a_present_thing_that_is_not_found_is_wrong(status):
    judged = judge_position(status, None, "chair", CHAIRS)
    assert judged.expected == "present"
    assert not judged.correct
    assert isnan(judged.error_m)


@pytest.mark.parametrize(("status", "correct"), [(Status.NOT_FOUND, True), (Status.FOUND, False)])
def test_an_absent_thing_must_not_be_found(status, correct):
    judged = judge_position(status, np.zeros(3), "bicycle", CHAIRS)
    assert judged.expected == "absent"
    assert judged.correct is correct
