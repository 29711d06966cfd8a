"""A place in words: what a multimodal memory shows at a pose, read by the language model that the tokens came from."""

import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from m3_ros.errors import QueryError
from m3_ros.features.encoder import FeatureMap
from m3_ros.features.multimodal import MultimodalEncoder
from m3_ros.features.token_reader import PROMPT, Agreement
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import Transform
from m3_ros.memory import SpatialMemory
from m3_ros.memory.feature_view import feature_view


@dataclass(frozen=True)
class Description:
    """What a memory says about a view."""

    text: str
    """The words."""
    remembered: float
    """Share of the view that the memory knows anything of."""
    seconds: float
    """Time taken [s]."""


class Describer:
    """Pairs a memory with the multimodal encoder that it was made with."""

    def __init__(self, memory: SpatialMemory, encoder: MultimodalEncoder) -> None:
        """Check that they belong together.

        Raises:
            MemoryFormatError: the memory was made without this encoder, or with another version of it.
        """
        self.memory, self.encoder = memory, encoder
        self._entry = memory.queries_of(encoder.name, encoder.version)

    def view(self, camera: Camera, T_map_camera: Transform) -> FeatureMap:
        """Render the tokens that the memory holds for a view, on the grid on which the encoder would see it."""
        rows, columns = self.encoder.grid(camera.width, camera.height)
        return feature_view(self.memory.gaussians, self._entry, camera, T_map_camera, rows, columns)

    def describe(
        self, camera: Camera, T_map_camera: Transform, prompt: str = PROMPT, max_tokens: int = 64
    ) -> Description:
        """Say what the memory shows at a pose, or answer a question about it.

        Raises:
            QueryError: the memory knows nothing of what is in view from there.
            EncoderError: the prompt is empty.
        """
        start = time.monotonic()
        seen = self._remembered(camera, T_map_camera)
        text = self.encoder.describe(seen, prompt, max_tokens)
        return Description(text, float(seen.valid.float().mean()), time.monotonic() - start)

    def compare(
        self,
        rgb: UInt8[NDArray[np.uint8], "H W 3"],
        camera: Camera,
        T_map_camera: Transform,
        prompt: str = PROMPT,
        max_tokens: int = 64,
    ) -> Agreement:
        """Compare what the memory says about a view with what the language model says about its true picture.

        Raises:
            QueryError: the memory knows nothing of what is in view from there.
            EncoderError: the prompt is empty.
        """
        rendered = self._remembered(camera, T_map_camera)
        return self.encoder.reader.compare(self.encoder.encode_image(rgb), rendered, prompt, max_tokens)

    def _remembered(self, camera: Camera, T_map_camera: Transform) -> FeatureMap:
        seen = self.view(camera, T_map_camera)
        if not bool(seen.valid.any()):
            x, y, z = np.asarray(T_map_camera)[:3, 3]
            raise QueryError(
                f"from ({x:.2f}, {y:.2f}, {z:.2f}) m the memory has nothing in view: choose a pose inside the place, "
                "or one of its keyframes"
            )
        return seen
