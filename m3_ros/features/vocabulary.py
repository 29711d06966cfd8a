"""The words of the simulated world's kinds: names and paraphrases to train on, others for testing, groups, background.

A phrase may fit several kinds ("seat"): the mapping from phrase to kinds is what training and metrics use.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """What people call one kind."""

    names: tuple[str, ...]
    """Names and paraphrases used in training; the first is the plain name."""
    held_out: tuple[str, ...] = ()
    """Synonyms never used in training: they measure how far the text space carries."""


def _words(names: str, held_out: str = "") -> Words:
    """Split comma-separated lists."""
    return Words(*(tuple(w.strip() for w in text.split(",") if w.strip()) for text in (names, held_out)))


VOCABULARY: dict[str, Words] = {
    "sofa": _words(
        "sofa, sofa with cushions, upholstered sofa, divan, davenport, lounge sofa, sofa bed, living room sofa, "
        "two-seater sofa, comfy sofa",
        "couch, settee, loveseat",
    ),
    "armchair": _words(
        "armchair, easy chair, club chair, lounge chair, wing chair, recliner, upholstered armchair, reading chair, "
        "arm chair, padded armchair",
        "comfy chair, fauteuil",
    ),
    "chair": _words(
        "chair, dining chair, kitchen chair, side chair, chair with a back, desk chair, chair with four legs, "
        "straight chair, office chair, spare chair, chair to sit on",
        "dining room seat, chair at the table",
    ),
    "stool": _words(
        "stool, bar stool, step stool, backless stool, footstool, milking stool, kitchen stool, three-legged stool, "
        "low stool, counter stool",
        "barstool, tabouret",
    ),
    "bench": _words(
        "bench, wooden bench, sitting bench, hallway bench, long bench, park bench",
        "bench seat",
    ),
    "ottoman": _words(
        "ottoman, pouf, pouffe, hassock, footrest, upholstered footrest",
        "foot rest, beanbag seat",
    ),
    "bed": _words(
        "bed, single bed, bed with a mattress, bunk, bedstead, mattress, place to sleep, bed frame",
        "cot, somewhere to sleep",
    ),
    "cushion": _words(
        "cushion, pillow, sofa cushion, soft pillow, square cushion, sofa pillow, cushion on the sofa, decorative "
        "pillow, small pillow, scatter cushion",
        "throw pillow, headrest pillow",
    ),
    "table": _words(
        "table, dining table, dinner table, big table, table with four legs, wooden table, dining room table, large "
        "table, tabletop, work table",
        "kitchen table, place to eat",
    ),
    "desk": _words(
        "desk, writing desk, office desk, computer desk, study desk, workstation desk, bureau desk",
        "writing table, workstation",
    ),
    "coffee table": _words(
        "coffee table, low table, low round table, tea table, cocktail table, sofa table, living room table, small "
        "low table, occasional table, low living room table",
        "side table, end table",
    ),
    "rug": _words(
        "rug, carpet, area rug, floor rug, woven rug, patterned rug, small carpet, rug on the floor, oriental rug, "
        "throw rug, mat",
        "floor mat, persian carpet",
    ),
    "mug": _words(
        "mug, cup, coffee mug, tea mug, drinking cup, ceramic mug, cup with a handle, cup of coffee, cup of tea, "
        "mug on the table",
        "coffee cup, teacup",
    ),
    "bottle": _words(
        "bottle, water bottle, wine bottle, glass bottle, drink bottle, plastic bottle, beer bottle, bottle of "
        "water",
        "flask",
    ),
    "bowl": _words(
        "bowl, fruit bowl, salad bowl, ceramic bowl, soup bowl, serving bowl, mixing bowl, round bowl",
        "dish, basin",
    ),
    "book": _words(
        "book, hardcover book, paperback, closed book, novel, textbook, pile of books, stack of books",
        "reading matter",
    ),
    "duck": _words(
        "duck, rubber duck, toy duck, duckling, bath duck, yellow toy duck, plastic duck, rubber duckie, duck toy, "
        "little duck",
        "rubber ducky, bath toy",
    ),
    "teddy bear": _words(
        "teddy bear, teddy, toy bear, stuffed animal, plush bear, cuddly bear, soft toy bear, brown teddy bear, "
        "fluffy bear, cuddly toy, bear",
        "stuffed bear, plush toy",
    ),
    "bookshelf": _words(
        "bookshelf, shelf with books, book shelf, shelves, shelf, shelving unit, books on shelves, bookrack, book "
        "cabinet, shelf full of books, bookshelves",
        "bookcase, library shelves",
    ),
    "shelf": _words(
        "shelf, wall shelf, rack, open shelf, storage rack, shelving, metal shelf",
        "ledge",
    ),
    "wardrobe": _words(
        "wardrobe, closet, armoire, clothes cupboard, clothes cabinet, tall cupboard, clothes closet",
        "clothes press",
    ),
    "cabinet": _words(
        "cabinet, cupboard, storage cabinet, locker, storage cupboard, filing cabinet",
        "sideboard",
    ),
    "dresser": _words(
        "dresser, chest of drawers, drawers, bedroom dresser, commode, drawer cabinet, bureau",
        "tallboy, drawer chest",
    ),
    "lamp": _words(
        "lamp, floor lamp, standing lamp, lamp with a shade, reading lamp, tall lamp, lampshade, living room lamp, "
        "lamp stand, electric lamp, lamp post",
        "standing light, torchiere",
    ),
    "table lamp": _words(
        "table lamp, desk lamp, bedside lamp, small lamp, desk light, reading lamp on a table, lamp on the table",
        "bedside light",
    ),
    "plant": _words(
        "plant, potted plant, indoor plant, house plant, plant in a pot, green plant, pot plant, leafy plant, "
        "foliage, flowerpot, greenery, leaves",
        "houseplant, shrub",
    ),
    "cactus": _words(
        "cactus, potted cactus, succulent, spiny plant, desert plant, cactus in a pot",
        "prickly pear",
    ),
    "cardboard box": _words(
        "cardboard box, box, carton box, shipping box, moving box, packing box, brown box, parcel, delivery box, "
        "cardboard, storage box",
        "carton, package",
    ),
    "crate": _words(
        "crate, wooden crate, storage crate, fruit crate, plastic crate, wooden box",
        "packing case",
    ),
    "basket": _words(
        "basket, wicker basket, laundry basket, woven basket, storage basket, rattan basket",
        "hamper",
    ),
    "soccer ball": _words(
        "soccer ball, ball, foot ball, soccerball, toy ball, round ball, leather ball, ball to kick, kids ball, "
        "sports ball",
        "football, ball for playing",
    ),
    "basketball": _words(
        "basketball, basket ball, orange basketball, basketball ball",
        "hoops ball",
    ),
    "traffic cone": _words(
        "traffic cone, cone, orange cone, road cone, plastic cone, warning cone, orange traffic cone, construction "
        "cone, street cone, cone with stripes",
        "safety cone, road pylon",
    ),
    "trash bin": _words(
        "trash bin, trash can, rubbish bin, dustbin, bin, garbage bin, waste bin, trash, wastepaper basket, pedal "
        "bin, recycling bin, trashcan",
        "garbage can, waste basket",
    ),
    "bucket": _words(
        "bucket, pail, water bucket, plastic bucket, cleaning bucket, metal bucket, mop bucket",
        "pail with a handle",
    ),
    "backpack": _words(
        "backpack, bag, school bag, back pack, hiking backpack, bookbag, schoolbag, day pack, student backpack, "
        "travel backpack, bag with straps",
        "rucksack, knapsack",
    ),
    "suitcase": _words(
        "suitcase, luggage, travel case, trolley case, travel bag, baggage, rolling suitcase",
        "valise, carry-on",
    ),
    "umbrella": _words(
        "umbrella, closed umbrella, rain umbrella, umbrella stand, folded umbrella",
        "brolly",
    ),
    "fire extinguisher": _words(
        "fire extinguisher, extinguisher, red extinguisher, fire safety device, fire bottle, emergency "
        "extinguisher, extinguisher for fires, red fire extinguisher, hand-held extinguisher, something to put out "
        "a fire",
        "fire fighting equipment, fire suppressor",
    ),
    "tv stand": _words(
        "tv stand, low cabinet, tv cabinet, tv table, television stand, tv bench, television cabinet, low "
        "sideboard, tv unit, media cabinet, entertainment center",
        "media console, television table",
    ),
    "tv": _words(
        "tv, television, flat screen tv, tv set, television set, flat screen, telly, big screen, lcd tv, smart tv, "
        "tv screen",
        "television screen, flatscreen",
    ),
    "monitor": _words(
        "monitor, computer monitor, computer screen, desktop monitor, display, pc monitor",
        "pc screen",
    ),
    "keyboard": _words(
        "keyboard, computer keyboard, pc keyboard, typing keyboard, keys",
        "keypad",
    ),
    "laptop": _words(
        "laptop, laptop computer, computer, open laptop, portable computer, notebook pc, pc, laptop on the table, "
        "personal computer, chromebook",
        "notebook computer, macbook",
    ),
    "painting": _words(
        "painting, picture, framed picture, wall art, picture on the wall, artwork, framed painting, oil painting, "
        "picture frame, poster, canvas painting",
        "framed artwork, art print",
    ),
    "mirror": _words(
        "mirror, wall mirror, looking glass, standing mirror, framed mirror, round mirror",
        "reflecting glass",
    ),
    "clock": _words(
        "clock, wall clock, round clock, clock on the wall, clock face, analog clock, clock with hands, hanging "
        "clock, time clock, something that tells the time",
        "timepiece, alarm clock",
    ),
    "vase": _words(
        "vase, flower vase, ceramic vase, urn, decorative vase, porcelain vase, tall vase, pottery vase, vase on "
        "the table, clay pot, pottery",
        "vase of flowers, jar",
    ),
    "candle": _words(
        "candle, candlestick, wax candle, candle holder, candelabra",
        "taper",
    ),
    "fan": _words(
        "fan, electric fan, standing fan, floor fan, ventilator, cooling fan",
        "air blower",
    ),
    "radiator": _words(
        "radiator, heater, heating radiator, wall radiator, room heater, central heating",
        "heating unit",
    ),
    "guitar": _words(
        "guitar, acoustic guitar, string instrument, wooden guitar, classical guitar",
        "six-string",
    ),
    "curtain": _words(
        "curtain, drapes, window curtain, curtains, drapery",
        "window hangings",
    ),
    "window": _words(
        "window, window frame, view outside, glass window, windowpane, window with a view, window glass, daylight "
        "window, room window, big window",
        "glass pane, casement",
    ),
    "door": _words(
        "door, wooden door, room door, closed door, exit, entrance, door with a handle, way out, interior door, "
        "front door",
        "doorway, exit door",
    ),
    "ceiling light": _words(
        "ceiling light, ceiling lamp, light panel, light on the ceiling, overhead light, ceiling fixture, light "
        "fixture, led panel, pendant light, lighting",
        "overhead lamp, luminaire",
    ),
    "floor": _words(
        "floor, flooring, ground, the floor of the room, floor tiles, floorboards, bare floor, wooden flooring",
    ),
    "wall": _words(
        "wall, walls, plain wall, wall of the room, painted wall, wallpaper, brick wall, room wall",
    ),
    "ceiling": _words(
        "ceiling, white ceiling, room ceiling, the ceiling of the room, ceiling of a room",
    ),
}
"""Every kind that may appear in a rendered room, some of them not built yet, with its words."""

BACKGROUND_KINDS = frozenset({"floor", "wall", "ceiling"})
"""Kinds that are surfaces of the room, not things in it."""

GROUPS: dict[str, tuple[str, ...]] = {
    "seat": ("sofa", "armchair", "chair", "stool", "bench", "ottoman"),
    "a place to sit": ("sofa", "armchair", "chair", "stool", "bench", "ottoman"),
    "seating": ("sofa", "armchair", "chair", "stool", "bench", "ottoman"),
    "toy": ("duck", "teddy bear", "soccer ball", "basketball"),
    "something to drink from": ("mug", "bottle"),
    "drinkware": ("mug", "bottle"),
    "screen": ("tv", "monitor", "laptop"),
    "electronics": ("tv", "monitor", "laptop", "keyboard"),
    "luggage bag": ("backpack", "suitcase"),
    "light source": ("lamp", "table lamp", "ceiling light"),
    "container": ("cardboard box", "crate", "basket", "bucket", "trash bin"),
    "wall decoration": ("painting", "mirror", "clock"),
}
"""Hypernyms used in training, and the kinds that they fit."""

HELD_OUT_GROUPS: dict[str, tuple[str, ...]] = {
    "somewhere to sit": ("sofa", "armchair", "chair", "stool", "bench", "ottoman"),
    "plaything": ("duck", "teddy bear", "soccer ball", "basketball"),
}
"""Hypernyms never used in training."""

ANCHORS = ("object", "thing", "stuff", "something")
"""Words that fit everything a little: training places them between what a patch shows and everything else."""

BACKGROUND_PHRASES = (ANCHORS[0], "wall", "floor", "ceiling")
"""What a query is weighed against: a patch shows the query only if it is closer to it than to these. One anchor stands
for all, and no other kinds: they would reject synonyms of themselves."""


def plain_name(kind: str) -> str:
    """Return the first name of a kind; a kind without an entry is called by its own name."""
    return VOCABULARY[kind].names[0] if kind in VOCABULARY else kind


def phrase_kinds(kinds: Iterable[str]) -> dict[str, frozenset[str]]:
    """Map each training phrase, hypernyms included, to those of the given kinds that it fits."""
    return _invert(kinds, {k: w.names for k, w in VOCABULARY.items()}, GROUPS)


def held_out_phrase_kinds(kinds: Iterable[str]) -> dict[str, frozenset[str]]:
    """Map each phrase kept out of training to those of the given kinds that it fits."""
    return _invert(kinds, {k: w.held_out for k, w in VOCABULARY.items()}, HELD_OUT_GROUPS)


def _invert(
    kinds: Iterable[str], names: dict[str, tuple[str, ...]], groups: dict[str, tuple[str, ...]]
) -> dict[str, frozenset[str]]:
    """Collect phrase -> kinds; groups that fit none of the kinds are dropped."""
    wanted = list(dict.fromkeys(kinds))
    table: dict[str, set[str]] = {}
    for kind in wanted:
        for phrase in names.get(kind, (kind,)):
            table.setdefault(phrase, set()).add(kind)
    for phrase, members in groups.items():
        present = set(members) & set(wanted)
        if present:
            table.setdefault(phrase, set()).update(present)
    return {phrase: frozenset(found) for phrase, found in table.items()}
