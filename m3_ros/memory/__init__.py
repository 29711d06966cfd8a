"""What is remembered: principal scene components, principal queries, memory attention, the archive on disk."""

from m3_ros.memory.archive import load_memory, save_memory
from m3_ros.memory.attention import MemoryAttention, fit_tau, frozen_projection, pca_projection
from m3_ros.memory.components import Coverage, MemoryBank, paper_components
from m3_ros.memory.cover import cover_components
from m3_ros.memory.lift import Lifted, View, lift
from m3_ros.memory.spatial_memory import Keyframes, PrincipalQueries, Provenance, Recipe, SpatialMemory, Walk
from m3_ros.memory.walks import compose, remove_walk, visibility, with_walk

__all__ = [
    "Coverage",
    "Keyframes",
    "Lifted",
    "MemoryAttention",
    "MemoryBank",
    "PrincipalQueries",
    "Provenance",
    "Recipe",
    "SpatialMemory",
    "View",
    "Walk",
    "compose",
    "cover_components",
    "fit_tau",
    "frozen_projection",
    "lift",
    "load_memory",
    "paper_components",
    "pca_projection",
    "remove_walk",
    "save_memory",
    "visibility",
    "with_walk",
]
