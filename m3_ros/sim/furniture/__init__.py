"""Builders of furniture and other things, by theme: each module ends in a tuple KINDS of the kinds it makes."""

from m3_ros.sim.furniture import (
    appliances,
    bags,
    beds,
    cupboards,
    decoration,
    electronics,
    floor_things,
    household,
    lights,
    openings,
    seating,
    small_things,
    sofas,
    storage,
    tables,
    tabletop,
)

_FURNITURE = (seating, sofas, beds, tables, storage, cupboards, appliances)
_THINGS = (electronics, lights, tabletop, small_things, decoration, floor_things, household, bags, openings)
ALL = tuple(kind for theme in (*_FURNITURE, *_THINGS) for kind in theme.KINDS)
"""Every kind of every theme."""
