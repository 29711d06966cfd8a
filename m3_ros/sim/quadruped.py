"""A small twelve-joint quadruped made of primitive shapes: its body, leg kinematics and trot.

The base is moved kinematically; a trot that matches the velocity bobs it and keeps the stance feet from sliding.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from m3_ros.geometry.pose import Transform, matrix_to_quat, transform

HIP, THIGH, CALF = 0.08, 0.19, 0.19  # link lengths [m]
STANDING_HEIGHT = 0.322  # base above the floor [m]
FOOT_RADIUS = 0.022
STRIDE_HZ = 1.8
LIFT = 0.05  # of a swinging foot [m]
FULL_BOB_SPEED = 0.2  # m/s above which the trot bobs at its full amplitude
CAMERA_PITCH_UP = np.radians(4.0)
RADIUS = 0.30  # of the circle that contains the standing robot [m]

LEGS = (("FL", 1, 1, 0.0), ("FR", 1, -1, 0.5), ("RL", -1, 1, 0.5), ("RR", -1, -1, 0.0))
"""Name, front or rear, left or right, phase of the trot."""
HIP_X, HIP_Y = 0.19, 0.05
GEOM_GROUP = 1  # MuJoCo visual group of the robot


@dataclass(frozen=True)
class RobotState:
    """Where the robot stands and how it moves."""

    t: float
    """Time [s]; sets the phase of the trot."""
    x: float
    """Map frame [m]."""
    y: float
    yaw: float
    """Heading in the map frame [rad]."""
    vx: float = 0.0
    """Forward speed in the robot's own frame [m/s]."""
    vy: float = 0.0
    """Speed to the left [m/s]."""
    yaw_rate: float = 0.0
    """Turn to the left [rad/s]."""

    def advanced(self, vx: float, vy: float, yaw_rate: float, dt: float) -> "RobotState":
        """Return the state after `dt` seconds of constant velocity in the robot's own frame."""
        middle = self.yaw + yaw_rate * dt / 2
        c, s = float(np.cos(middle)), float(np.sin(middle))
        return replace(
            self,
            t=self.t + dt,
            x=self.x + (c * vx - s * vy) * dt,
            y=self.y + (s * vx + c * vy) * dt,
            yaw=self.yaw + yaw_rate * dt,
            vx=vx,
            vy=vy,
            yaw_rate=yaw_rate,
        )


def T_map_base(state: RobotState) -> Transform:
    """Return the pose of the trunk, bobbing with the trot."""
    phase, gain = 2 * np.pi * STRIDE_HZ * state.t, _vigour(state)
    roll, pitch = 0.018 * gain * np.sin(phase), 0.015 * gain * np.sin(2 * phase + 0.4)
    height = STANDING_HEIGHT + 0.008 * gain * np.cos(2 * phase)
    return transform(_rotation(state.yaw, pitch, roll), [state.x, state.y, height])


def T_base_camera() -> Transform:
    """Return the fixed mount of the head camera (OpenCV axes), which looks a little upwards."""
    c, s = np.cos(CAMERA_PITCH_UP), np.sin(CAMERA_PITCH_UP)
    return transform(np.array([[0, s, c], [-1, 0, 0], [0, -c, s]]), [0.34, 0.0, 0.08])


def T_map_camera(state: RobotState) -> Transform:
    """Return the pose of the head camera (OpenCV axes)."""
    return T_map_base(state) @ T_base_camera()


def configuration(state: RobotState) -> Float[NDArray[np.float64], "19"]:
    """Return MuJoCo's qpos: base position, base quaternion wxyz, then hip, thigh and calf of each leg [rad]."""
    T = T_map_base(state)
    return np.concatenate([T[:3, 3], matrix_to_quat(T[:3, :3]), trot(state)])


def trot(
    state: RobotState, height: float = STANDING_HEIGHT - FOOT_RADIUS, stride_hz: float = STRIDE_HZ, lift_m: float = LIFT
) -> Float[NDArray[np.float64], "12"]:
    """Return the joint angles [rad] of a trot at the state's velocity, `height` metres from hips to ground."""
    gain = _vigour(state)
    angles: list[float] = []
    for _, front, left, offset in LEGS:
        hip_x, hip_y = front * HIP_X, left * (HIP_Y + HIP)
        speed = np.array([state.vx - state.yaw_rate * hip_y, state.vy + state.yaw_rate * hip_x])
        phase = (state.t * stride_hz + offset) % 1
        if phase < 0.5:
            along, lift = 0.5 - 2 * phase, 0.0
        else:
            swing = 2 * phase - 1
            along, lift = -0.5 * np.cos(np.pi * swing), lift_m * gain * np.sin(np.pi * swing)
        step = speed / (2 * stride_hz) * along
        angles += leg_angles(step[0], left * HIP + step[1], lift - height, left)
    return np.array(angles)


def leg_angles(x: float, y: float, z: float, left: int) -> tuple[float, float, float]:
    """Return hip, thigh, calf angles [rad] for the foot at (x, y, z) [m] from the hip joint; left is +1 or -1."""
    offset = left * HIP
    reach_sq = y * y + z * z
    down = np.sqrt(max(reach_sq - offset * offset, 1e-6))
    hip = np.arctan2(down * y + offset * z, offset * y - down * z)
    reach = np.clip(np.hypot(x, down), 0.08, THIGH + CALF - 1e-3)
    calf = -np.arccos(np.clip((reach**2 - THIGH**2 - CALF**2) / (2 * THIGH * CALF), -1, 1))
    thigh = np.arctan2(-x, down) + np.arctan2(CALF * np.sin(-calf), THIGH + CALF * np.cos(calf))
    return float(hip), float(thigh), float(calf)


def body_mjcf() -> str:
    """Return the robot's MJCF body (angles in degrees, free joint `root`)."""
    white, dark, orange, blue = ".85 .86 .88 1", ".15 .16 .18 1", ".98 .55 .05 1", ".2 .6 .95 1"
    trunk = (
        _geom("box", ".21 .10 .055", white, mass=6, contact=True)
        + _geom("box", ".15 .085 .02", dark, "pos='0 0 .06'")
        + _geom("cylinder", ".05 .10", orange, "pos='0 0 .01' euler='0 90 0'")
    )
    eyes = "".join(_geom("sphere", ".014", blue, f"pos='.048 {y} .012'", mass=0.01) for y in (0.025, -0.025))
    head = f"<body name='head' pos='.26 0 .05'>{_geom('box', '.05 .055 .045', dark, mass=0.4)}{eyes}</body>"
    legs = "".join(_leg_mjcf(name, front, left) for name, front, left, _ in LEGS)
    return f"<body name='base' pos='0 0 {STANDING_HEIGHT}'><freejoint name='root'/>{trunk}{head}{legs}</body>"


def actuator_mjcf() -> str:
    """Return position servos for the twelve joints."""
    gains = (("hip", 2.0), ("thigh", 1.2), ("calf", 1.2))
    return "".join(
        f"<position name='{leg[0]}_{joint}' joint='{leg[0]}_{joint}' kp='150' kv='{kv}' forcerange='-30 30'/>"
        for leg in LEGS
        for joint, kv in gains
    )


def _leg_mjcf(name: str, front: int, left: int) -> str:
    white, dark, black = ".85 .86 .88 1", ".15 .16 .18 1", ".05 .05 .05 1"
    foot = "friction='1.1' solimp='.95 .99 .001' solref='.01 1'"
    calf = _geom("capsule", ".015", dark, f"fromto='0 0 0 0 0 {-CALF}'", mass=0.15)
    foot = f"name='{name}_foot' pos='0 0 {-CALF}' {foot}"
    calf += _geom("sphere", str(FOOT_RADIUS), black, foot, mass=0.06, contact=True)
    thigh = _geom("capsule", ".026", white, f"fromto='0 0 0 0 0 {-THIGH}'", mass=0.6)
    hip = _geom("cylinder", ".045 .03", dark, f"pos='0 {left * 0.03} 0' euler='90 0 0'")
    return (
        f"<body name='{name}_hip' pos='{front * HIP_X} {left * HIP_Y} 0'>"
        f"<joint name='{name}_hip' axis='1 0 0' range='-45 45'/>{hip}"
        f"<body name='{name}_thigh' pos='0 {left * HIP} 0'>"
        f"<joint name='{name}_thigh' axis='0 1 0' range='-60 200'/>{thigh}"
        f"<body name='{name}_calf' pos='0 0 {-THIGH}'>"
        f"<joint name='{name}_calf' axis='0 1 0' range='-160 -30'/>{calf}</body></body></body>"
    )


def _geom(shape: str, size: str, rgba: str, extra: str = "", *, mass: float = 0.3, contact: bool = False) -> str:
    look = f"type='{shape}' size='{size}' rgba='{rgba}' group='{GEOM_GROUP}'"
    return f"<geom {look} mass='{mass}' contype='0' conaffinity='{int(contact)}' {extra}/>"


def _vigour(state: RobotState) -> float:
    speed = float(np.hypot(state.vx, state.vy)) + 0.2 * abs(state.yaw_rate)
    return min(1.0, speed / FULL_BOB_SPEED)


def _rotation(yaw: float, pitch: float, roll: float) -> Float[NDArray[np.float64], "3 3"]:
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )
