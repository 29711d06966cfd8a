"""Answers of the memory as messages: Grounding, markers for RViz, and both in another frame."""

import numpy as np
from geometry_msgs.msg import Point, PoseStamped
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from m3_ros.geometry.pose import Transform
from m3_ros.msg import Grounding
from m3_ros.nodes.conversions import header, matrix_to_pose, point, pose_to_matrix, vector
from m3_ros.planner import Approach
from m3_ros.query import Candidate

GREEN, BLUE, WHITE = (0.2, 0.8, 0.3, 0.4), (0.2, 0.5, 1.0, 0.9), (1.0, 1.0, 1.0, 1.0)
LABEL_HEIGHT_M = 0.12


def grounding(
    text: str, candidate: Candidate, approach: Approach | None, T_frame_map: Transform, frame_id: str, stamp_ns: int
) -> Grounding:
    """Describe a candidate and where to stand, in a frame given by `T_frame_map`."""
    message = Grounding(header=header(frame_id, stamp_ns), object_id=candidate.object_id, text=text)
    rotation = T_frame_map[:3, :3]
    message.probability = float(candidate.probability)
    message.centre = point(rotation @ candidate.centre + T_frame_map[:3, 3])
    message.covariance = (rotation @ candidate.covariance @ rotation.T).ravel()
    message.box_pose = matrix_to_pose(T_frame_map @ candidate.box.T_map_box)
    message.box_size = vector(candidate.box.size)
    message.has_approach = approach is not None
    if approach is not None:
        message.approach = matrix_to_pose(T_frame_map @ approach.T_map_base)
    message.views = [int(view) for view in candidate.views]
    return message


def goal_of(message: Grounding) -> PoseStamped:
    """Return the standing pose of an answer; without one, a pose with an empty frame."""
    return PoseStamped(header=message.header, pose=message.approach) if message.has_approach else PoseStamped()


def markers(groundings: list[Grounding]) -> MarkerArray:
    """Draw answers for RViz: a box, its label and an arrow where the robot should stand; older drawings are removed."""
    drawn = [Marker(action=Marker.DELETEALL)]
    for message in groundings:
        drawn += [_box(message), _label(message)]
        if message.has_approach:
            drawn.append(_arrow(message))
    return MarkerArray(markers=drawn)


def _marker(message: Grounding, kind: int, namespace: str, rgba: tuple[float, float, float, float]) -> Marker:
    marker = Marker(header=message.header, ns=namespace, id=int(message.object_id), type=kind, action=Marker.ADD)
    marker.color = ColorRGBA(r=rgba[0], g=rgba[1], b=rgba[2], a=rgba[3])
    return marker


def _box(message: Grounding) -> Marker:
    marker = _marker(message, Marker.CUBE, "object", GREEN)
    marker.pose, marker.scale = message.box_pose, message.box_size
    return marker


def _label(message: Grounding) -> Marker:
    marker = _marker(message, Marker.TEXT_VIEW_FACING, "label", WHITE)
    marker.pose.position = Point(x=message.centre.x, y=message.centre.y)
    marker.pose.position.z = message.centre.z + message.box_size.z / 2 + LABEL_HEIGHT_M
    marker.scale.z = LABEL_HEIGHT_M
    marker.text = f"{message.text} ({message.probability:.0%})"
    return marker


def _arrow(message: Grounding) -> Marker:
    marker = _marker(message, Marker.ARROW, "approach", BLUE)
    T = pose_to_matrix(message.approach)
    tip = T[:3, 3] + 0.35 * T[:3, 0]
    marker.points = [point(T[:3, 3]), point(tip)]
    marker.scale = vector(np.array([0.05, 0.1, 0.1]))
    return marker
