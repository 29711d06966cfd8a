import json
import logging

import numpy as np
import pytest
from recorded_walk import BODY_OPTICAL, PERIOD_NS, T0_NS, T, header, tf_message, walk_bag, write_folder

from m3_ros.errors import RecordingError
from m3_ros.geometry.pose import apply, look_at, transform
from m3_ros.recording.point_cloud import decode_cloud, read_ply_points, read_points
from m3_ros.recording.posed_sequence import upright

LIDAR = look_at((0, 0, 0), (0, 1, 0)) @ transform(np.eye(3), (0.1, 0.2, -0.3))
"""T_base_lidar."""


def fields(names, datatypes=None, offsets=None):
    return [
        T["sensor_msgs/msg/PointField"](
            name=name, offset=offsets[i] if offsets else 4 * i, datatype=datatypes[i] if datatypes else 7, count=1
        )
        for i, name in enumerate(names)
    ]


def cloud_message(stamp, points, frame="lidar", colours=None, **changed):
    names = ("x", "y", "z") + (() if colours is None else ("rgb",))
    columns = [points.astype("<f4")]
    if colours is not None:
        bits = (colours.astype(np.uint32) << np.array([16, 8, 0], np.uint32)).sum(1).astype("<u4")
        columns.append(bits.view("<f4")[:, None])
    rows = np.concatenate(columns, 1)
    values = {
        "header": header(stamp, frame), "height": 1, "width": len(rows), "fields": fields(names), "is_bigendian": False,
        "point_step": rows.shape[1] * 4, "row_step": rows.shape[1] * 4 * len(rows),
        "data": np.frombuffer(rows.tobytes(), np.uint8), "is_dense": True,
    }  # fmt: skip
    return T["sensor_msgs/msg/PointCloud2"](**{**values, **changed})


def write_ply(path, points, colours=None, header_count=None):
    lines = ["ply", "format ascii 1.0", f"element vertex {header_count or len(points)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    if colours is not None:
        lines += [f"property uchar {name}" for name in ("red", "green", "blue")]
    rows = points if colours is None else np.concatenate([points, colours], 1)
    lines += ["end_header", *(" ".join(f"{value:g}" for value in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def scattered(count=60, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform((2, -4, -4), (10, 4, 4), (count, 3))


def lidar_bag(walk, messages):
    bag = walk_bag(walk)
    bag.add("/tf_static", T0_NS, tf_message(T0_NS, "base_link", "lidar", LIDAR))
    for message in messages:
        stamp = message.header.stamp
        bag.add("/points", stamp.sec * 10**9 + stamp.nanosec, message)
    return bag


def test_scans_are_put_into_the_map_as_the_lidar_stood_then(tmp_path, walk):
    points = scattered()
    stamps = [walk.stamp(1), walk.stamp(3) + PERIOD_NS // 2]
    path = lidar_bag(walk, [cloud_message(s, points, colours=np.full((60, 3), (255, 0, 51))) for s in stamps[:1]])
    cloud = read_points(path.write(tmp_path / "bag"))
    expected = apply(walk.poses[1] @ np.linalg.inv(BODY_OPTICAL) @ LIDAR, points)
    np.testing.assert_allclose(cloud.points, expected, atol=1e-4)
    np.testing.assert_allclose(cloud.colours, np.broadcast_to([1, 0, 0.2], (60, 3)), atol=1e-6)
    two = read_points(lidar_bag(walk, [cloud_message(s, points) for s in stamps]).write(tmp_path / "two"))
    assert len(two) == 120
    assert two.colours is None


def test_scans_without_a_pose_and_broken_ones_are_left_out_and_told(tmp_path, walk, caplog):
    good = cloud_message(walk.stamp(2), scattered())
    late = cloud_message(walk.stamp(90), scattered())
    short = cloud_message(walk.stamp(3), scattered(), row_step=4)
    with caplog.at_level(logging.WARNING):
        cloud = read_points(lidar_bag(walk, [good, late, short]).write(tmp_path / "bag"))
    assert len(cloud) == 60
    assert "2 of 3 point clouds on /points are left out" in caplog.text


def test_a_bag_of_unusable_clouds_is_read_without_them(tmp_path, walk, caplog):
    with caplog.at_level(logging.WARNING):
        bad = cloud_message(walk.stamp(2), scattered(), fields=fields(("range", "angle")))
        assert read_points(lidar_bag(walk, [bad]).write(tmp_path / "bag")) is None
    assert "needs the fields x, y and z" in caplog.text


def test_lost_echoes_and_the_robot_itself_are_dropped(tmp_path, walk):
    points = np.concatenate([scattered(10), np.zeros((5, 3)), np.full((3, 3), np.nan), [[0.1, 0.1, 0], [1e6, 0, 0]]])
    cloud = read_points(lidar_bag(walk, [cloud_message(walk.stamp(2), points)]).write(tmp_path / "bag"))
    assert len(cloud) == 10


def test_a_bag_or_folder_without_points_gives_none(tmp_path, walk):
    assert read_points(walk_bag(walk).write(tmp_path / "bag")) is None
    assert read_points(write_folder(walk, tmp_path / "folder")) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"point_step": 8}, "does not fit"),
        ({"width": 10**6}, "does not fit"),
        ({"data": np.zeros(7, np.uint8)}, "does not fit"),
        ({"fields": fields(("x", "y", "z"), datatypes=(7, 7, 99))}, "datatype 99"),
        ({"fields": fields(("x", "y"))}, "needs the fields x, y and z"),
    ],
)
def test_a_broken_cloud_is_named(change, message):
    with pytest.raises(RecordingError, match=message):
        decode_cloud(cloud_message(T0_NS, scattered(), **change), "/points")


def test_row_padding_big_endian_and_doubles_are_read():
    points = scattered(6).reshape(2, 3, 3)
    data = np.zeros((2, 100), np.uint8)
    data[:, :96] = np.concatenate([points, np.zeros((2, 3, 1))], 2).astype(">f8").reshape(2, 12).view(np.uint8)
    message = cloud_message(
        T0_NS, np.zeros((1, 3)), height=2, width=3, point_step=32, row_step=100, data=data.ravel(), is_bigendian=True,
        fields=fields("xyz", datatypes=(8, 8, 8), offsets=(0, 8, 16)),
    )  # fmt: skip
    np.testing.assert_allclose(decode_cloud(message, "/points").points, points.reshape(-1, 3), rtol=1e-6)


def test_the_ply_of_a_folder_is_turned_with_its_poses(tmp_path, walk):
    points, colours = scattered(), np.full((60, 3), (255, 0, 51))
    folder = write_folder(walk, tmp_path / "folder", up=(0, 1, 0), ply_file_path="points.ply")
    write_ply(folder / "points.ply", points, colours)
    cloud = read_points(folder)
    np.testing.assert_allclose(cloud.points, points @ upright(np.array([0, 1.0, 0])).T, atol=1e-3)
    np.testing.assert_allclose(cloud.colours[0], [1, 0, 0.2], atol=1e-6)


def test_points_nearer_than_two_centimetres_are_one(tmp_path, walk):
    folder = write_folder(walk, tmp_path / "folder", ply_file_path="points.ply")
    write_ply(folder / "points.ply", np.repeat(scattered(5), 40, axis=0))
    cloud = read_points(folder)
    assert len(cloud) == 5
    assert cloud.colours is None


@pytest.mark.parametrize("content", [b"", b"no ply at all", b"ply\nformat ascii 1.0\nelement vertex 1\nend_header\n"])
def test_a_broken_ply_is_named(tmp_path, content):
    path = tmp_path / "points.ply"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"points\.ply is no point cloud in PLY format"):
        read_ply_points(path)


def test_a_ply_that_promises_more_than_it_holds_is_named(tmp_path):
    with pytest.raises(RecordingError, match="is no point cloud"):
        read_ply_points(write_ply(tmp_path / "points.ply", scattered(), header_count=10**14))


def test_a_ply_without_finite_points_is_named(tmp_path):
    with pytest.raises(RecordingError, match="no point with finite"):
        read_ply_points(write_ply(tmp_path / "points.ply", np.full((4, 3), np.nan)))


def test_a_missing_ply_is_named_and_done_without(tmp_path, walk, caplog):
    folder = write_folder(walk, tmp_path / "folder", ply_file_path="points.ply")
    with caplog.at_level(logging.WARNING):
        assert read_points(folder) is None
    assert "points.ply is missing" in caplog.text
    content = json.loads((folder / "transforms.json").read_text())
    assert content["ply_file_path"] == "points.ply"
