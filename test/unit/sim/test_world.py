import dataclasses

import numpy as np
import pytest

from m3_ros.cli.demo import QUESTIONS
from m3_ros.errors import SimulationError
from m3_ros.sim import World, WorldSettings
from m3_ros.sim.kinds import KINDS
from m3_ros.sim.layout import DEMO_SEED, NOT_IN_A_LIVING_ROOM, build_room


def test_the_same_seed_bakes_the_same_bytes(world):
    again = World.generate(world.settings)
    for field in dataclasses.fields(world.mesh):
        assert np.array_equal(getattr(world.mesh, field.name), getattr(again.mesh, field.name)), field.name


def test_another_seed_is_another_room(world):
    other = build_room(world.settings.seed + 1)
    assert other.size != world.room.size


def test_a_cached_room_is_read_back_and_a_broken_cache_is_baked_anew(world, tmp_path):
    World.generate(world.settings, tmp_path)
    (path,) = tmp_path.iterdir()
    cached = World.generate(world.settings, tmp_path)
    assert np.array_equal(cached.mesh.texture, world.mesh.texture)
    path.write_bytes(path.read_bytes()[:1000])
    mended = World.generate(world.settings, tmp_path)
    assert np.array_equal(mended.mesh.texture, world.mesh.texture)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_names_are_unique_and_ids_count_from_one(world):
    names = [instance.name for instance in world.instances]
    assert len(set(names)) == len(names)
    assert [instance.id for instance in world.instances] == list(range(1, len(names) + 1))
    assert {"floor", "ceiling", "wall", "wall 4"} <= set(names)


def test_boxes_lie_inside_the_room(world):
    half = np.array([world.room.size[0] / 2, world.room.size[1] / 2])
    for instance in world.instances:
        assert (instance.minimum[:2] >= -half - 1e-3).all(), instance.name
        assert (instance.maximum[:2] <= half + 1e-3).all(), instance.name
        assert instance.minimum[2] >= -1e-3, instance.name
        assert instance.maximum[2] <= world.room.size[2] + 1e-3, instance.name


def test_unknown_names_are_refused(world):
    with pytest.raises(SimulationError, match="no 'unicorn'"):
        world.instance("unicorn")


def test_things_block_the_floor_and_the_robot_radius_grows_them(world):
    solid, grown = world.free_space(robot_radius_m=0.0), world.free_space(robot_radius_m=0.3)
    assert not (solid.data & ~grown.data).any()
    assert 0.1 < (~grown.data).mean() < (~solid.data).mean()
    for instance in world.instances:
        if instance.minimum[2] < 0.01 and instance.maximum[2] > 0.3 and instance.kind not in ("wall", "floor"):
            row, column = solid.world_to_cell(instance.centre[:2])
            assert grown.data[row, column], instance.name


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_free_floor_is_one_area_wide_enough_to_walk(seed):
    from scipy import ndimage

    world = World.generate(WorldSettings(seed, texel_m=0.2, light_samples=1, bounces=0))
    labels, count = ndimage.label(~world.free_space(robot_radius_m=0.35).data)
    areas = np.bincount(labels.ravel())[1:]
    assert count >= 1
    assert areas.max() > 0.9 * areas.sum()


def test_a_complete_room_holds_nearly_every_kind_of_a_living_room():
    wanted = set(KINDS) - set(NOT_IN_A_LIVING_ROOM)
    room = build_room(1, complete=True)
    present = {placed.item.kind for placed in room.items}
    assert len(wanted - present) <= 0.1 * len(wanted)


def test_the_room_of_the_demo_holds_what_the_demo_asks_for():
    present = {placed.item.kind for placed in build_room(DEMO_SEED, complete=True).items}
    assert {kind for _, kind in QUESTIONS} - present == {"bicycle"}


def test_a_shape_that_does_not_exist_cannot_be_left_out():
    with pytest.raises(SimulationError, match="chair/office"):
        build_room(1, left_out=("chair/throne",))


@pytest.mark.parametrize("seed", [3, 4])
def test_no_room_is_so_bright_that_it_turns_white(seed):
    texture = World.generate(WorldSettings(seed, texel_m=0.05, light_samples=1, bounces=1, rays=2)).mesh.texture
    assert (texture == 255).all(axis=-1).mean() < 0.05
