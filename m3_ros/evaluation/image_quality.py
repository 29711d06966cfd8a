"""How like a rendering is to a photograph."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray


def psnr(image: Float[NDArray[np.float32], "H W 3"], reference: Float[NDArray[np.float32], "H W 3"]) -> float:
    """Return the peak signal-to-noise ratio [dB] of two images with values in [0, 1]; inf where they are equal.

    Raises:
        ValueError: the shapes differ.
    """
    if image.shape != reference.shape:
        raise ValueError(f"PSNR compares images of one shape; got {image.shape} and {reference.shape}")
    mse = float(np.mean((np.clip(image, 0, 1).astype(np.float64) - reference) ** 2))
    return float("inf") if mse == 0 else -10 * float(np.log10(mse))
