"""SpatialMemory: what a user holds. Gaussians, what several models remember about each, and where it all comes from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.errors import MemoryFormatError
from m3_ros.geometry.box import OrientedBox
from m3_ros.geometry.camera import Camera
from m3_ros.memory.attention import MemoryAttention
from m3_ros.memory.lift import Lifted
from m3_ros.memory.linear_head import LinearHead
from m3_ros.memory.provenance import Provenance
from m3_ros.splat.gaussians import Gaussians

QueryPrecision = Literal["float16", "int8"]
"""How principal queries are stored; int8 has a scale for each Gaussian. Weights of a linear head always are int8."""


Head = Literal["attention", "linear"]
"""What a Gaussian is read out by: the memory attention of its query, or the linear head where one is kept."""


@dataclass(frozen=True, eq=False)
class Recipe:
    """How sums over views become principal queries, so that a walk can be added or taken away."""

    to_query: Float[Tensor, "D s"]
    """Projects the unit features that are summed."""
    correction: Float[Tensor, "N s"]
    """What the polish added to the mean of each Gaussian, float16; zero without one."""
    min_weight: float
    """A Gaussian whose alpha-weights sum to less than this over all views [px] remembers nothing."""
    lift_width: int = 160
    """Width at which the Gaussians were splatted while features were gathered [px]: that of every further walk."""
    code_length: int = 0
    """Components of each Gaussian in the linear head; 0: none is kept."""


@dataclass(frozen=True, eq=False)
class Walk:
    """What one recording added to the memory."""

    name: str
    """What it is called."""
    keyframes: int
    """Number of its keyframes; those of a memory lie one walk after the other."""
    lifted: tuple[Lifted, ...]
    """Its sums for each encoder."""


@dataclass(frozen=True, eq=False)
class PrincipalQueries:
    """What one encoder knows about each Gaussian."""

    queries: Float[Tensor, "N s"]
    """Principal query of each Gaussian, float16; zero where the Gaussian was never seen."""
    norms: Float[Tensor, " N"]
    """Length of what each query reads out of the bank: `attention.norms(queries)`, stored as no text changes it."""
    consistency: Float[Tensor, " N"]
    """How far the views agree on the Gaussian, in [0, 1]: length of its mean unit feature."""
    attention: MemoryAttention
    """Reads the queries out of the encoder's bank."""
    recipe: Recipe | None = None
    """How the queries came from the walks; None: they stand for themselves."""
    linear: LinearHead | None = None
    """What the views gave each Gaussian as a sparse sum of components, beside its query; None: not kept."""

    @property
    def encoder_name(self) -> str:
        """Encoder in the registry."""
        return self.attention.bank.encoder_name

    @property
    def encoder_version(self) -> str:
        """Fingerprint of the encoder's weights and preprocessing."""
        return self.attention.bank.encoder_version

    def text_scores(self, text: Float[Tensor, "T D"], head: Head = "attention") -> Float[Tensor, "N T"]:
        """Return the cosine of what each Gaussian remembers to each text vector: the direct 3D query.

        Each Gaussian is read out by itself. A pixel blends queries first (`feature_view.text_view`, the paper's order);
        with the attention the two are not the same, as a softmax stands in between, with the linear head they are.

        Raises:
            MemoryFormatError: the memory keeps no linear head.
        """
        if head == "linear":
            return self.linear_head().text_scores(text)
        return self.attention.text_scores(self.queries.float(), text, self.norms)

    def linear_head(self) -> LinearHead:
        """Return the linear head.

        Raises:
            MemoryFormatError: the memory keeps none.
        """
        if self.linear is None:
            raise MemoryFormatError(
                f"the memory keeps no linear head of {self.encoder_name!r}: ask its attention, or train it again with "
                "--code-length 8"
            )
        return self.linear


@dataclass(frozen=True, eq=False)
class Keyframes:
    """From where the place was seen."""

    stamps_ns: Int[NDArray[np.int64], " F"]
    """Times of exposure [ns]."""
    T_map_camera: Float[NDArray[np.float64], "F 4 4"]
    """Camera poses in the map (OpenCV axes) [m]."""
    cameras: tuple[Camera, ...]
    """Intrinsics of each view."""

    def __len__(self) -> int:
        return len(self.cameras)


@dataclass(frozen=True, eq=False)
class MemoryObject:
    """One thing in the place, found by what is remembered and where, not by words."""

    id: int
    """Its number in the memory, the largest first, from 0."""
    centre: Float[NDArray[np.float64], "3"]
    """Centre of its box in the map [m]."""
    covariance: Float[NDArray[np.float64], "3 3"]
    """Spread of its matter [m^2]."""
    box: OrientedBox
    """Tight box, upright (rotated about z only)."""
    gaussians: Bool[Tensor, " N"]
    """Which Gaussians of the memory belong to it."""
    codes: tuple[Float[Tensor, " s"], ...]
    """Mean principal query of its Gaussians, for each encoder."""
    views: tuple[int, ...]
    """Keyframes that saw it, the best first."""
    last_seen_ns: int
    """Time of the last of them [ns]; -1: none shows it plainly."""
    name: str = ""
    """A hint: the likeliest of the names that the encoder knows; empty where it knows none."""
    name_probability: float = 0.0
    """Share of the votes that the name got, in [0, 1]."""


@dataclass(frozen=True, eq=False)
class SpatialMemory:
    """The memory of one place. Questions are asked through `m3_ros.query.Finder`, which pairs it with its encoder."""

    gaussians: Gaussians
    """The field of Gaussians in the map."""
    principal_queries: tuple[PrincipalQueries, ...]
    """One entry per encoder."""
    visibility: Float[Tensor, " N"]
    """Sum of alpha-weights of each Gaussian over the views [px of the lifting grid]; 0: never seen."""
    keyframes: Keyframes
    """From where the place was seen."""
    provenance: Provenance
    """Where the memory comes from."""
    map_frame: str = "map"
    """Name of the frame of every position in it."""
    objects: tuple[MemoryObject, ...] | None = None
    """The things in the place; None: not looked for yet (`m3_ros.memory.list_objects` does)."""
    walks: tuple[Walk, ...] = ()
    """What each recording added; empty where that was not kept."""

    def __post_init__(self) -> None:
        n = len(self.gaussians)
        rows = [x for entry in self.principal_queries for x in (entry.queries, entry.norms, entry.consistency)]
        lengths = {len(x) for x in (self.visibility, *rows)}
        if lengths != {n}:
            raise MemoryFormatError(
                f"a memory of {n} Gaussians needs {n} queries and visibilities; got {sorted(lengths)}"
            )
        if any(len(walk.lifted) != len(self.principal_queries) for walk in self.walks):
            raise MemoryFormatError("every walk of a memory needs the sums of each of its encoders")

    @property
    def seen(self) -> Bool[Tensor, " N"]:
        """Gaussians that at least one view showed clearly enough to remember anything about them."""
        return self.visibility > 0

    def queries_of(self, name: str, version: str | None = None) -> PrincipalQueries:
        """Return what an encoder remembers.

        A name may hold a path, and models move: an encoder of the version that the memory was made with is the one,
        whatever it is called. Without a version, "dinov2" is also "dinov2:/models/dinov2" if there is only one.

        Raises:
            MemoryFormatError: the memory was made without it, or with another version of it.
        """
        same = [entry for entry in self.principal_queries if entry.encoder_version == version]
        named = [entry for entry in self.principal_queries if entry.encoder_name == name]
        family = [p for p in self.principal_queries if p.encoder_name.partition(":")[0] == name.partition(":")[0]]
        if same:
            return next((entry for entry in same if entry in named), same[0])
        if version is None and (named or (len(family) == 1 and ":" not in name)):
            return (named or family)[0]
        if version is not None and (near := named or family):
            raise MemoryFormatError(
                f"the memory was made with encoder {near[0].encoder_name!r} version {near[0].encoder_version}, the "
                f"one wanted is {name!r} version {version}: use those weights, or train the memory again"
            )
        names = ", ".join(p.encoder_name for p in self.principal_queries) or "none"
        raise MemoryFormatError(
            f"the memory holds nothing of encoder {name!r} (it has: {names}): train it with this encoder"
        )

    @classmethod
    def load(cls, path: Path | str) -> "SpatialMemory":
        """Read a saved memory.

        Raises:
            MemoryFormatError: the folder is missing, partial, corrupt, or of a newer version.
        """
        from m3_ros.memory.archive import load_memory

        return load_memory(Path(path))

    def save(self, path: Path | str, query_precision: QueryPrecision = "float16") -> None:
        """Write the memory to a folder, atomically; one already there is replaced only when the new one is whole.

        Args:
            path: the folder.
            query_precision: how principal queries are stored.

        Raises:
            MemoryFormatError: the folder cannot be written.
        """
        from m3_ros.memory.archive import save_memory

        save_memory(self, Path(path), query_precision)
