"""Builders of furniture and other things, by theme: each module ends in a tuple KINDS of the kinds it makes."""

from m3_ros.sim.furniture import (
    bags,
    decoration,
    electronics,
    floor_things,
    lights,
    openings,
    seating,
    sofas,
    storage,
    tables,
    tabletop,
)

_THEMES = (seating, sofas, tables, storage, electronics, lights, tabletop, decoration, floor_things, bags, openings)
ALL = tuple(kind for theme in _THEMES for kind in theme.KINDS)
"""Every kind of every theme."""
