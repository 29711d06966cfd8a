from dataclasses import replace

import numpy as np
import pytest
from toy_room import toy_frame

from m3_ros.errors import Cancelled
from m3_ros.geometry.pose import look_at
from m3_ros.training.partners import best_partners, match_scores
from m3_ros.training.plane_sweep import SweepSettings, sweep_depth

QUICK = SweepSettings(width=32, planes=48, partners=5, references=24)


@pytest.fixture(scope="module")
def walk():
    return [toy_frame(i, 24) for i in range(24)]


def test_confirmed_depth_is_right_to_a_few_percent(walk):
    views = sweep_depth([replace(frame, depth=None) for frame in walk], QUICK)
    assert [view.frame for view in views] == list(range(24))
    errors, known = [], []
    for view in views:
        truth = walk[view.frame].depth
        assert view.depth.shape == truth.shape
        seen = view.depth > 0
        known.append(seen.mean())
        errors.append(np.abs(view.depth - truth)[seen] / truth[seen])
    assert np.mean(known) > 0.5
    assert np.median(np.concatenate(errors)) < 0.02
    assert np.quantile(np.concatenate(errors), 0.9) < 0.1


def test_a_change_of_exposure_is_survived(walk):
    dark = [
        replace(frame, depth=None, rgb=(frame.rgb * (1.0 if i % 2 else 0.93)).astype(np.uint8))
        for i, frame in enumerate(walk)
    ]
    errors = []
    for view in sweep_depth(dark, QUICK):
        truth, seen = walk[view.frame].depth, view.depth > 0
        errors.append(np.abs(view.depth - truth)[seen] / truth[seen])
    assert np.median(np.concatenate(errors)) < 0.05


def test_no_more_than_so_many_pictures_are_swept(walk):
    views = sweep_depth(walk, replace(QUICK, references=7))
    assert len(views) <= 7


def test_a_sweep_can_be_stopped(walk):
    def stop():
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        sweep_depth(walk, QUICK, stop)


def test_pictures_from_one_place_or_without_overlap_are_no_partners(walk):
    a = walk[0]
    eye = a.T_map_camera[:3, 3]
    same = replace(a, stamp_ns=1)
    beside = replace(
        a, T_map_camera=a.T_map_camera @ np.array([[1, 0, 0, 0.3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    )
    behind = replace(a, T_map_camera=look_at(eye, eye - a.T_map_camera[:3, 2]))
    scores = match_scores([a, same, beside, behind], [0])
    assert scores[0, 2] > 0.5
    assert best_partners(scores, 3) == [[2]]


def test_a_short_training_sweeps_less():
    assert SweepSettings.within(20).references < SweepSettings.within(90).references
    assert SweepSettings.within(float("inf")) == SweepSettings()
