"""A spatial memory for quadrupeds: record a walk, remember the place, find things in it.

The interfaces that rosidl generates (`m3_ros.msg`, `m3_ros.srv`, `m3_ros.action`) are installed into this same package;
extend_path lets them be found when the source tree shadows the installed one.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
