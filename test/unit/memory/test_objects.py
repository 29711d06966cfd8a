"""Objects of the coloured room: four things on a floor before a wall, whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from m3_ros.memory import ObjectSettings, find_objects, list_objects
from m3_ros.memory.matter import Voxels
from m3_ros.memory.segments import Matter, SegmentSettings, codes_of, segments


@pytest.fixture(scope="module")
def objects(coloured_room):
    return find_objects(coloured_room.memory)


def mask_of(coloured_room, name):
    return torch.tensor([n == name for n in coloured_room.names])


def test_every_thing_is_one_object_and_the_building_is_none(coloured_room, objects):
    assert len(objects) == len(coloured_room.centres)
    for name, centre in coloured_room.centres.items():
        true = mask_of(coloured_room, name)
        overlap = [float((o.gaussians & true).sum() / (o.gaussians | true).sum()) for o in objects]
        found = objects[int(np.argmax(overlap))]
        assert max(overlap) > 0.9, name
        assert np.linalg.norm(found.centre - centre) < 0.1
        assert np.abs(np.sort(found.box.size) - np.sort(coloured_room.sizes[name])).max() < 0.1
        assert np.linalg.eigvalsh(found.covariance).min() > 0


def test_objects_are_numbered_from_the_largest_and_share_no_gaussian(objects):
    assert [o.id for o in objects] == list(range(len(objects)))
    volumes = [float(np.prod(o.box.size)) for o in objects]
    assert volumes == sorted(volumes, reverse=True)
    assert int(torch.stack([o.gaussians for o in objects]).sum(dim=0).max()) == 1


def test_an_object_is_remembered_as_what_it_is(coloured_room, objects):
    names = list(coloured_room.centres)
    words = coloured_room.encoder.encode_text(names)
    entry = coloured_room.memory.principal_queries[0]
    for thing in objects:
        read = entry.attention.reconstruct(thing.codes[0][None])[0]
        name = names[int((words @ read).argmax())]
        assert bool((thing.gaussians & mask_of(coloured_room, name)).any())


def test_views_show_the_object_and_the_last_of_them_dates_it(coloured_room, objects):
    frames = coloured_room.memory.keyframes
    for thing in objects:
        assert thing.views
        assert thing.last_seen_ns == max(int(frames.stamps_ns[view]) for view in thing.views)
        T_camera_map = np.linalg.inv(frames.T_map_camera[thing.views[0]])
        assert (T_camera_map @ np.append(thing.centre, 1))[2] > 0


def test_names_that_the_encoder_knows_are_hints(coloured_room):
    knows = replace(coloured_room.encoder, known_names=tuple(coloured_room.centres))
    things = find_objects(coloured_room.memory, [coloured_room.encoder, knows])
    assert {thing.name for thing in things} == set(coloured_room.centres)
    for thing in things:
        assert thing.name_probability > 0.5
        assert np.linalg.norm(thing.centre - coloured_room.centres[thing.name]) < 0.1


def test_what_is_called_a_wall_is_no_object(coloured_room):
    memory = coloured_room.memory
    wide = replace(ObjectSettings(), max_extent_m=100.0, structure_cosine=1.0)
    assert len(find_objects(memory, settings=wide)) >= len(coloured_room.centres) + 2
    knows = replace(coloured_room.encoder, known_names=tuple(coloured_room.centres))
    assert len(find_objects(memory, [knows], wide)) == len(coloured_room.centres)


def test_two_alike_that_do_not_touch_are_two(coloured_room):
    memory, g = coloured_room.memory, coloured_room.memory.gaussians
    means = g.means.clone()
    ball = mask_of(coloured_room, "ball")
    means[ball & (torch.arange(len(means)) % 2 == 0)] += torch.tensor([0.0, 0.9, 0.0])
    split = replace(memory, gaussians=replace(g, means=means))
    assert len(find_objects(split)) == len(coloured_room.centres) + 1


def test_several_encoders_are_weighed_together(coloured_room):
    memory = coloured_room.memory
    (entry,) = memory.principal_queries
    blind = replace(entry, queries=torch.zeros_like(entry.queries))
    both = find_objects(replace(memory, principal_queries=(entry, blind)))
    assert len(both) == len(coloured_room.centres)
    assert [len(thing.codes) for thing in both] == [2] * len(both)
    assert not bool(both[0].codes[1].any())


def test_objects_found_in_training_are_not_looked_for_again(coloured_room, objects):
    assert list_objects(replace(coloured_room.memory, objects=objects[:1])) == objects[:1]
    assert len(list_objects(coloured_room.memory)) == len(objects)


def shares(thing, names):
    """Return of which things an object's Gaussians are, as shares."""
    own = np.array(names)[thing.gaussians.numpy()]
    return {name: float((own == name).mean()) for name in set(own)}


def test_two_different_things_that_touch_are_two_objects(place_of):
    memory, names = place_of([
        ("chair", (1.0, 0.5, 0.4), (0.45, 0.45, 0.8), 1500), ("plant", (1.425, 0.5, 0.5), (0.4, 0.4, 1.0), 1500),
    ])  # fmt: skip
    things = find_objects(memory)
    assert len(things) == 2
    for name, x, size in (("chair", 1.0, (0.45, 0.45, 0.8)), ("plant", 1.425, (0.4, 0.4, 1.0))):
        (thing,) = (t for t in things if max(shares(t, names), key=shares(t, names).get) == name)
        assert np.linalg.norm(thing.centre - (x, 0.5, size[2] / 2)) < 0.05
        assert np.abs(np.sort(thing.box.size) - np.sort(size)).max() < 0.08


def test_a_thin_thing_and_thin_legs_belong_to_their_objects(place_of):
    legs = [("ball", (x, y, 0.35), (0.04, 0.04, 0.7), 200) for x in (-1.38, -0.62) for y in (0.62, 1.38)]
    memory, names = place_of(
        [("cone", (-1.0, -1.0, 0.8), (0.04, 0.04, 1.6), 400), ("ball", (-1.0, 1.0, 0.7), (0.8, 0.8, 0.04), 1200), *legs]
    )
    table, pole = find_objects(memory)
    assert int(table.gaussians.sum()) > 0.95 * names.count("ball")
    assert np.abs(table.box.size - (0.8, 0.8, 0.72)).max() < 0.06
    assert bool(pole.gaussians[[name == "cone" for name in names]].all())
    assert np.abs(np.sort(pole.box.size) - (0.04, 0.04, 1.6)).max() < 0.06
    assert np.linalg.norm(pole.centre - (-1.0, -1.0, 0.8)) < 0.03


def test_a_thing_of_which_one_half_was_seen_is_that_half(place_of):
    memory, names = place_of([("chair", (1.0, 0.5, 0.4), (0.45, 0.45, 0.8), 1500)])
    hidden = torch.tensor([name == "chair" for name in names]) & (memory.gaussians.means[:, 0] > 1.05)
    (thing,) = find_objects(replace(memory, visibility=torch.where(hidden, 0.0, memory.visibility)))
    assert not bool((thing.gaussians & hidden).any())
    assert thing.box.corners[:, 0].max() < 1.1
    assert abs(thing.centre[1] - 0.5) < 0.03


def test_a_thing_behind_a_wall_was_not_seen_from_the_other_side(place_of):
    memory, names = place_of([
        ("wall", (0.0, 0.3, 0.6), (4.6, 0.02, 1.2), 12000), ("ball", (0.0, 0.9, 0.2), (0.4, 0.4, 0.4), 1000),
    ])  # fmt: skip
    (thing,) = (t for t in find_objects(memory) if shares(t, names).get("ball", 0) > 0.5)
    eyes = memory.keyframes.T_map_camera[:, :3, 3]
    assert set(thing.views) >= set(np.flatnonzero(eyes[:, 1] > 0.3).tolist())
    assert not set(thing.views) & set(np.flatnonzero(eyes[:, 1] < -0.5).tolist())
    assert thing.last_seen_ns == max(int(memory.keyframes.stamps_ns[view]) for view in thing.views)


@pytest.mark.parametrize("seen", [0, 1, 5])
def test_a_place_that_was_hardly_seen_has_no_objects(coloured_room, seen):
    visibility = torch.zeros(len(coloured_room.names))
    visibility[:seen] = 1.0
    assert find_objects(replace(coloured_room.memory, visibility=visibility)) == ()


def test_codes_keep_the_cosines_of_what_is_remembered(coloured_room):
    entry, index = coloured_room.memory.principal_queries[0], torch.arange(0, 2000, 40)
    codes = codes_of(entry, index)
    read = torch.nn.functional.normalize(entry.attention.reconstruct(entry.queries[index].float()), dim=1)
    assert float((codes @ codes.T - read @ read.T).abs().max()) < 0.05  # W keeps 16 of 48 dimensions


def test_segments_of_one_gaussian_and_of_none():
    settings = SegmentSettings()
    one = Matter(np.zeros(1, np.int64), np.zeros((1, 3)), np.ones(1), np.ones((1, 4), np.float32) / 2)
    assert segments(one, settings).tolist() == [0]
    none = Matter(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0), np.zeros((0, 4), np.float32))
    assert len(segments(none, settings)) == 0


def test_voxels_count_every_point_once():
    points = np.random.default_rng(0).uniform(-1, 1, (500, 3))
    voxels = Voxels.around(points, 0.2)
    assert voxels.total(np.ones(500)).sum() == 500
    assert len(voxels) == len(np.unique(np.floor(points / 0.2), axis=0))
