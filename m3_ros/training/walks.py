"""Another walk through a place that is already remembered: its features are added, the geometry stays as it is."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from m3_ros.errors import TrainingError
from m3_ros.features.encoder import Encoder
from m3_ros.memory import SpatialMemory, Walk, lift, with_walk
from m3_ros.memory.walks import check_has_sums
from m3_ros.recording.frame import Frame
from m3_ros.training.feature_stream import FeatureStream
from m3_ros.training.feature_views import FeatureViews
from m3_ros.training.memory_stage import keyframes_of
from m3_ros.training.progress import CancelCheck, never_cancelled


def add_walk(
    memory: SpatialMemory,
    frames: Sequence[Frame],
    encoders: Sequence[Encoder],
    name: str,
    cancelled: CancelCheck = never_cancelled,
    *,
    cache_dir: Path | None = None,
) -> SpatialMemory:
    """Add what was seen on another walk; `m3_ros.memory.remove_walk` takes it away again without a trace.

    Components, W, tau and what the polish had learned stay as the first training made them.

    Args:
        memory: a memory that keeps its sums.
        frames: keyframes of the walk, posed in the memory's map.
        encoders: every encoder of the memory, in any order.
        name: what to call the walk.
        cancelled: asked once a view.
        cache_dir: keeps the features; None: a temporary folder.

    Raises:
        TrainingError: there are no frames, or no Gaussian is seen from them.
        MemoryFormatError: the memory keeps no sums, has a walk of this name, or was made with other encoders.
        Cancelled: `cancelled` said so.
    """
    check_has_sums(memory)
    if not frames:
        raise TrainingError("a walk needs frames; got none")
    by_entry = {memory.queries_of(encoder.name, encoder.version): encoder for encoder in encoders}
    missing = [entry.encoder_name for entry in memory.principal_queries if entry not in by_entry]
    if missing:
        raise TrainingError(f"a walk has to be seen by every encoder of the memory; {', '.join(missing)} is missing")
    recipes = [entry.recipe for entry in memory.principal_queries if entry.recipe is not None]
    width = recipes[0].lift_width
    with tempfile.TemporaryDirectory(prefix="m3_features_") as scratch, torch.no_grad():
        cache = cache_dir or Path(scratch)
        streams = [FeatureStream(frames, by_entry[x], cache, cancelled) for x in memory.principal_queries]
        views = FeatureViews(frames, streams, memory.gaussians, width)
        lifted = lift(views, memory.gaussians, [recipe.to_query for recipe in recipes], width)
        if not bool((lifted[0].seen > 0).any()):
            raise TrainingError("no Gaussian is seen by any frame: the walk was posed in another map")
        return with_walk(memory, Walk(name, len(frames), lifted), keyframes_of(frames))
