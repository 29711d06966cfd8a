"""A tree of moving frames over time, with tf2's rules: interpolation between stamps, no extrapolation."""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m3_ros.errors import RecordingError
from m3_ros.geometry.pose import Transform, inverse, quat_to_matrix, slerp, transform


class TransformError(RecordingError):
    """A transform is not known at the time asked for."""


class Span(NamedTuple):
    """A closed interval of time."""

    start_ns: int
    """First stamp [ns]."""
    end_ns: int
    """Last stamp [ns]."""


class _Row(NamedTuple):
    """One stamped transform T_parent_child."""

    parent: str
    translation: NDArray[np.float64]
    quat: NDArray[np.float64]

    def matrix(self) -> Transform:
        return transform(quat_to_matrix(self.quat), self.translation)


@dataclass
class _Edge:
    """All transforms of one child frame, ordered by stamp; a static edge has one row and no stamps."""

    static: bool
    stamps: list[int] = field(default_factory=list)
    rows: list[_Row] = field(default_factory=list)

    def put(self, stamp_ns: int, row: _Row) -> None:
        """Insert a row in the order of stamps; it takes the place of one of the same stamp."""
        i = bisect_left(self.stamps, stamp_ns)
        if i < len(self.stamps) and self.stamps[i] == stamp_ns:
            self.rows[i] = row
        else:
            self.stamps.insert(i, stamp_ns)
            self.rows.insert(i, row)

    def forget_before(self, stamp_ns: int) -> None:
        keep = bisect_left(self.stamps, stamp_ns)
        del self.stamps[:keep], self.rows[:keep]

    def at(self, child: str, stamp_ns: int) -> tuple[str, Transform]:
        """Return the parent and T_parent_child at a stamp, interpolated."""
        if self.static:
            return self.rows[0].parent, self.rows[0].matrix()
        i = bisect_left(self.stamps, stamp_ns)
        if i < len(self.stamps) and self.stamps[i] == stamp_ns:
            return self.rows[i].parent, self.rows[i].matrix()
        if i in (0, len(self.stamps)):
            start, end = self.stamps[0] / 1e9, self.stamps[-1] / 1e9
            raise TransformError(
                f"the transform of '{child}' is known from {start:.3f} s to {end:.3f} s, not at "
                f"{stamp_ns / 1e9:.3f} s: record /tf for as long as the images"
            )
        before, after = self.rows[i - 1], self.rows[i]
        if before.parent != after.parent:
            return before.parent, before.matrix()
        fraction = (stamp_ns - self.stamps[i - 1]) / (self.stamps[i] - self.stamps[i - 1])
        translation = (1 - fraction) * before.translation + fraction * after.translation
        return before.parent, transform(quat_to_matrix(slerp(before.quat, after.quat, fraction)), translation)


class TransformBuffer:
    """Holds transforms by child frame and answers `T_target_source` at any stamp they cover."""

    def __init__(self, keep_s: float | None = None) -> None:
        """Start empty; with `keep_s` [s] moving transforms older than that before the newest are forgotten."""
        self._keep_ns = None if keep_s is None else int(keep_s * 1e9)
        self._edges: dict[str, _Edge] = {}

    def add(
        self, parent: str, child: str, stamp_ns: int, translation: ArrayLike, quat: ArrayLike, static: bool = False
    ) -> None:
        """Take in one T_parent_child: translation [m], quaternion wxyz.

        Raises:
            TransformError: the numbers are no rigid transform, or a frame is its own parent.
        """
        parent, child = parent.lstrip("/"), child.lstrip("/")
        t, q = np.array(translation, np.float64), np.array(quat, np.float64)
        norm = float(np.linalg.norm(q))
        if not np.isfinite(t).all() or not np.isfinite(norm) or norm < 1e-6 or not child or parent == child:
            raise TransformError(
                f"the transform '{parent}' -> '{child}' at {stamp_ns / 1e9:.3f} s is not valid (translation "
                f"{t.tolist()}, quaternion wxyz {q.tolist()}): fix the node that publishes it"
            )
        edge = self._edges.get(child)
        if edge is not None and static and not edge.static:
            return  # a frame that was seen to move stays a moving one
        if edge is None or edge.static != static:
            edge = self._edges[child] = _Edge(static)
        row = _Row(parent, t, q / norm)
        if static:
            edge.rows = [row]
            return
        edge.put(stamp_ns, row)
        if self._keep_ns is not None:
            edge.forget_before(edge.stamps[-1] - self._keep_ns)

    @property
    def frames(self) -> frozenset[str]:
        """Every frame that was named, as parent or child."""
        return frozenset(self._edges) | {row.parent for edge in self._edges.values() for row in edge.rows[-1:]}

    def ancestors(self, frame: str) -> list[str]:
        """Return the frame and its parents up to the root, by the newest transforms."""
        found = [frame.lstrip("/")]
        while (edge := self._edges.get(found[-1])) is not None:
            parent = edge.rows[-1].parent
            if parent in found:
                raise TransformError(
                    f"the transforms form a loop at '{parent}': two nodes publish contradicting parents in /tf"
                )
            found.append(parent)
        return found

    def moving_edges(self, frame: str, ancestor: str) -> list[str]:
        """Return the child frames of the moving transforms between a frame and one of its ancestors."""
        chain = self.ancestors(frame)
        below = chain[: chain.index(ancestor)] if ancestor in chain else chain
        return [child for child in below if child in self._edges and not self._edges[child].static]

    def span(self, frame: str, ancestor: str) -> Span | None:
        """Return the time in which a frame's moving transforms up to an ancestor are all known; None: nothing moves."""
        edges = [self._edges[child] for child in self.moving_edges(frame, ancestor)]
        if not edges:
            return None
        return Span(max(e.stamps[0] for e in edges), min(e.stamps[-1] for e in edges))

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """Return T_target_source at a stamp.

        Raises:
            TransformError: the frames are not connected, or the stamp lies outside the recorded time.
        """
        target, source = target.lstrip("/"), source.lstrip("/")
        up, why_up = self._climb(source, stamp_ns)
        down, why_down = self._climb(target, stamp_ns)
        for frame, T_frame_source in up.items():
            if frame in down:
                return T_frame_source if frame == target else inverse(down[frame]) @ T_frame_source
        raise (
            why_up
            or why_down
            or TransformError(
                f"no transform connects '{source}' to '{target}'; known frames: "
                f"{', '.join(sorted(self.frames)) or 'none'}: record /tf and /tf_static"
            )
        )

    def _climb(self, frame: str, stamp_ns: int) -> tuple[dict[str, Transform], TransformError | None]:
        """Return T_ancestor_frame for each ancestor as far as the stamp allows, and why it ended early."""
        T = np.eye(4)
        found = {frame: T}
        start = frame
        while (edge := self._edges.get(frame)) is not None:
            try:
                parent, T_parent_frame = edge.at(frame, stamp_ns)
            except TransformError as error:
                return found, error
            if parent in found:
                raise TransformError(
                    f"the transforms of '{start}' form a loop at '{parent}': "
                    "two nodes publish contradicting parents in /tf"
                )
            frame, T = parent, T_parent_frame @ T
            found[frame] = T
        return found, None
