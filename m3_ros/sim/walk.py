"""Walking a given path: turn towards it, follow it, turn to the wanted heading."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.sim.quadruped import RobotState

TURN_FIRST = 0.6  # a path that leads further to the side than this is turned towards before walking [rad]
ALIGNED = 0.01  # headings closer than this are equal [rad]


@dataclass(frozen=True)
class WalkSettings:
    """How to walk to a place."""

    speed: float = 0.5
    """Along the path [m/s]."""
    yaw_rate: float = 1.2
    """Fastest turn [rad/s]."""
    rate_hz: float = 15.0
    """States per second."""
    look_ahead_m: float = 0.2
    """The robot faces the point of the path so far ahead [m]."""


def walk_path(
    start: RobotState, path: Float[NDArray[np.float64], "N 2"], final_yaw: float, settings: WalkSettings | None = None
) -> Iterator[RobotState]:
    """Yield the states of a walk along a polyline [m] from where the robot is, ending still, with `final_yaw` [rad]."""
    walk = settings or WalkSettings()
    dt = 1 / walk.rate_hz
    corners = np.concatenate([[[start.x, start.y]], np.asarray(path, np.float64).reshape(-1, 2)])
    at = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    state, done = start, 0.0
    while done < at[-1] - 1e-9:
        ahead = _point(corners, at, done + walk.look_ahead_m)
        here = _point(corners, at, done)
        error = _wrapped(float(np.arctan2(*(ahead - here)[::-1])) - state.yaw)
        step = 0.0 if abs(error) > TURN_FIRST else walk.speed * float(np.cos(error)) * dt
        done = min(done + step, float(at[-1]))
        state = _moved(state, _point(corners, at, done), _turned(error, walk.yaw_rate, dt), dt)
        yield state
    while abs(error := _wrapped(final_yaw - state.yaw)) > ALIGNED:
        state = _moved(state, corners[-1], _turned(error, walk.yaw_rate, dt), dt)
        yield state
    yield replace(state, t=state.t + dt, vx=0.0, vy=0.0, yaw_rate=0.0)


def _point(corners: Float[NDArray[np.float64], "N 2"], at: NDArray[np.float64], along: float) -> NDArray[np.float64]:
    return np.array([np.interp(along, at, corners[:, axis]) for axis in (0, 1)])


def _turned(error: float, yaw_rate: float, dt: float) -> float:
    """Return the turn [rad] of one step that reduces a heading error."""
    return float(np.clip(error, -yaw_rate * dt, yaw_rate * dt))


def _moved(state: RobotState, xy: NDArray[np.float64], turn: float, dt: float) -> RobotState:
    dx, dy = (xy - (state.x, state.y)) / dt
    c, s = np.cos(state.yaw), np.sin(state.yaw)
    vx, vy = float(c * dx + s * dy), float(c * dy - s * dx)
    return RobotState(state.t + dt, float(xy[0]), float(xy[1]), state.yaw + turn, vx, vy, turn / dt)


def _wrapped(angle: float) -> float:
    return (angle + np.pi) % (2 * np.pi) - np.pi
