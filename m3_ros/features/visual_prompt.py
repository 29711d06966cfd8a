"""A visual prompt, a box or a click in a picture, as a query vector of any encoder."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.errors import EncoderError
from m3_ros.features.encoder import Encoder, PromptEncoder, unit
from m3_ros.features.segmentation import check_prompt


def encode_prompt(
    encoder: Encoder,
    rgb: UInt8[NDArray[np.uint8], "H W 3"],
    box: tuple[float, float, float, float] | None = None,
    point: tuple[float, float] | None = None,
) -> Float[Tensor, " D"]:
    """Return the unit vector of what a box (left, top, right, bottom) or a click (u, v) [px] shows.

    An encoder that can tell the thing from what is around it does so. Of any other, the mean unit vector over the box,
    or the vector at the click, is taken; a box should then be drawn tightly.

    Raises:
        EncoderError: the prompt is not one box or one point in the image, or nothing was seen there.
    """
    if isinstance(encoder, PromptEncoder):
        return encoder.encode_prompt(rgb, box=box, point=point)
    check_prompt(rgb, box, point)
    seen = encoder.encode_image(rgb)
    h, w = seen.valid.shape
    left, top, right, bottom = box if box is not None else (*point, *point)  # type: ignore[misc]
    cells = max(1, round((right - left) * w / rgb.shape[1])), max(1, round((bottom - top) * h / rgb.shape[0]))
    u, v = (low + (torch.arange(n) + 0.5) / n * (high - low) for low, high, n in
            zip((left, top), (right, bottom), cells, strict=True))  # fmt: skip
    grid_v, grid_u = torch.meshgrid(v, u, indexing="ij")
    vectors, valid = seen.at(grid_u.reshape(-1), grid_v.reshape(-1))
    mean = unit((unit(vectors.float()) * valid[:, None]).sum(0))
    if not bool(mean.any()):
        raise EncoderError(f"{encoder.name} saw nothing at {box or point}: click on a thing, or draw a box around it")
    return mean
