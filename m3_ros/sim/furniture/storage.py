"""Bookshelves, TV stands and other cases against a wall."""

from itertools import pairwise

import numpy as np

from m3_ros.sim.finishes import Finish, draw_colour, draw_finish, draw_metal
from m3_ros.sim.items import Item, Kind, Placement, Support, item
from m3_ros.sim.materials import rgb
from m3_ros.sim.noise import Points
from m3_ros.sim.patches import RGB, UV, Material, Shape

Rng = np.random.Generator


def _spines(rng: Rng, count: int) -> Material:
    """Return the colours of a row of books: one colour a column pair of the grid, a title band and a line on each."""
    covers = np.stack([draw_colour(rng)[1] for _ in range(count)])
    titles = np.where(covers.mean(1, keepdims=True) < 0.45, rgb((0.92, 0.85, 0.65)), rgb((0.25, 0.15, 0.12)))
    low = rng.uniform(0.4, 0.75, count).astype(np.float32)
    cells = 2 * count - 1

    def material(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
        book = np.clip((np.floor(uv[..., 0] * cells) / 2).astype(np.int64), 0, count - 1)
        v = uv[..., 1]
        band = ((v > low[book]) & (v < low[book] + 0.18)) | (np.abs(v - 0.12) < 0.02)
        return np.where(band[..., None], titles[book], covers[book])

    return material


def _book_row(shape: Shape, rng: Rng, left: float, right: float, floor: float, room: float, back: float) -> None:
    """Fill part of a shelf with books [m]: one folded patch of spines, one of tops."""
    edges, x = [], left
    while x < right - 0.02:
        width = min(float(rng.uniform(0.02, 0.055)), right - x)
        height = room * float(rng.uniform(0.62, 0.95))
        edges.append((x, x + width, back - float(rng.uniform(0.15, 0.2)), floor + height))
        x += width
    if not edges:
        return
    columns = [(c, y, top) for a, b, y, top in edges for c in (a, b - 0.002)]
    base = [(c, y, floor) for c, y, _ in columns]
    material = _spines(rng, len(edges))
    shape.add([base, columns], material, False, 1.3)
    shape.add([columns, [(c, back, top) for c, _, top in columns]], _paper, False, 0.7)


def _paper(p: Points, uv: UV, n: Points) -> RGB:  # noqa: ARG001
    return np.broadcast_to(rgb((0.86, 0.82, 0.72)), p.shape)


def case(shape: Shape, finish: Finish, size: tuple[float, float, float], levels: list[float], open_frame: bool) -> None:
    """Sides (or posts), shelves at levels [m], and a back unless the frame is open; the back plane is y = 0."""
    w, d, h = size
    for x in (-1, 1):
        if open_frame:
            for y in (-0.015, -d + 0.015):
                shape.box((x * (w / 2 - 0.015), y, h / 2), (0.03, 0.03, h), finish.along(2))
        else:
            shape.box((x * (w / 2 - 0.0125), -d / 2, h / 2), (0.025, d, h), finish.along(2))
    if not open_frame:
        shape.box((0, -0.006, h / 2), (w - 0.05, 0.012, h), finish.along(2), skip=("y+", "x+", "x-"))
    for z in levels:
        shape.box((0, -d / 2, z), (w - (0.03 if open_frame else 0.05), d, 0.025), finish.along(0), skip=("x+", "x-"))


def make_bookshelf(rng: Rng, variant: str) -> Item:
    """Draw a bookshelf: tall or low, closed case or open frame, more or less full of books."""
    shape, finish = Shape(), draw_finish(rng, 0.6)
    open_frame = variant == "open frame"
    w, d, h = float(rng.uniform(0.6, 1.2)), float(rng.uniform(0.26, 0.34)), float(rng.uniform(0.9, 2.05))
    shelves = max(2, round(h / float(rng.uniform(0.32, 0.42))))
    levels = [float(z) for z in np.linspace(0.05, h - 0.0125, shelves + 1)]
    frame = draw_metal(rng) if open_frame and rng.random() < 0.5 else finish
    case(shape, frame, (w, d, h), levels, open_frame)
    fullness = float(rng.uniform(0.6, 1.0))
    for low, high in pairwise(levels):
        split = float(rng.uniform(0.3, 0.7)) * w - w / 2
        for left, right in ((-w / 2 + 0.04, split), (split + float(rng.uniform(0, 0.12)), w / 2 - 0.04)):
            end = left + (right - left) * float(rng.uniform(fullness - 0.3, 1.0))
            _book_row(shape, rng, left, end, low + 0.0125, high - low - 0.03, -0.02)
    return item("bookshelf", shape.backed(), frame.words)


def drawer_front(
    shape: Shape, face: Finish, knob: Finish, centre: tuple[float, float, float], size: tuple[float, float]
) -> None:
    """A panel that stands out of the case towards -y, with a knob or bar [m]."""
    x, y, z = centre
    shape.box((x, y - 0.008, z), (size[0], 0.016, size[1]), face.along(0), skip=("y+",))
    shape.box((x, y - 0.026, z), (min(0.12, size[0] * 0.3), 0.02, 0.014), knob.material)


def _rack(shape: Shape, board: Finish, frame: Finish, size: tuple[float, float, float]) -> Item:
    """Two or three boards in an open frame of tubes [m]."""
    w, d, h = size
    for z in (0.1, h * 0.55, h - 0.0125):
        shape.rounded_box((0, -d / 2, z), (w, d, 0.03), 0.01, board.along(0), 4)
    for x in (-w / 2 + 0.05, 0, w / 2 - 0.05):
        for y in (-0.03, -d + 0.03):
            shape.cylinder((x, y, 0), 0.016, h - 0.02, frame.material, sides=8)
    return item("tv stand", shape.backed(), board.words, Support(h, w / 2 - 0.1, d / 2 - 0.04, -d / 2 - 0.04))


def make_tv_stand(rng: Rng, variant: str) -> Item:
    """Draw a low board with doors and drawers on a plinth or on legs, or an open rack."""
    shape, finish, knob = Shape(), draw_finish(rng, 0.6), draw_metal(rng)
    face = finish if rng.random() < 0.6 else draw_finish(rng)
    w, d, h = float(rng.uniform(1.1, 1.65)), float(rng.uniform(0.36, 0.46)), float(rng.uniform(0.38, 0.58))
    if variant == "rack":
        return _rack(shape, finish, draw_metal(rng), (w, d, h))
    foot = 0.0 if variant == "plinth" else float(rng.choice([0.12, 0.16]))
    body = h - foot
    columns = int(rng.integers(2, 4))
    open_column = int(rng.integers(-1, columns))
    shape.box((0, -d / 2, h - 0.015), (w, d, 0.03), finish.along(0))
    shape.box((0, -d / 2, foot + 0.015), (w, d, 0.03), finish.along(0))
    shape.box((0, -0.01, foot + body / 2), (w, 0.02, body), finish.along(0))
    for x in np.linspace(-w / 2 + 0.015, w / 2 - 0.015, columns + 1):
        shape.box((x, -d / 2, foot + body / 2), (0.03, d - 0.005, body), finish.along(2), skip=("z+",))
    if foot:
        for x in (-w / 2 + 0.1, w / 2 - 0.1):
            for y in (-0.06, -d + 0.06):
                shape.cylinder((x, y, 0), 0.015, foot, knob.material, 0.022, sides=8)
    step = w / columns
    for k in range(columns):
        x, z = (k + 0.5) * step - w / 2, foot + body / 2
        if k == open_column:
            shape.box((x, -d / 2, z), (step - 0.03, d - 0.02, 0.02), finish.along(0))
        elif rng.random() < 0.5:
            drawer_front(shape, face, knob, (x, -d, z), (step - 0.02, body - 0.04))
        else:
            for dz in (-0.25, 0.25):
                drawer_front(shape, face, knob, (x, -d, z + dz * body), (step - 0.02, body / 2 - 0.03))
    return item("tv stand", shape.backed(), finish.words, Support(h, w / 2 - 0.1, d / 2 - 0.04, -d / 2 - 0.04))


KINDS = (
    Kind("bookshelf", make_bookshelf, ("case", "case", "open frame"), Placement.AGAINST_WALL),
    Kind("tv stand", make_tv_stand, ("plinth", "legs", "rack"), Placement.AGAINST_WALL),
)
