import numpy as np
from recorded_walk import make_walk, walk_bag, write_folder

from m3_ros.recording import Severity, check


def problems(findings):
    return " | ".join(f.what for f in findings if f.severity != Severity.INFO)


def test_good_walk_has_no_problems(tmp_path, walk):
    assert problems(check(walk_bag(walk).write(tmp_path / "bag"))) == ""
    assert problems(check(write_folder(walk, tmp_path / "folder"))) == ""


def test_body_frame_instead_of_optical_frame_is_found(tmp_path, walk):
    to_body = np.eye(4)
    to_body[:3, :3] = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]])
    walk.poses[:] = [pose @ to_body for pose in walk.poses]
    (worst, *_) = check(write_folder(walk, tmp_path / "folder"))
    assert worst.severity == Severity.ERROR
    assert "body frame" in worst.what


def test_upside_down_camera_is_found(tmp_path, walk):
    walk.poses[:] = [pose @ np.diag([-1.0, -1, 1, 1]) for pose in walk.poses]
    assert "not upright" in problems(check(walk_bag(walk).write(tmp_path / "bag")))


def test_pose_jump_is_found(tmp_path, walk):
    for pose in walk.poses[5:]:
        pose[0, 3] += 7
    assert "the pose jumps 1 times, first at 1700000000.500 s" in problems(
        check(walk_bag(walk).write(tmp_path / "bag"))
    )


def test_clock_skew_between_image_and_odometry_is_found(tmp_path, walk):
    bag = walk_bag(walk)
    bag.messages = [
        (log + (300_000_000 if topic in ("/odom", "/tf") else 0), topic, m) for log, topic, m in bag.messages
    ]
    assert "the clocks of /camera/image_raw and /odom differ by +0.30 s" in problems(check(bag.write(tmp_path / "bag")))


def test_missing_depth_and_missing_poses_are_found(tmp_path, walk):
    bag = walk_bag(walk, depth=False)
    bag.messages = [m for m in bag.messages if m[1] not in ("/tf", "/odom") or m[0] >= walk.stamp(2)]
    found = problems(check(bag.write(tmp_path / "bag")))
    assert "2 of 8 images have no pose" in found
    assert "no depth registered" in found


def test_depth_in_the_wrong_unit_is_found(tmp_path):
    walk = make_walk()
    assert "median depth" in problems(check(write_folder(walk, tmp_path / "folder", depth_unit_m=1.0)))


def test_silence_is_found(tmp_path):
    walk = make_walk(count=30)
    bag = walk_bag(walk)
    bag.messages = [m for m in bag.messages if m[1] != "/camera/image_raw" or not walk.stamp(5) < m[0] < walk.stamp(20)]
    assert "/camera/image_raw is silent for 1.5 s" in problems(check(bag.write(tmp_path / "bag")))
