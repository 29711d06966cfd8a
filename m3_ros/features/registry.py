"""All encoders by name. A new one is one file and one line here."""

from collections.abc import Callable

from m3_ros.errors import EncoderError
from m3_ros.features.encoder import Encoder


def _embedded() -> Encoder:
    from m3_ros.features.embedded import EmbeddedEncoder

    return EmbeddedEncoder.load()


ENCODERS: dict[str, Callable[[], Encoder]] = {
    "embedded": _embedded,
}
"""Name -> how to load it; nothing heavy is imported before it is asked for."""


def load_encoder(name: str = "embedded") -> Encoder:
    """Load an encoder by its name.

    Raises:
        EncoderError: no encoder has this name, or its weights are missing or broken.
    """
    if name not in ENCODERS:
        raise EncoderError(f"no encoder is called {name!r}: choose from {', '.join(sorted(ENCODERS))}")
    return ENCODERS[name]()
