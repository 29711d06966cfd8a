"""Builders of furniture and other things, by theme: each module ends in a tuple KINDS of the kinds it makes."""

from m3_ros.sim.furniture import electronics, floor_things, lights, seating, sofas, storage, tables

ALL = (*seating.KINDS, *sofas.KINDS, *tables.KINDS, *storage.KINDS, *electronics.KINDS, *lights.KINDS, *floor_things.KINDS)
"""Every kind of every theme."""
