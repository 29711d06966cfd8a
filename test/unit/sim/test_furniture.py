"""The things of the simulated world: sound geometry, sensible sizes, true words."""

import numpy as np
import pytest

from m3_ros.sim.finishes import COLOURS
from m3_ros.sim.kinds import KINDS, Placement
from m3_ros.sim.materials import plain
from m3_ros.sim.patches import Shape, rotate_x
from m3_ros.sim.shell import ceiling_material, floor_material, wall_material

SEEDS = range(8)
WORDS = {*COLOURS, "wooden", "light", "dark", "golden", "leather", "striped", "checked", "dotted"}
WORDS |= {"patterned", "round", "cardboard", "open"}
SIZES = {  # largest extent [m]: from, to
    "chair": (0.7, 1.25),
    "stool": (0.4, 0.95),
    "sofa": (1.3, 2.2),
    "armchair": (0.7, 1.3),
    "bed": (1.8, 2.2),
    "wardrobe": (1.7, 2.2),
    "dresser": (0.7, 1.35),
    "refrigerator": (1.2, 1.95),
    "washing machine": (0.8, 1.1),
    "microwave": (0.4, 0.6),
    "monitor": (0.4, 0.8),
    "bottle": (0.25, 0.45),
    "book": (0.2, 0.5),
    "umbrella": (0.7, 1.2),
    "fan": (0.4, 1.55),
    "ladder": (0.8, 1.75),
    "curtain": (2.0, 2.35),
    "cushion": (0.34, 0.62),
    "table": (0.7, 1.7),
    "coffee table": (0.6, 1.2),
    "bookshelf": (0.85, 2.1),
    "tv stand": (1.0, 1.7),
    "tv": (0.5, 1.2),
    "laptop": (0.28, 0.42),
    "lamp": (1.2, 2.0),
    "ceiling light": (0.3, 0.95),
    "mug": (0.08, 0.22),
    "vase": (0.18, 0.75),
    "duck": (0.14, 0.4),
    "teddy bear": (0.3, 0.75),
    "rug": (0.85, 2.4),
    "plant": (0.5, 2.0),
    "painting": (0.4, 1.35),
    "clock": (0.24, 0.45),
    "soccer ball": (0.19, 0.27),
    "traffic cone": (0.35, 0.8),
    "trash bin": (0.25, 0.75),
    "cardboard box": (0.25, 0.95),
    "fire extinguisher": (0.35, 0.65),
    "backpack": (0.4, 0.9),
    "suitcase": (0.45, 1.3),
    "window": (0.85, 1.9),
    "door": (1.9, 2.2),
    "radiator": (0.55, 1.5),
}
SEEN_INSIDE = {"lamp", "laptop", "cardboard box", "umbrella", "curtain", "book", "chair", "fan", "stool", "wardrobe"}
"""Open shades, sheets, feet and cases face their own middle in part: their volume has no sign; parts are tested."""
ALL = pytest.mark.parametrize("name", sorted(KINDS))


def make(name, seed):
    """Draw a thing; the seeds go through the shapes of its kind in turn."""
    shapes = tuple(dict.fromkeys(KINDS[name].shapes))
    return KINDS[name].make(np.random.default_rng(seed), shapes[seed % len(shapes)])


def signed_volume(patches, origin=(0, 0, 0)):
    total = 0.0
    for patch in patches:
        g = patch.grid - np.asarray(origin)
        a, b, c, d = g[:-1, :-1], g[:-1, 1:], g[1:, 1:], g[1:, :-1]
        total += (np.cross(a, b) * c).sum() + (np.cross(a, c) * d).sum()
    return total / 6


def sample(patch, n=5):
    """Evaluate a patch's material on some of its own grid points."""
    nv, nu = patch.grid.shape[:2]
    j, i = np.linspace(0, nv - 1, n).astype(int), np.linspace(0, nu - 1, n).astype(int)
    points = patch.grid[j][:, i].astype(np.float32)
    u, v = np.meshgrid((np.arange(n) + 0.5) / n, (np.arange(n) + 0.5) / n)
    return patch.material(points, np.stack([u, v], -1).astype(np.float32), np.zeros_like(points))


def test_every_kind_has_a_size_here():
    assert set(SIZES) == set(KINDS)


def test_names_of_surfaces_are_kinds_with_a_support():
    for kind in KINDS.values():
        for surface in kind.surfaces:
            assert any(make(surface, seed).support is not None for seed in SEEDS)
        assert bool(kind.surfaces) == (kind.placement in (Placement.ON_SURFACE, Placement.SURFACE_OR_FLOOR))


@ALL
def test_grids_are_finite_and_sizes_sensible(name):
    low, high = SIZES[name]
    for seed in SEEDS:
        item = make(name, seed)
        assert item.kind == name
        assert all(p.grid.dtype == np.float64 and p.grid.ndim == 3 and np.isfinite(p.grid).all() for p in item.patches)
        a, b = item.bounds
        assert low <= (b - a).max() <= high


@pytest.mark.parametrize("name", sorted(set(KINDS) - SEEN_INSIDE))
def test_surface_faces_outwards(name):
    for seed in SEEDS:
        item = make(name, seed)
        a, b = item.bounds
        origin = (a + b) / 2
        if KINDS[name].placement is Placement.ON_WALL:
            origin[1] = 0.05  # its back is open: look from within the wall
        assert signed_volume(item.patches, origin) > 0


@ALL
def test_origin_lies_where_the_placement_says(name):
    placement = KINDS[name].placement
    for seed in SEEDS:
        a, b = make(name, seed).bounds
        if placement is Placement.CEILING:
            assert b[2] <= 1e-6
            continue
        if placement is not Placement.ON_WALL or name == "door":
            assert a[2] == pytest.approx(0, abs=1e-6)
        if placement in (Placement.AGAINST_WALL, Placement.ON_WALL):
            assert b[1] == pytest.approx(0, abs=0.021)  # a window's glass lies 2 cm in front of its wall
            assert b[1] <= 1e-9
        else:
            assert np.abs(a + b)[:2].max() < 0.3 * (b - a)[:2].max()


def test_there_are_forty_kinds_and_each_has_shapes_that_differ():
    assert len(KINDS) >= 40
    for kind in KINDS.values():
        shapes = dict.fromkeys(kind.shapes)
        assert len(shapes) >= 2, kind.name
        items = [kind.make(np.random.default_rng(0), shape) for shape in shapes]
        marks = {tuple(np.round(p.grid, 3).tobytes() for p in i.patches) for i in items}
        assert len(marks) == len(shapes) or kind.name == "soccer ball", kind.name  # a ball is a ball


def test_a_shape_left_out_is_never_drawn():
    chair, rng = KINDS["chair"], np.random.default_rng(0)
    drawn = {chair.draw(rng, ("chair/office", "chair/shell")).shape for _ in range(60)}
    assert drawn == set(chair.shapes) - {"office", "shell"}
    assert chair.draw(rng, [f"chair/{shape}" for shape in chair.shapes]) is None


@ALL
def test_same_seed_gives_the_same_item(name):
    one, two = make(name, 3), make(name, 3)
    assert one.colours == two.colours
    assert one.support == two.support
    assert len(one.patches) == len(two.patches)
    for p, q in zip(one.patches, two.patches, strict=True):
        assert np.array_equal(p.grid, q.grid)
    for p, q in list(zip(one.patches, two.patches, strict=True))[:20]:
        assert np.array_equal(sample(p), sample(q))


@ALL
def test_albedo_is_float32_between_0_and_1(name):
    for seed in SEEDS:
        for patch in make(name, seed).patches[:40]:
            colour = sample(patch)
            assert colour.dtype == np.float32
            assert colour.shape == (5, 5, 3)
            assert colour.min() >= 0
            assert colour.max() <= 1


@ALL
def test_colours_are_known_words(name):
    for seed in SEEDS:
        assert set(make(name, seed).colours) <= WORDS


@pytest.mark.parametrize(
    "name",
    [
        "chair",
        "armchair",
        "bed",
        "umbrella",
        "curtain",
        "fan",
        "sofa",
        "table",
        "mug",
        "backpack",
        "trash bin",
        "teddy bear",
    ],
)
def test_colour_alone_does_not_give_a_kind_away(name):
    assert len({make(name, seed).colours[0] for seed in range(40)}) >= 5


def test_colour_words_are_true():
    """A plain lacquered thing's mean colour is nearer to its own word than to all but two others."""
    for seed in range(30):
        item = make("duck", seed)
        body = sample(item.patches[0]).reshape(-1, 3).mean(0)
        rank = sorted(COLOURS, key=lambda word: float(np.linalg.norm(body - COLOURS[word])))
        assert item.colours[0] in rank[:3]


def test_supports_lie_on_the_item():
    for name in ("table", "coffee table", "tv stand", "sofa", "bed", "dresser", "washing machine"):
        for seed in SEEDS:
            item = make(name, seed)
            if item.support is None:
                continue
            a, b = item.bounds
            s = item.support
            assert 0.3 < s.height <= b[2] + 0.02
            assert a[0] <= -s.half_x
            assert s.half_x <= b[0]
            assert a[1] <= s.centre_y - s.half_y
            assert s.centre_y + s.half_y <= b[1]


def test_lamps_say_where_their_light_is():
    for name in ("lamp", "ceiling light"):
        for seed in SEEDS:
            assert make(name, seed).lamp is not None


@pytest.mark.parametrize(
    ("shape", "volume"),
    [
        (Shape().box((1, 2, 3), (2, 1, 0.5), plain((1, 0, 0)), R=rotate_x(0.3)), 1.0),
        (Shape().rounded_box((0, 0, 0), (1, 1, 1), 0.01, plain((1, 0, 0))), 1.0),
        (Shape().ellipsoid((0, 0, 1), (1, 1, 1), plain((1, 0, 0)), (48, 32)), 4 / 3 * np.pi),
        (Shape().cylinder((0, 0, 1), 1, 2, plain((1, 0, 0)), sides=64), 2 * np.pi),
        (Shape().tube([(0, 0, 0), (0, 0, 1), (0, 0, 2)], 1, plain((1, 0, 0)), 64), 4 / 3 * np.pi),
    ],
    ids=["box", "rounded box", "ellipsoid", "cylinder", "tube without caps"],
)
def test_builders_wind_outwards(shape, volume):
    assert signed_volume(shape.patches) == pytest.approx(volume, rel=0.03)


def test_shell_materials_are_deterministic_float32():
    x, y = np.meshgrid(np.linspace(-3, 3, 40), np.linspace(-2, 2, 30))
    floor = np.stack([x, y, 0 * x], -1).astype(np.float32)
    wall = np.stack([x, 0 * x + 2, y + 2], -1).astype(np.float32)
    uv = np.zeros((30, 40, 2), np.float32)
    for seed in range(30):
        one, two = np.random.default_rng(seed), np.random.default_rng(seed)
        for draw, points in ((floor_material, floor), (lambda r: wall_material(r, 0), wall), (ceiling_material, floor)):
            a, b = draw(one)(points, uv, floor), draw(two)(points, uv, floor)
            assert a.dtype == np.float32
            assert a.shape == points.shape
            assert a.min() >= 0
            assert a.max() <= 1
            assert np.array_equal(a, b)
