"""Builders of furniture and other things, by theme: each module ends in a tuple KINDS of the kinds it makes."""

from m3_ros.sim.furniture import floor_things, seating, tables

ALL = (*seating.KINDS, *tables.KINDS, *floor_things.KINDS)
"""Every kind of every theme."""
