"""All encoders by name. A new one is one file and one line here; other packages register theirs as entry points."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from m3_ros.errors import EncoderError
from m3_ros.features.compute import Compute
from m3_ros.features.encoder import Encoder

ENTRY_POINTS = "m3_ros.encoders"
"""Group in which other packages register a `Loader` by name."""

Loader = Callable[[str, Compute], Encoder]
"""Loads an encoder from (source, compute). The source is a local folder or file, a hub id, or empty: the default."""


def _lazy(module: str, function: str = "load") -> Loader:
    """Return a loader that imports its module when it is called."""

    def load(source: str, compute: Compute) -> Encoder:
        loader: Loader = getattr(import_module(f"m3_ros.features.{module}"), function)
        return loader(source, compute)

    return load


ENCODERS: dict[str, Loader] = {
    "embedded": _lazy("embedded"),
    "openclip": _lazy("openclip"),
    "dinov2": _lazy("dino", "load_dinov2"),
    "dinov3": _lazy("dino", "load_dinov3"),
    "perception": _lazy("perception"),
    "language": _lazy("language"),
    "multimodal": _lazy("multimodal"),
}
"""Name -> how to load it; nothing heavy is imported before it is asked for."""


def load_encoder(spec: str = "embedded", compute: Compute | None = None) -> Encoder:
    """Load an encoder by NAME or NAME:SOURCE, such as `dinov2:/models/dinov2-base` or `openclip:ViT-B-16/openai`.

    Nothing is downloaded: weights that are not on this machine are an error that says how to get them.

    Raises:
        EncoderError: no encoder has this name, or its weights are missing or broken.
    """
    name, _, source = spec.partition(":")
    encoder = _loader(name)(source, compute or Compute())
    if not isinstance(encoder, Encoder):
        raise EncoderError(
            f"what {name!r} loads is no encoder ({type(encoder).__name__}): it must have all that "
            "m3_ros.features.Encoder asks for"
        )
    return encoder


def encoder_names() -> list[str]:
    """Return the names of all encoders, those of other packages included."""
    return sorted({*ENCODERS, *(point.name for point in entry_points(group=ENTRY_POINTS))})


def _loader(name: str) -> Loader:
    """Find a loader; a name of ours is never taken by another package."""
    if name in ENCODERS:
        return ENCODERS[name]
    found = entry_points(group=ENTRY_POINTS, name=name)
    if not found:
        raise EncoderError(f"no encoder is called {name!r}: choose from {', '.join(encoder_names())}")
    return _registered(next(iter(found)))


def _registered(point: EntryPoint) -> Loader:
    try:
        loader = point.load()
    except (ImportError, AttributeError) as error:
        raise EncoderError(
            f"the encoder {point.name!r} is registered as {point.value} but cannot be imported ({error}): "
            "reinstall the package that brings it"
        ) from error
    if not callable(loader):
        raise EncoderError(f"the encoder {point.name!r} is registered as {point.value}, which cannot be called")
    return loader  # type: ignore[no-any-return]
