import json
import math

import numpy as np
import pytest
from recorded_walk import write_folder

from m3_ros.errors import RecordingError
from m3_ros.recording import describe, read
from m3_ros.recording.posed_sequence import OPENGL_TO_OPENCV, upright


def edit(folder, change):
    file = folder / "transforms.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return folder


def test_stated_z_up_leaves_poses_alone(tmp_path, walk):
    for frame, pose in zip(read(write_folder(walk, tmp_path / "a")), walk.poses, strict=True):
        np.testing.assert_allclose(frame.T_map_camera, pose, atol=1e-9)


@pytest.mark.parametrize("stated", [True, False])
def test_y_up_world_is_turned_to_z_up(tmp_path, walk, stated):
    R = np.eye(4)
    R[:3, :3] = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]  # z up -> y up
    poses = list(walk.poses)
    walk.poses[:] = [R @ pose for pose in poses]
    frames = list(read(write_folder(walk, tmp_path / "a", up=(0, 1, 0) if stated else None)))
    for frame in frames:
        assert -frame.T_map_camera[2, 1] > 0.5  # cameras stand upright
    between = np.linalg.inv(frames[0].T_map_camera) @ frames[5].T_map_camera
    np.testing.assert_allclose(between, np.linalg.inv(poses[0]) @ poses[5], atol=1e-9)


@pytest.mark.parametrize("up", [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)])
def test_upright_is_a_rotation_that_sends_up_to_z(up):
    R = upright(np.array(up, float))
    np.testing.assert_allclose(R @ up, [0, 0, 1])
    assert np.linalg.det(R) == pytest.approx(1)


def test_frames_without_times_are_stamped_by_index(tmp_path, walk):
    folder = edit(write_folder(walk, tmp_path / "a"), lambda c: [f.pop("t") for f in c["frames"]])
    assert [f.stamp_ns for f in read(folder)] == [i * 10**9 for i in range(walk.count)]
    assert math.isnan(describe(folder).duration_s)


def test_pixel_centre_and_depth_unit_are_honoured(tmp_path, walk):
    folder = write_folder(walk, tmp_path / "a", pixel_centre=0.5, depth_unit_m=0.0002)
    frame = next(read(folder))
    assert frame.camera.cx == 15.5
    np.testing.assert_allclose(frame.depth, walk.depth_mm[0] * 0.0002, rtol=1e-6)


def test_nerfstudio_flavour_is_converted(tmp_path, walk):
    folder = write_folder(walk, tmp_path / "a")
    frames = list(read(folder))

    def to_nerfstudio(c):
        for frame in c["frames"]:
            frame["file_path"], frame["depth_file_path"] = frame.pop("rgb"), frame.pop("depth")
            frame["transform_matrix"] = (np.array(frame.pop("c2w")) @ OPENGL_TO_OPENCV).tolist()
        c.update(fl_x=c.pop("fx"), fl_y=c.pop("fy"), w=c.pop("width"), h=c.pop("height"), cx=16.0, cy=11.5)

    for a, b in zip(read(edit(folder, to_nerfstudio)), frames, strict=True):
        assert a.camera == b.camera
        np.testing.assert_allclose(a.T_map_camera, b.T_map_camera, atol=1e-9)
        np.testing.assert_array_equal(a.rgb, b.rgb)
        np.testing.assert_array_equal(a.depth, b.depth)


def test_instant_ngp_field_of_view_and_bare_names_are_understood(tmp_path, walk):
    folder = write_folder(walk, tmp_path / "a")

    def to_blender(c):
        for key in ("width", "height", "fx", "fy", "cx", "cy"):
            del c[key]
        c["camera_angle_x"] = 1.0
        for frame in c["frames"]:
            frame["file_path"] = "./" + frame.pop("rgb").removesuffix(".png")
            frame["transform_matrix"] = frame.pop("c2w")

    camera = next(read(edit(folder, to_blender))).camera
    assert (camera.width, camera.height, camera.cx) == (32, 24, 16)
    assert camera.fx == pytest.approx(16 / math.tan(0.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("fx"), "lacks the key 'fx'"),
        (lambda c: c["frames"].clear(), "at least one frame"),
        (lambda c: c["frames"][2].pop("c2w"), "lacks the key"),
        (lambda c: c["frames"][3].update(rgb="gone.png"), r"1 of 16 pictures that are missing, the first .*gone\.png"),
        (
            lambda c: c["frames"][1].update(c2w=[[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]),
            "pose of frame 1",
        ),
        (lambda c: c["frames"][1].update(c2w="left"), "wrong value"),
        (lambda c: c.update(width=99), "transforms.json says 99x24"),
        (lambda c: c.update(up=[0, 0]), "`up` must be three numbers"),
        (lambda c: c.update(axes="maya"), "opencv or opengl"),
        (lambda c: c.update(fx=-3), "positive focal lengths"),
    ],
)
def test_wrong_content_is_named(tmp_path, walk, change, message):
    folder = edit(write_folder(walk, tmp_path / "a"), change)
    with pytest.raises(RecordingError, match=message) as caught:
        list(read(folder))
    assert "\n" not in str(caught.value)


def test_invalid_json_and_damaged_picture_are_named(tmp_path, walk):
    folder = write_folder(walk, tmp_path / "a")
    (folder / "4.png").write_bytes(b"no picture")
    with pytest.raises(RecordingError, match=r"4\.png: 10 bytes are no readable picture"):
        list(read(folder))
    (folder / "transforms.json").write_text("{")
    with pytest.raises(RecordingError, match="no valid JSON"):
        list(read(folder))
