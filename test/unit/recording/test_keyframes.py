import cv2
import numpy as np
import pytest

from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import from_yaw
from m3_ros.recording import Frame, KeyframeSettings, resize_frame, select_keyframes
from m3_ros.recording.keyframes import sharpness

CAMERA = Camera(64, 48, 50, 50, 32, 24)
TEXTURE = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)


def frame(i, x=0.0, yaw=0.0, blur=0):
    rgb = TEXTURE if blur == 0 else cv2.GaussianBlur(TEXTURE, (0, 0), blur)
    return Frame(i, rgb, CAMERA, from_yaw(x, 0, yaw), np.full((48, 64), 2, np.float32))


def stamps(frames):
    return [f.stamp_ns for f in frames]


def test_standing_robot_gives_one_keyframe():
    assert len(select_keyframes(frame(i) for i in range(20))) == 1


def test_one_keyframe_for_each_window_of_motion():
    settings = KeyframeSettings(min_translation_m=0.1)
    assert len(select_keyframes((frame(i, x=0.03 * i) for i in range(40)), settings)) == 10


def test_turning_on_the_spot_counts_as_motion():
    settings = KeyframeSettings(min_rotation_rad=0.2)
    assert len(select_keyframes((frame(i, yaw=0.11 * i) for i in range(10)), settings)) == 5


def test_the_sharpest_frame_of_a_window_is_kept():
    frames = [frame(0, blur=2), frame(1, x=0.01, blur=0), frame(2, x=0.02, blur=1), frame(3, x=1)]
    assert stamps(select_keyframes(frames)) == [1, 3]


def test_blurred_window_among_sharp_ones_is_dropped():
    frames = [frame(i, x=i, blur=3 if i == 4 else 0) for i in range(9)]
    assert stamps(select_keyframes(frames)) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert len(select_keyframes(frames, KeyframeSettings(min_relative_sharpness=0))) == 9


def test_keyframes_are_limited_and_stay_spread():
    chosen = stamps(select_keyframes((frame(i, x=i) for i in range(100)), KeyframeSettings(max_keyframes=20)))
    assert len(chosen) == 20
    assert chosen == sorted(chosen)
    assert max(np.diff(chosen)) <= 16


def test_only_a_bounded_number_of_frames_is_held():
    import weakref

    alive, peak = weakref.WeakSet(), 0

    class Marker:
        pass

    def stream():
        nonlocal peak
        for i in range(60):
            made = frame(i, x=i)
            object.__setattr__(made, "marker", marker := Marker())
            alive.add(marker)
            del marker
            peak = max(peak, len(alive))
            yield made
            del made

    select_keyframes(stream(), KeyframeSettings(max_keyframes=5))
    assert peak <= 5 + 4


def test_wide_frames_are_scaled_down():
    (chosen,) = select_keyframes([frame(0)], KeyframeSettings(max_width=32))
    assert chosen.rgb.shape == (24, 32, 3)
    assert (chosen.camera.fx, chosen.camera.cx) == (25, 16)


def test_resized_depth_is_never_mixed():
    depth = np.where(np.arange(64) < 31, 1, 5).astype(np.float32) * np.ones((48, 1), np.float32)
    small = resize_frame(Frame(0, TEXTURE, CAMERA, np.eye(4), depth), 16)
    assert set(np.unique(small.depth)) == {1, 5}
    assert small.camera == CAMERA.scaled(16, 12)
    np.testing.assert_allclose(small.rgb[3, 3], TEXTURE[12:16, 12:16].mean((0, 1)), atol=1)


def test_blur_lowers_sharpness():
    assert sharpness(TEXTURE) > 4 * sharpness(cv2.GaussianBlur(TEXTURE, (0, 0), 1))


def test_nothing_gives_nothing():
    assert select_keyframes([]) == []


def test_a_plain_stretch_is_not_taken_for_blur():
    plain = np.full((48, 64, 3), 120, np.uint8)
    plain[::7] = 125
    frames = [frame(i, x=i) for i in range(6)]
    frames += [Frame(i, plain, CAMERA, from_yaw(i, 0, 0)) for i in range(6, 14)]
    assert stamps(select_keyframes(frames))[-6:] == pytest.approx([8, 9, 10, 11, 12, 13])
