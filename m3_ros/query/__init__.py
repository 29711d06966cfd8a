"""Words to places: relevancy of Gaussians, grounding in objects, calibration, and answers with a status.

`Finder` is the door: `Finder.open(path).find("the red chair")`. It stands here and not on SpatialMemory because the
memory lies below.
"""

from m3_ros.query.answer import Answer, Candidate, Status
from m3_ros.query.calibration import calibrate
from m3_ros.query.relevancy import Relevancy
from m3_ros.query.session import Finder, find
from m3_ros.query.settings import QuerySettings

__all__ = ["Answer", "Candidate", "Finder", "QuerySettings", "Relevancy", "Status", "calibrate", "find"]
