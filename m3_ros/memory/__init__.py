"""What is remembered: principal scene components, principal queries, memory attention, the archive on disk."""

from m3_ros.memory.archive import load_memory, save_memory
from m3_ros.memory.attention import MemoryAttention, fit_tau, frozen_projection, pca_projection
from m3_ros.memory.components import Coverage, MemoryBank, paper_components
from m3_ros.memory.cover import cover_components
from m3_ros.memory.descent import descended
from m3_ros.memory.explanation import Explanation, component_captions, explain
from m3_ros.memory.feature_view import feature_view, text_view
from m3_ros.memory.lift import Lifted, View, lift
from m3_ros.memory.objects import ObjectSettings, find_objects, list_objects
from m3_ros.memory.provenance import Provenance
from m3_ros.memory.spatial_memory import (
    Head,
    Keyframes,
    MemoryObject,
    PrincipalQueries,
    QueryPrecision,
    Recipe,
    SpatialMemory,
    Walk,
)
from m3_ros.memory.walks import compose, remove_walk, visibility, with_walk

__all__ = [
    "Coverage",
    "Explanation",
    "Head",
    "Keyframes",
    "Lifted",
    "MemoryAttention",
    "MemoryBank",
    "MemoryObject",
    "ObjectSettings",
    "PrincipalQueries",
    "Provenance",
    "QueryPrecision",
    "Recipe",
    "SpatialMemory",
    "View",
    "Walk",
    "component_captions",
    "compose",
    "cover_components",
    "descended",
    "explain",
    "feature_view",
    "find_objects",
    "fit_tau",
    "frozen_projection",
    "lift",
    "list_objects",
    "load_memory",
    "paper_components",
    "pca_projection",
    "remove_walk",
    "save_memory",
    "text_view",
    "visibility",
    "with_walk",
]
