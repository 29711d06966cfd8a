"""Loads the package before any test module can load torch: what it sets for OpenMP only counts then."""

import m3_ros  # noqa: F401
