"""Small pictures, drawn at random: paintings, screens, clock faces, the view from a window, labels, keyboards."""

import numpy as np
from PIL import Image, ImageDraw

from m3_ros.sim.finishes import draw_colour, pick

Rng = np.random.Generator
Ink = tuple[int, int, int]


def ink(colour: object) -> Ink:
    """Return an sRGB colour of 0..1 as bytes."""
    r, g, b = (int(v) for v in np.clip(np.asarray(colour, np.float64) * 255, 0, 255))
    return r, g, b


def random_ink(rng: Rng) -> Ink:
    """Draw any colour."""
    r, g, b = (int(v) for v in rng.integers(0, 256, 3))
    return r, g, b


def _gradient(size: tuple[int, int], top: Ink, bottom: Ink) -> Image.Image:
    t = np.linspace(0, 1, size[1])[:, None, None]
    rows = np.array(top) * (1 - t) + np.array(bottom) * t
    return Image.fromarray(np.broadcast_to(rows, (size[1], size[0], 3)).astype(np.uint8))


def landscape(rng: Rng, size: tuple[int, int]) -> Image.Image:
    """Draw hills, a sun and a field at some time of the day."""
    w, h = size
    top, bottom = pick(
        rng, (((90, 150, 230), (230, 220, 190)), ((250, 150, 90), (250, 220, 150)), ((40, 50, 100), (180, 120, 140)))
    )
    im = _gradient(size, top, bottom)
    d = ImageDraw.Draw(im)
    x, y, r = rng.uniform(0.1, 0.9) * w, rng.uniform(0.1, 0.35) * h, 0.09 * h
    d.ellipse([x - r, y - r, x + r, y + r], fill=(255, 235, 150))
    for level in (0.45, 0.6):
        knots = np.linspace(0, w, 6)
        ridge = [(float(k), float(h * (level + rng.uniform(-0.18, 0.12)))) for k in knots]
        tone = int(rng.integers(70, 150))
        d.polygon([(0, h), *ridge, (w, h)], fill=(tone, tone + 15, tone + 40))
    d.rectangle([0, h * 0.72, w, h], fill=pick(rng, ((70, 140, 60), (200, 180, 90), (60, 110, 170))))
    return im


def abstract(rng: Rng, size: tuple[int, int]) -> Image.Image:
    """Draw overlapping discs, boxes and bars."""
    w, h = size
    im = Image.new("RGB", size, random_ink(rng))
    d = ImageDraw.Draw(im)
    for _ in range(int(rng.integers(4, 16))):
        x, y, a, b = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(5, w / 2.5), rng.uniform(5, h / 2.5)
        box = [x - a / 2, y - b / 2, x + a / 2, y + b / 2]
        if rng.random() < 0.5:
            d.ellipse(box, fill=random_ink(rng))
        else:
            d.rectangle(box, fill=random_ink(rng))
    return im


def portrait(rng: Rng, size: tuple[int, int]) -> Image.Image:
    """Draw a head and shoulders before a plain ground."""
    w, h = size
    im = _gradient(size, random_ink(rng), random_ink(rng))
    d = ImageDraw.Draw(im)
    x, skin = w / 2, pick(rng, ((235, 195, 165), (150, 100, 70), (205, 160, 120)))
    d.ellipse([x - 0.42 * h, 0.68 * h, x + 0.42 * h, 1.5 * h], fill=random_ink(rng))
    d.ellipse(
        [x - 0.22 * h, 0.14 * h, x + 0.22 * h, 0.62 * h], fill=pick(rng, ((40, 25, 15), (150, 100, 40), (90, 90, 90)))
    )
    d.ellipse([x - 0.16 * h, 0.22 * h, x + 0.16 * h, 0.70 * h], fill=skin)
    for side in (-1, 1):
        d.ellipse([x + side * 0.07 * h - 3, 0.40 * h, x + side * 0.07 * h + 3, 0.44 * h], fill=(30, 30, 30))
    d.line([(x - 0.06 * h, 0.58 * h), (x + 0.06 * h, 0.58 * h)], fill=(150, 60, 60), width=3)
    return im


def flowers(rng: Rng, size: tuple[int, int]) -> Image.Image:
    """Draw flowers on stems."""
    w, h = size
    im = Image.new("RGB", size, ink(draw_colour(rng)[1] * 0.4 + 0.55))
    d = ImageDraw.Draw(im)
    for _ in range(int(rng.integers(3, 8))):
        x, y, r, petal = (
            rng.uniform(0.1, 0.9) * w,
            rng.uniform(0.15, 0.6) * h,
            rng.uniform(0.04, 0.09) * h,
            random_ink(rng),
        )
        d.line([(x, y), (w / 2 + 0.3 * (x - w / 2), h)], fill=(50, 120, 50), width=3)
        for a in np.linspace(0, 2 * np.pi, 6)[:-1]:
            u, v = x + 1.2 * r * np.cos(a), y + 1.2 * r * np.sin(a)
            d.ellipse([u - r, v - r, u + r, v + r], fill=petal)
        d.ellipse([x - r, y - r, x + r, y + r], fill=(250, 210, 60))
    return im


def painting(rng: Rng, size: tuple[int, int] = (160, 112)) -> Image.Image:
    """Draw any picture for a wall."""
    return pick(rng, (landscape, landscape, abstract, portrait, flowers))(rng, size)


def screen(rng: Rng, size: tuple[int, int] = (160, 90), *, desktop: bool = False) -> Image.Image:
    """Draw what a display shows: a film with a banner, a desktop with windows (computers: mostly), or nothing."""
    w, h = size
    kind = rng.uniform(0.15 if desktop else 0.0, 3.0 if desktop else 1.0)
    if kind < 0.25:
        return _gradient(size, (30, 32, 36), (10, 10, 12))
    if kind < 0.6:
        im = painting(rng, size)
        d = ImageDraw.Draw(im)
        d.rectangle([6, h * 0.78, w * 0.6, h * 0.93], fill=random_ink(rng))
        d.rectangle([10, h * 0.82, w * 0.45, h * 0.89], fill=(255, 255, 255))
        return im
    im = _gradient(size, random_ink(rng), random_ink(rng))
    d = ImageDraw.Draw(im)
    for _ in range(2):
        x, y = rng.uniform(0.02, 0.4) * w, rng.uniform(0.05, 0.35) * h
        d.rectangle([x, y, x + 0.5 * w, y + 0.5 * h], fill=(245, 245, 245))
        d.rectangle([x, y, x + 0.5 * w, y + 6], fill=(60, 90, 160))
        for k in range(5):
            d.line(
                [(x + 5, y + 14 + 6 * k), (x + rng.uniform(20, 0.45 * w), y + 14 + 6 * k)], fill=(70, 70, 70), width=2
            )
    d.rectangle([0, h - 7, w, h], fill=(35, 38, 45))
    return im


def clock_face(rng: Rng, size: int = 128) -> Image.Image:
    """Draw a dial with twelve marks and two hands."""
    light = rng.random() < 0.75
    ground = (248, 246, 238) if light else ink(draw_colour(rng, ("black", "blue", "brown", "green"))[1] * 0.7)
    mark = (15, 15, 15) if light else (245, 240, 225)
    im = Image.new("RGB", (size, size), ground)
    d = ImageDraw.Draw(im)
    c, width = size / 2, int(rng.integers(4, 8))

    def hand(angle: float, start: float, end: float, fill: Ink, thick: int) -> None:
        s, k = np.sin(angle), -np.cos(angle)
        d.line(
            [(c + size * start * s, c + size * start * k), (c + size * end * s, c + size * end * k)],
            fill=fill,
            width=thick,
        )

    for i in range(12):
        hand(i * np.pi / 6, 0.38 if i % 3 else 0.34, 0.46, mark, width if i % 3 else width + 2)
    hand(float(rng.uniform(0, 6.28)), -0.04, 0.24, mark, width + 3)
    hand(float(rng.uniform(0, 6.28)), -0.06, 0.38, mark if rng.random() < 0.6 else (190, 20, 20), width)
    return im


def sky(rng: Rng, size: tuple[int, int] = (128, 112)) -> Image.Image:
    """Draw the view from a window: sky, clouds, trees or houses."""
    w, h = size
    top = pick(rng, ((150, 195, 250), (190, 205, 225), (120, 175, 245)))
    im = _gradient(size, top, (225, 238, 250))
    d = ImageDraw.Draw(im)
    for _ in range(10):
        x, y, r = rng.uniform(0, w), rng.uniform(5, 0.45 * h), rng.uniform(4, 11)
        d.ellipse([x - 2 * r, y - 0.6 * r, x + 2 * r, y + 0.6 * r], fill=(248, 250, 255))
    houses = rng.random() < 0.4
    for left in range(-8, w + 10, 24 if houses else 8):
        top_y = h - rng.uniform(0.15, 0.4) * h
        if houses:
            tone = int(rng.integers(120, 200))
            d.rectangle([left, top_y, left + 20, h], fill=(tone, tone - 15, tone - 30))
            d.polygon([(left - 2, top_y), (left + 10, top_y - 12), (left + 22, top_y)], fill=(150, 80, 60))
        else:
            d.ellipse(
                [left - 9, top_y, left + 11, h + 20], fill=(60 + int(rng.integers(30)), 120 + int(rng.integers(30)), 60)
            )
    return im


def box_label(rng: Rng, board: Ink) -> Image.Image:
    """Draw the side of a parcel: tape, an address label, arrows."""
    im = Image.new("RGB", (128, 112), board)
    d = ImageDraw.Draw(im)
    tape = tuple(min(255, v + 28) for v in board)
    d.rectangle([0, 48, 128, 62], fill=(tape[0], tape[1], tape[2]))
    if rng.random() < 0.75:
        x = float(rng.uniform(8, 66))
        d.rectangle([x, 70, x + 48, 104], fill=(240, 240, 235))
        for y in range(75, 102, 5):
            d.line([(x + 4, y), (x + rng.uniform(20, 44), y)], fill=(40, 40, 40), width=2)
    if rng.random() < 0.6:
        d.polygon([(14, 40), (26, 12), (38, 40)], fill=(60, 40, 20))
    return im


def safety_label() -> Image.Image:
    """Draw the instructions on a fire extinguisher."""
    im = Image.new("RGB", (64, 64), (245, 240, 225))
    d = ImageDraw.Draw(im)
    d.rectangle([8, 8, 56, 20], fill=(200, 20, 20))
    for y in range(28, 60, 6):
        d.line([(8, y), (56, y)], fill=(40, 40, 40), width=2)
    return im


def keyboard(body: Ink) -> Image.Image:
    """Draw a laptop's keys and touch pad."""
    im = Image.new("RGB", (140, 96), body)
    d = ImageDraw.Draw(im)
    dark = sum(body) > 300
    for row in range(5):
        for k in range(13):
            x, y = 8 + 9.6 * k, 6 + 10 * row
            d.rectangle([x, y, x + 7.4, y + 7.6], fill=(30, 30, 32) if dark else (85, 85, 90))
    d.rectangle([48, 62, 92, 90], fill=(120, 122, 126) if dark else (60, 60, 64))
    return im
