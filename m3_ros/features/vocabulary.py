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
        "two-seater sofa, comfy sofa, sofa for two, long upholstered seat, futon, leather sofa",
        "couch, settee, loveseat",
    ),
    "armchair": _words(
        "armchair, easy chair, club chair, lounge chair, wing chair, recliner, upholstered armchair, reading chair, "
        "arm chair, padded armchair, soft chair, chair with armrests, upholstered chair, sofa chair, big soft chair",
        "comfy chair, wingback",
    ),
    "chair": _words(
        "chair, dining chair, kitchen chair, side chair, chair with a back, desk chair, chair with four legs, "
        "straight chair, office chair, spare chair, chair to sit on, swivel chair, wooden chair, plastic chair",
        "dining room seat, chair at the table",
    ),
    "stool": _words(
        "stool, bar stool, step stool, backless stool, footstool, milking stool, kitchen stool, three-legged stool, "
        "low stool, counter stool, round stool, seat without a back, high stool",
        "barstool, tabouret",
    ),
    "bed": _words(
        "bed, single bed, bed with a mattress, bunk, bedstead, mattress, place to sleep, bed frame, bunk bed, "
        "made bed, bed with a blanket, double bed, bedroom bed, bed with pillows",
        "cot, somewhere to sleep",
    ),
    "cushion": _words(
        "cushion, pillow, sofa cushion, soft pillow, square cushion, sofa pillow, cushion on the sofa, decorative "
        "pillow, small pillow, scatter cushion",
        "throw pillow, headrest pillow",
    ),
    "table": _words(
        "table, dining table, dinner table, big table, table with four legs, wooden table, dining room table, large "
        "table, tabletop, work table, high table, desk, table to eat at, table to work at",
        "kitchen table, place to eat",
    ),
    "coffee table": _words(
        "coffee table, low table, low round table, tea table, cocktail table, sofa table, living room table, small "
        "low table, occasional table, low living room table, table in front of the sofa",
        "side table, end table",
    ),
    "bookshelf": _words(
        "bookshelf, shelf with books, book shelf, shelves, shelf, shelving unit, books on shelves, bookrack, book "
        "cabinet, shelf full of books, bookshelves",
        "bookcase, library shelves",
    ),
    "tv stand": _words(
        "tv stand, low cabinet, tv cabinet, tv table, television stand, tv bench, television cabinet, low "
        "sideboard, tv unit, media cabinet, entertainment center",
        "media console, television table",
    ),
    "wardrobe": _words(
        "wardrobe, armoire, clothes cupboard, clothes cabinet, tall cupboard, clothes closet, bedroom closet, "
        "wardrobe with doors, cupboard for clothes, tall cabinet, wardrobe with clothes, closet with sliding doors",
        "closet, clothes press",
    ),
    "dresser": _words(
        "dresser, chest of drawers, drawers, bedroom dresser, commode, drawer cabinet, bureau, dresser drawers, "
        "cabinet with drawers, set of drawers, clothes drawers, drawer unit",
        "tallboy, drawer chest",
    ),
    "refrigerator": _words(
        "refrigerator, fridge, freezer, fridge freezer, kitchen fridge, refrigerator with two doors, large fridge, "
        "white refrigerator, food refrigerator, upright freezer, kitchen refrigerator, cold store for food",
        "icebox, food cooler",
    ),
    "washing machine": _words(
        "washing machine, washer, clothes washer, front loader, laundry washer, automatic washer, machine to wash "
        "clothes, washing machine with a round door, top loader, white washing machine, household washer",
        "laundry machine, machine for the laundry",
    ),
    "microwave": _words(
        "microwave, microwave oven, kitchen microwave, oven to heat food, countertop oven, small oven, "
        "countertop microwave, microwave on the table, food warmer, oven for quick meals, electric microwave",
        "microwave cooker, something to warm up food",
    ),
    "tv": _words(
        "tv, television, flat screen tv, tv set, television set, flat screen, telly, big screen, lcd tv, smart tv, "
        "tv screen, old television, something to watch films on",
        "television screen, flatscreen",
    ),
    "monitor": _words(
        "monitor, computer monitor, computer screen, desktop monitor, computer display, desktop screen, "
        "lcd monitor, pc monitor, monitor on the table, screen of a computer, flat monitor, desktop display",
        "pc screen, display screen",
    ),
    "laptop": _words(
        "laptop, laptop computer, open laptop, portable computer, notebook pc, laptop on the table, "
        "personal computer, chromebook, small computer, laptop with a keyboard, folding computer",
        "notebook computer, macbook",
    ),
    "lamp": _words(
        "lamp, floor lamp, standing lamp, lamp with a shade, reading lamp, tall lamp, lampshade, living room lamp, "
        "lamp stand, electric lamp, lamp post, arc lamp, tripod lamp",
        "standing light, torchiere",
    ),
    "ceiling light": _words(
        "ceiling light, ceiling lamp, light panel, light on the ceiling, overhead light, ceiling fixture, light "
        "fixture, led panel, pendant light, lighting, hanging light",
        "overhead lamp, luminaire",
    ),
    "mug": _words(
        "mug, cup, coffee mug, tea mug, drinking cup, ceramic mug, cup with a handle, cup of coffee, cup of tea, "
        "mug on the table, cup and saucer",
        "coffee cup, teacup",
    ),
    "vase": _words(
        "vase, flower vase, ceramic vase, urn, decorative vase, porcelain vase, tall vase, pottery vase, vase on "
        "the table, clay pot, pottery, flowers in a vase",
        "vase of flowers, jar",
    ),
    "duck": _words(
        "duck, rubber duck, toy duck, duckling, bath duck, yellow toy duck, plastic duck, rubber duckie, duck toy, "
        "little duck, duck on wheels",
        "rubber ducky, bath toy",
    ),
    "teddy bear": _words(
        "teddy bear, teddy, toy bear, stuffed animal, plush bear, cuddly bear, soft toy bear, brown teddy bear, "
        "fluffy bear, cuddly toy, bear",
        "stuffed bear, plush toy",
    ),
    "bottle": _words(
        "bottle, water bottle, wine bottle, glass bottle, drink bottle, plastic bottle, beer bottle, bottle of "
        "water, bottle of wine, spray bottle, bottle with a label, bottle on the table, drinking bottle",
        "flask, soda bottle",
    ),
    "book": _words(
        "book, hardcover book, paperback, closed book, novel, textbook, pile of books, stack of books, open book, "
        "books on the table, row of books, something to read, reading book, books",
        "storybook, printed volume",
    ),
    "rug": _words(
        "rug, carpet, area rug, floor rug, woven rug, patterned rug, small carpet, rug on the floor, oriental rug, "
        "throw rug, mat, round rug",
        "floor mat, persian carpet",
    ),
    "plant": _words(
        "plant, potted plant, indoor plant, house plant, plant in a pot, green plant, pot plant, leafy plant, "
        "foliage, flowerpot, greenery, leaves",
        "houseplant, shrub",
    ),
    "painting": _words(
        "painting, picture, framed picture, wall art, picture on the wall, artwork, framed painting, oil painting, "
        "picture frame, poster, canvas painting",
        "framed artwork, art print",
    ),
    "clock": _words(
        "clock, wall clock, round clock, clock on the wall, clock face, analog clock, clock with hands, hanging "
        "clock, time clock, something that tells the time",
        "timepiece, alarm clock",
    ),
    "cardboard box": _words(
        "cardboard box, box, carton box, shipping box, moving box, packing box, brown box, parcel, delivery box, "
        "cardboard, storage box",
        "carton, package",
    ),
    "soccer ball": _words(
        "soccer ball, ball, foot ball, soccerball, toy ball, round ball, leather ball, ball to kick, kids ball, "
        "sports ball",
        "football, ball for playing",
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
    "fire extinguisher": _words(
        "fire extinguisher, extinguisher, red extinguisher, fire safety device, fire bottle, emergency "
        "extinguisher, extinguisher for fires, red fire extinguisher, hand-held extinguisher, something to put out "
        "a fire",
        "fire fighting equipment, fire suppressor",
    ),
    "umbrella": _words(
        "umbrella, closed umbrella, rain umbrella, umbrella stand, folded umbrella, open umbrella, umbrella on the "
        "floor, umbrellas, umbrella for the rain, walking umbrella, umbrella holder",
        "brolly, parasol",
    ),
    "fan": _words(
        "fan, electric fan, standing fan, floor fan, ventilator, cooling fan, fan with blades, room fan, pedestal "
        "fan, table fan, fan that blows air, fan on a stand",
        "air blower, something to cool the air",
    ),
    "ladder": _words(
        "ladder, step ladder, folding ladder, wooden ladder, household ladder, metal ladder, ladder with steps, "
        "small ladder, ladder to climb, platform ladder, ladder with rungs, steps",
        "stepladder, something to climb on",
    ),
    "backpack": _words(
        "backpack, bag, school bag, back pack, hiking backpack, bookbag, schoolbag, day pack, student backpack, "
        "travel backpack, bag with straps",
        "rucksack, knapsack",
    ),
    "suitcase": _words(
        "suitcase, luggage, travel case, trolley case, travel bag, baggage, rolling suitcase, trunk, suitcase with "
        "wheels, old suitcase, travel trunk, packed suitcase",
        "valise, carry-on",
    ),
    "radiator": _words(
        "radiator, heater, heating radiator, wall radiator, room heater, central heating, white radiator, radiator "
        "under the window, hot water radiator, panel radiator, old radiator",
        "heating unit, space heater",
    ),
    "curtain": _words(
        "curtain, window curtain, curtains, drapery, long curtain, curtain rod, hanging curtain, cloth curtain, "
        "pair of curtains, drawn curtains, curtain on the wall, hanging cloth",
        "drapes, window hangings",
    ),
    "window": _words(
        "window, window frame, view outside, glass window, windowpane, window with a view, window glass, daylight "
        "window, room window, big window, arched window",
        "glass pane, casement",
    ),
    "door": _words(
        "door, wooden door, room door, closed door, exit, entrance, door with a handle, way out, interior door, "
        "front door, door with a window",
        "doorway, exit door",
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
"""Every kind that a rendered room may hold, with its words."""

BACKGROUND_KINDS = frozenset({"floor", "wall", "ceiling"})
"""Kinds that are surfaces of the room, not things in it."""

_SEATS = ("sofa", "armchair", "chair", "stool")
_TOYS = ("duck", "teddy bear", "soccer ball")
_MACHINES = ("refrigerator", "washing machine", "microwave")

GROUPS: dict[str, tuple[str, ...]] = {
    "seat": _SEATS,
    "a place to sit": _SEATS,
    "seating": _SEATS,
    "toy": _TOYS,
    "something to drink from": ("mug", "bottle"),
    "drinkware": ("mug", "bottle"),
    "screen": ("tv", "monitor", "laptop"),
    "electronics": ("tv", "monitor", "laptop"),
    "computer": ("monitor", "laptop"),
    "household appliance": _MACHINES,
    "kitchen appliance": ("refrigerator", "microwave"),
    "luggage bag": ("backpack", "suitcase"),
    "light source": ("lamp", "ceiling light"),
    "container": ("cardboard box", "trash bin"),
    "wall decoration": ("painting", "clock"),
    "storage furniture": ("wardrobe", "dresser", "bookshelf", "tv stand"),
    "furniture for clothes": ("wardrobe", "dresser"),
}
"""Hypernyms used in training, and the kinds that they fit."""

HELD_OUT_GROUPS: dict[str, tuple[str, ...]] = {
    "somewhere to sit": _SEATS,
    "plaything": _TOYS,
    "home appliance": _MACHINES,
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
