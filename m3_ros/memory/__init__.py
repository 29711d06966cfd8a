"""What is remembered: principal scene components, principal queries, memory attention, the archive on disk."""

from m3_ros.memory.archive import load_memory, save_memory
from m3_ros.memory.attention import MemoryAttention, fit_tau, frozen_projection, pca_projection
from m3_ros.memory.components import Coverage, MemoryBank, paper_components
from m3_ros.memory.cover import cover_components
from m3_ros.memory.lift import Lifted, View, lift
from m3_ros.memory.spatial_memory import Keyframes, PrincipalQueries, Provenance, SpatialMemory

__all__ = [
    "Coverage",
    "Keyframes",
    "Lifted",
    "MemoryAttention",
    "MemoryBank",
    "PrincipalQueries",
    "Provenance",
    "SpatialMemory",
    "View",
    "cover_components",
    "fit_tau",
    "frozen_projection",
    "lift",
    "load_memory",
    "paper_components",
    "pca_projection",
    "save_memory",
]
