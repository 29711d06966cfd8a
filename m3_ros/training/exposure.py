"""Automatic exposure undone: one gain and one offset per training picture and channel."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.splat.gaussians import Gaussians
from m3_ros.training.field import MOMENTS, State
from m3_ros.training.views import View

_RATE = 5e-3
_ANCHOR = 1e-3
"""Pull of the mean gain and offset to none, which the colours could otherwise take over."""
_DISAGREEMENT = 0.03
"""Median deviation of the logarithm of a picture's gain above which exposure varies (a fixed one gives below 0.01)."""
_BLOCKS = 4
"""Rows and columns of blocks that each tell a picture's gain: exposure changes all of them alike."""
_TRUSTED = 2.5
"""Times the error of a picture's gain, as its blocks tell it, that the gains of pictures must deviate."""
_LEAST_PIXELS = 0.5
"""Share of a block that must be drawn for it to count."""


@torch.no_grad()
def exposure_varies(gaussians: Gaussians, views: Sequence[View]) -> bool:
    """Tell from a roughly trained field whether pictures of the same place differ in brightness or colour.

    The gain between a rendering and its picture differs from block to block where the field is still wrong, and from
    picture to picture, alike in all blocks, where the exposure is another.
    """
    deviation, error = gain_deviation(gaussians, views)
    return deviation > _DISAGREEMENT and deviation > _TRUSTED * error


def gain_deviation(gaussians: Gaussians, views: Sequence[View]) -> tuple[float, float]:
    """Return the median deviation of log gains between pictures, and what the blocks of one picture leave unsure.

    Both belong to the channel that deviates most; (0, 0) for fewer than two pictures of anything.
    """
    blocks = [gains for gains in (_block_gains(gaussians, view) for view in views) if len(gains)]
    if len(blocks) < 2:
        return 0.0, 0.0
    pictures = torch.stack([gains.median(0).values for gains in blocks])
    errors = torch.stack([_error_of_median(gains) for gains in blocks])
    deviation = (pictures - pictures.median(0).values).abs().median(0).values
    worst = int(deviation.argmax())
    return float(deviation[worst]), float(errors.median(0).values[worst])


def _block_gains(gaussians: Gaussians, view: View) -> Float[Tensor, "B 3"]:
    """Return the logarithm of picture over rendering in each block that is drawn well enough."""
    drawn = view.draw(gaussians)
    solid = (drawn.alpha > 0.9).float()[None]
    planes = torch.cat(
        [drawn.features[0].movedim(-1, 0)[None] * solid, view.truth().movedim(-1, 0)[None] * solid, solid], 1
    )
    sums = torch.nn.functional.adaptive_avg_pool2d(planes, _BLOCKS)[0].flatten(1).T
    sums = sums[sums[:, 6] >= _LEAST_PIXELS]
    return torch.log(sums[:, 3:6].clamp(min=1e-3) / sums[:, :3].clamp(min=1e-3))


def _error_of_median(gains: Float[Tensor, "B 3"]) -> Float[Tensor, " 3"]:
    """Return the median absolute deviation of blocks over the root of their number: about the error of their median."""
    deviation = (gains - gains.median(0).values).abs().median(0).values
    return deviation / math.sqrt(len(gains))


class Exposure:
    """Gains and offsets of the training pictures. Changes in place."""

    def __init__(self, frames: Sequence[int], device: torch.device) -> None:
        """Start without correction; `frames` are the keyframe numbers of the training pictures, ascending."""
        self._frames = torch.tensor(list(frames), dtype=torch.float32)
        self._values = torch.zeros(len(frames), 2, 3, device=device, requires_grad=True)
        self._adam = torch.optim.Adam([self._values], lr=_RATE, eps=1e-15, fused=True)

    def apply(self, image: Float[Tensor, "H W 3"], number: int) -> Float[Tensor, "H W 3"]:
        """Return the picture as training picture `number` was exposed."""
        return _apply(image, self._values[number])

    def between(self, image: Float[Tensor, "H W 3"], frame: int) -> Float[Tensor, "H W 3"]:
        """Return the picture as keyframe `frame` was probably exposed: like the training pictures around it."""
        after = int(torch.searchsorted(self._frames, float(frame)))
        before, after = max(0, after - 1), min(after, len(self._frames) - 1)
        gap = float(self._frames[after] - self._frames[before])
        t = 0.0 if gap == 0 else (frame - float(self._frames[before])) / gap
        return _apply(image, torch.lerp(self._values[before], self._values[after], min(1.0, max(0.0, t))))

    def anchor(self) -> Float[Tensor, ""]:
        """Return the penalty on the mean correction."""
        return _ANCHOR * self._values.mean(0).square().sum()

    def step(self, sound: bool, fraction: float) -> None:
        """Take one Adam step at a fraction of the schedule, or drop the gradients where the step is not sound."""
        if sound:
            self._adam.param_groups[0]["lr"] = _RATE * 0.1**fraction
            self._adam.step()
        self._adam.zero_grad(set_to_none=True)

    def state(self) -> State:
        """Return the corrections and their Adam moments by name; they are not copied."""
        return {"values": self._values.detach()} | dict(self._adam.state.get(self._values, {}))

    def restore(self, state: State) -> None:
        """Go on from a state as `state` returned it."""
        self._values.data.copy_(state["values"])
        if "step" in state:
            self._adam.state[self._values] = {key: state[key].clone() for key in MOMENTS}


def _apply(image: Tensor, values: Tensor) -> Tensor:
    return image * torch.exp(values[0]) + values[1]
