"""Pixels or words into vectors: one encoder a file, behind one Protocol, with a cache on disk.

The default encoder is `embedded`: trained by us on rendered rooms, in the package, no download.
"""

from m3_ros.features.compute import Compute
from m3_ros.features.encoder import BatchEncoder, Encoder, FeatureMap, unit
from m3_ros.features.extraction import extract
from m3_ros.features.registry import ENCODERS, encoder_names, load_encoder

__all__ = [
    "ENCODERS",
    "BatchEncoder",
    "Compute",
    "Encoder",
    "FeatureMap",
    "encoder_names",
    "extract",
    "load_encoder",
    "unit",
]
