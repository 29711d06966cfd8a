"""Stand-ins for large encoders where only the time and memory that they take matter."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from m3_ros.errors import EncoderError
from m3_ros.features import load_encoder
from m3_ros.features.encoder import Encoder, FeatureMap


@dataclass(frozen=True)
class StandIn:
    """What the embedded encoder sees, through a random layer, on a grid of another size or as regions of it."""

    dim: int
    rows: int
    columns: int
    regions: bool
    source: Encoder

    @property
    def name(self) -> str:
        """Spec without the prefix."""
        return f"stand-in-{self.dim}-{self.rows}x{self.columns}{'-regions' * self.regions}"

    @property
    def version(self) -> str:
        """Fingerprint."""
        return f"1-{self.source.version}"

    background_phrases: tuple[str, ...] = ()
    known_names: tuple[str, ...] = ()

    def encode_image(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> FeatureMap:
        """Encode one image."""
        seen = self.source.encode_image(rgb)
        grid = seen.features.movedim(-1, 0)[None]
        x = functional.interpolate(grid, (self.rows, self.columns), mode="bilinear", align_corners=False)[0]
        layer = torch.randn(x.shape[0], self.dim, generator=torch.Generator().manual_seed(self.dim))
        features = torch.tanh(2 * x.movedim(0, -1) @ layer)
        valid = torch.ones(self.rows, self.columns, dtype=torch.bool)
        found = FeatureMap(features, valid, seen.image_size)
        return _as_regions(found, x) if self.regions else found

    def encode_text(self, texts: list[str]) -> Float[Tensor, "n D"]:
        """Refuse: it has no words."""
        raise EncoderError(f"{self.name} has no words; {len(texts)} texts were asked for")


def load_any(spec: str) -> Encoder:
    """Load an encoder, or a stand-in `stand-in:DIM:ROWSxCOLUMNS[:regions]`.

    Raises:
        EncoderError: it cannot be loaded, or the spec of a stand-in is not of this form.
    """
    kind, _, rest = spec.partition(":")
    if kind != "stand-in":
        return load_encoder(spec)
    dim, _, grid = rest.partition(":")
    size, _, regions = grid.partition(":")
    numbers = [dim, *size.split("x")]
    if len(numbers) != 3 or not all(n.isdigit() and int(n) for n in numbers) or regions not in ("", "regions"):
        raise EncoderError(
            f"{spec!r} is no stand-in: write stand-in:DIM:ROWSxCOLUMNS or stand-in:DIM:ROWSxCOLUMNS:regions"
        )
    d, rows, columns = map(int, numbers)
    return StandIn(d, rows, columns, bool(regions), load_encoder("embedded"))


def _as_regions(seen: FeatureMap, x: Float[Tensor, "c h w"]) -> FeatureMap:
    """Group cells by the signs of four channels: up to sixteen regions, with their mean features."""
    signs = (x[:4] > 0).long() * torch.tensor([1, 2, 4, 8])[:, None, None]
    kinds, index = torch.unique(signs.sum(dim=0), return_inverse=True)
    vectors = torch.stack([seen.features[index == kind].mean(dim=0) for kind in range(len(kinds))])
    return replace(seen, features=vectors, index=index)
