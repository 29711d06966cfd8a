"""Semi-global matching: matching costs smoothed along straight paths through the picture (Hirschmueller 2008)."""

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

Volume = Float[NDArray[np.float32], "h w D"]
"""Matching cost of each pixel at each depth [grey levels]."""

_STEP_PENALTY = 4.0
"""Cost of a depth that differs by one plane from the next pixel's [grey levels]."""
_JUMP_PENALTY = 30.0
"""Cost of any larger difference where the picture has no edge [grey levels]."""
_EDGE_LEVELS = 8.0
"""Brightness step at which a jump costs half [grey levels]."""


def smoothed(costs: Volume, pixels: UInt8[NDArray[np.uint8], "h w 4"]) -> Volume:
    """Add up the costs of the best depth profiles that reach each pixel from above, below, left and right."""
    grey = pixels[..., :3].astype(np.float32).mean(-1)
    total = np.zeros_like(costs)
    for turned in (False, True):
        c, t, g = (x.swapaxes(0, 1) for x in (costs, total, grey)) if turned else (costs, total, grey)
        _add_path(c, t, g)
        _add_path(c[::-1], t[::-1], g[::-1])
    return total


def _add_path(costs: Volume, total: Volume, grey: Float[NDArray[np.float32], "h w"]) -> None:
    """Add the path costs from the first row on to `total`, in place (Hirschmueller 2008, equation 13)."""
    path = costs[0].copy()
    total[0] += path
    padded = np.full((costs.shape[1], costs.shape[2] + 2), np.inf, np.float32)
    for y in range(1, len(costs)):
        least = path.min(1, keepdims=True)
        jump = np.maximum(_JUMP_PENALTY / (1 + np.abs(grey[y] - grey[y - 1]) / _EDGE_LEVELS), 1.5 * _STEP_PENALTY)
        padded[:, 1:-1] = path
        best = np.minimum(padded[:, :-2], padded[:, 2:])
        best += np.float32(_STEP_PENALTY)
        np.minimum(best, path, out=best)
        np.minimum(best, least + jump[:, None], out=best)
        best -= least
        best += costs[y]
        path = best
        total[y] += path
