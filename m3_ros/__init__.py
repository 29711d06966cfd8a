"""A spatial memory for quadrupeds: record a walk, remember the place, find things in it.

The interfaces that rosidl generates (`m3_ros.msg`, `m3_ros.srv`, `m3_ros.action`) are installed into this same package;
extend_path lets them be found when the source tree shadows the installed one.

OpenMP's threads spin while they wait, which ruins every other process on a small machine. OMP_WAIT_POLICY=passive lets
them sleep, and only counts when it is set before torch is loaded: hence here. Where torch came first, the rendering
kernel says so.
"""

import os
import sys
from pkgutil import extend_path

if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__path__ = extend_path(__path__, __name__)
