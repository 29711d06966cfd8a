import logging

import cv2
import numpy as np
import pytest
from recorded_walk import (
    BODY_OPTICAL,
    FX,
    PERIOD_NS,
    T0_NS,
    BagBuilder,
    camera_info_message,
    compressed_depth_16u,
    compressed_message,
    image_message,
    png,
    tf_message,
    walk_bag,
    write_folder,
)

from m3_ros.errors import RecordingError
from m3_ros.recording import BagTopics, describe, read
from m3_ros.recording.frame import Frame


def same(a: Frame, b: Frame) -> None:
    assert a.camera == b.camera
    np.testing.assert_array_equal(a.rgb, b.rgb)
    np.testing.assert_allclose(a.depth, b.depth, atol=1e-6)
    np.testing.assert_allclose(a.T_map_camera, b.T_map_camera, atol=1e-6)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_bag_and_folder_give_the_same_frames(tmp_path, walk, storage):
    bag = walk_bag(walk).write(tmp_path / "bag", storage)
    file = next(f for f in bag.iterdir() if f.suffix in (".mcap", ".db3"))
    folder = list(read(write_folder(walk, tmp_path / "folder")))
    for frames in (list(read(bag)), list(read(file))):
        assert len(frames) == len(folder) == walk.count
        for a, b in zip(frames, folder, strict=True):
            same(a, b)
            assert abs(a.stamp_ns - b.stamp_ns) < 1000  # a float of seconds in 2023 resolves 240 ns


def test_poses_and_pixels_are_those_that_were_recorded(tmp_path, walk):
    frames = list(read(walk_bag(walk).write(tmp_path / "bag")))
    for i, frame in enumerate(frames):
        assert frame.stamp_ns == walk.stamp(i)
        np.testing.assert_allclose(frame.T_map_camera, walk.poses[i], atol=1e-9)
        np.testing.assert_array_equal(frame.rgb, walk.rgb[i])
        np.testing.assert_allclose(frame.depth, walk.depth_mm[i] / 1000, atol=1e-6)
    assert frames[0].camera.cx == 16.0  # ROS counts from the first pixel's centre, we from its corner
    assert frames[0].camera.fx == FX


def test_split_bag_is_read_in_order(tmp_path, walk):
    whole = walk_bag(walk)
    half = walk.stamp(4)
    parts = []
    for i in range(2):
        part = BagBuilder()
        part.messages = [m for m in whole.messages if (m[0] >= half) == bool(i)]
        parts.append(part.write(tmp_path / f"part_{i}"))
    joined = tmp_path / "split"
    joined.mkdir()
    for i, part in enumerate(parts):
        next(part.glob("*.mcap")).rename(joined / f"split_{i}.mcap")
    assert [f.stamp_ns for f in read(joined)] == [walk.stamp(i) for i in range(walk.count)]


def test_describe_counts_without_decoding_everything(tmp_path, walk):
    summary = describe(walk_bag(walk).write(tmp_path / "bag"))
    assert (summary.kind, summary.frames, summary.skipped, summary.has_depth) == ("rosbag2", 8, 0, True)
    assert (summary.width, summary.height, summary.fixed_frame) == (32, 24, "odom")
    assert summary.duration_s == pytest.approx(0.7)
    assert {t.name: t.count for t in summary.topics}["/camera/image_raw"] == 8


def test_map_is_preferred_over_odom(tmp_path, walk):
    bag = walk_bag(walk)
    T_map_odom = np.eye(4)
    T_map_odom[:3, 3] = (10, 0, 0)
    for i in range(walk.count):
        bag.add("/tf", walk.stamp(i), tf_message(walk.stamp(i), "map", "odom", T_map_odom))
    path = bag.write(tmp_path / "bag")
    assert describe(path).fixed_frame == "map"
    assert next(read(path)).T_map_camera[0, 3] == pytest.approx(walk.poses[0][0, 3] + 10)
    moved = next(read(path, BagTopics(fixed_frame="odom"))).T_map_camera
    np.testing.assert_allclose(moved, walk.poses[0], atol=1e-9)


def test_odometry_serves_where_tf_does_not_move(tmp_path, walk):
    frames = list(read(walk_bag(walk, tf=False).write(tmp_path / "bag")))
    np.testing.assert_allclose(frames[3].T_map_camera, walk.poses[3], atol=1e-9)


def test_poses_are_interpolated_at_the_image_stamp(tmp_path, walk):
    bag = walk_bag(walk, image=False, depth=False)
    bag.add("/camera/image_raw", T0_NS, image_message(walk.stamp(2) + PERIOD_NS // 4, walk.rgb[0], "rgb8"))
    frame = next(read(bag.write(tmp_path / "bag")))
    body = [(walk.poses[i] @ np.linalg.inv(BODY_OPTICAL))[:3, 3] for i in (2, 3)]
    got = (frame.T_map_camera @ np.linalg.inv(BODY_OPTICAL))[:3, 3]
    np.testing.assert_allclose(got, 0.75 * body[0] + 0.25 * body[1], atol=1e-9)


def test_images_outside_the_transforms_are_skipped_and_counted(tmp_path, walk, caplog):
    bag = walk_bag(walk)
    bag.messages = [m for m in bag.messages if m[1] not in ("/tf", "/odom") or m[0] >= walk.stamp(2)]
    path = bag.write(tmp_path / "bag")
    with caplog.at_level(logging.WARNING):
        assert len(list(read(path))) == 6
    assert "2 of 8 images have no pose" in caplog.text
    assert describe(path).skipped == 2


def test_most_images_without_pose_is_an_error_that_names_the_gap(tmp_path, walk):
    bag = walk_bag(walk)
    bag.messages = [m for m in bag.messages if m[1] not in ("/tf", "/odom") or m[0] >= walk.stamp(6)]
    with pytest.raises(RecordingError, match=r"6 of 8 images have no pose.*/tf .* from 1700000000\.600 s"):
        list(read(bag.write(tmp_path / "bag")))


def test_no_motion_at_all_says_what_to_record(tmp_path, walk):
    path = walk_bag(walk, tf=False, odometry=False).write(tmp_path / "bag")
    with pytest.raises(RecordingError, match=r"record /tf and /tf_static, or nav_msgs/Odometry"):
        list(read(path))


def test_odometry_without_static_transform_says_so(tmp_path, walk):
    path = walk_bag(walk, tf=False, static=False).write(tmp_path / "bag")
    with pytest.raises(RecordingError, match="record /tf_static"):
        list(read(path))


def test_bag_without_camera_info_is_refused(tmp_path, walk):
    with pytest.raises(RecordingError, match=r"no camera_info for /camera/image_raw.*record /camera/camera_info"):
        list(read(walk_bag(walk, info=False).write(tmp_path / "bag")))


def test_uncalibrated_camera_is_refused(tmp_path, walk):
    bag = walk_bag(walk, info=False)
    bag.add("/camera/camera_info", T0_NS, camera_info_message(T0_NS, walk, k=[0.0] * 9))
    with pytest.raises(RecordingError, match="not calibrated"):
        list(read(bag.write(tmp_path / "bag")))


def test_bag_without_images_lists_what_it_holds(tmp_path, walk):
    path = walk_bag(walk, image=False, depth=False).write(tmp_path / "bag")
    with pytest.raises(RecordingError, match=r"no colour image topic; it holds .*/odom \(Odometry\)"):
        list(read(path))


def test_missing_topic_that_was_asked_for_is_named(tmp_path, walk):
    path = walk_bag(walk).write(tmp_path / "bag")
    with pytest.raises(RecordingError, match=r"no messages on /front/image; it holds .*/camera/image_raw"):
        list(read(path, BagTopics(image="/front/image")))


def test_unknown_encoding_is_named(tmp_path, walk):
    path = walk_bag(walk, encoding="hsv9").write(tmp_path / "bag")
    with pytest.raises(RecordingError, match="encoding 'hsv9' is not known; known are rgb8"):
        list(read(path))


def test_compressed_images_and_depth_are_read(tmp_path, walk):
    bag = walk_bag(walk, image=False, depth=False)
    for i in range(walk.count):
        t = walk.stamp(i)
        bag.add("/camera/image_raw/compressed", t, compressed_message(t, png(walk.rgb[i][..., ::-1]), "rgb8; png"))
        bag.add("/camera/depth/image_raw/compressedDepth", t + 1, compressed_depth_16u(t, walk.depth_mm[i]))
    for i, frame in enumerate(read(bag.write(tmp_path / "bag"))):
        np.testing.assert_array_equal(frame.rgb, walk.rgb[i])
        np.testing.assert_allclose(frame.depth, walk.depth_mm[i] / 1000, atol=1e-6)


def test_depth_is_matched_by_nearest_stamp_within_the_tolerance(tmp_path, walk):
    bag = walk_bag(walk, depth=False)
    for i in range(walk.count):
        late = 10_000_000 if i < 4 else 45_000_000
        message = image_message(walk.stamp(i) + late, walk.depth_mm[i], "16UC1")
        bag.add("/camera/depth/image_raw", walk.stamp(i) + late, message)
    frames = list(read(bag.write(tmp_path / "bag")))
    assert [frame.depth is not None for frame in frames] == [True] * 4 + [False] * 4
    np.testing.assert_allclose(frames[3].depth, walk.depth_mm[3] / 1000, atol=1e-6)


def test_of_several_cameras_the_one_with_depth_is_read_and_told(tmp_path, walk, caplog):
    bag = walk_bag(walk)
    for i in range(walk.count):
        t = walk.stamp(i)
        bag.add("/rear/image_raw", t, image_message(t, walk.rgb[0], "rgb8"))
        bag.add("/rear/camera_info", t, camera_info_message(t, walk))
    with caplog.at_level(logging.INFO):
        frames = list(read(bag.write(tmp_path / "bag")))
    np.testing.assert_array_equal(frames[1].rgb, walk.rgb[1])
    assert "reading camera /camera/image_raw" in caplog.text
    assert "/rear/image_raw" in caplog.text


def test_depth_of_another_frame_is_left_out_with_a_warning(tmp_path, walk, caplog):
    bag = walk_bag(walk, depth=False)
    for i in range(walk.count):
        t = walk.stamp(i)
        bag.add("/camera/depth/image_raw", t, image_message(t, walk.depth_mm[i], "16UC1", frame="depth_optical"))
    path = bag.write(tmp_path / "bag")
    with caplog.at_level(logging.WARNING):
        assert next(read(path)).depth is None
    assert "not registered" in caplog.text
    with pytest.raises(RecordingError, match="aligned to colour"):
        next(read(path, BagTopics(depth="/camera/depth/image_raw")))


@pytest.mark.parametrize(
    ("model", "d"), [("plumb_bob", (-0.2, 0.05, 0.001, 0.001, 0)), ("equidistant", (0.05, 0.01, 0, 0))]
)
def test_distorted_images_become_pinhole_images(tmp_path, walk, model, d):
    bag = walk_bag(walk, info=False)
    bag.add("/camera/camera_info", T0_NS, camera_info_message(T0_NS, walk, model=model, d=d))
    frame = next(read(bag.write(tmp_path / "bag")))
    assert frame.rgb.shape == (24, 32, 3)
    assert not np.array_equal(frame.rgb, walk.rgb[0])
    # a pixel of the new image is the old one that the lens model sends its ray to
    u, v = 20, 9
    ray = np.array([[(u + 0.5 - frame.camera.cx) / frame.camera.fx, (v + 0.5 - frame.camera.cy) / frame.camera.fy]])
    K = np.array([[30.0, 0, 15.5], [0, 31.0, 11.0], [0, 0, 1]])
    if model == "equidistant":
        x, y = cv2.fisheye.distortPoints(ray[None], K, np.array(d))[0, 0]
    else:
        x, y = cv2.projectPoints(np.append(ray, 1.0)[None], np.zeros(3), np.zeros(3), K, np.array(d))[0][0, 0]
    expected = cv2.remap(walk.rgb[0], np.float32([[x]]), np.float32([[y]]), cv2.INTER_LINEAR)[0, 0]
    np.testing.assert_allclose(frame.rgb[v, u].astype(int), expected, atol=12)  # remap rounds to 1/32 pixel


def test_unknown_distortion_model_is_refused(tmp_path, walk):
    bag = walk_bag(walk, info=False)
    bag.add("/camera/camera_info", T0_NS, camera_info_message(T0_NS, walk, model="magic", d=(0.1,)))
    with pytest.raises(RecordingError, match="'magic' with 1 coefficients"):
        list(read(bag.write(tmp_path / "bag")))


def test_frames_come_one_by_one(tmp_path, walk):
    stream = read(walk_bag(walk).write(tmp_path / "bag"))
    assert next(stream).stamp_ns == walk.stamp(0)
    assert next(stream).stamp_ns == walk.stamp(1)
