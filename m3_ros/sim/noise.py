"""Value noise from a hash of lattice points: the same numbers on every machine, without tables or state."""

import numpy as np
from jaxtyping import Float, UInt32
from numpy.typing import NDArray

Points = Float[NDArray[np.float32], "*grid 3"]
Values = Float[NDArray[np.float32], "*grid"]

_PRIMES = (np.uint32(73856093), np.uint32(19349663), np.uint32(83492791))
_SEED_PRIME = 2654435761
_ORIGIN = 1000.0  # lattice indices stay positive for |p / scale| < 1000


def _mix(h: UInt32[NDArray[np.uint32], "*grid"]) -> Values:
    h = h ^ (h >> np.uint32(15))
    h *= np.uint32(2246822519)
    h ^= h >> np.uint32(13)
    h *= np.uint32(3266489917)
    h >>= np.uint32(8)
    return h.astype(np.float32) * np.float32(1 / 0xFFFFFF)


def _seed(seed: int) -> np.uint32:
    return np.uint32((seed * _SEED_PRIME) & 0xFFFFFFFF)


def cell_hash(i: Values, j: Values, seed: int = 0) -> Values:
    """Return one number in 0..1 for each integer cell (i, j)."""
    a = np.asarray(i).astype(np.int64).astype(np.uint32) * _PRIMES[0]
    b = np.asarray(j).astype(np.int64).astype(np.uint32) * _PRIMES[1]
    return _mix(np.atleast_1d(a ^ b) ^ _seed(seed)).reshape(np.shape(a ^ b))


def noise(points: Points, scale: float | NDArray[np.float32], seed: int = 0) -> Values:
    """Interpolate smoothly between random values on a lattice.

    Args:
        points: Positions [m].
        scale: Lattice spacing [m], one number or one for each axis.
        seed: Another seed is another pattern.
    """
    q = points / np.asarray(scale, np.float32) + np.float32(_ORIGIN)
    cell = np.floor(q)
    f = (q - cell).astype(np.float32)
    f = f * f * (3 - 2 * f)
    keys = []
    for axis in range(3):
        low = cell[..., axis].astype(np.int64).astype(np.uint32) * _PRIMES[axis]
        keys.append((low, low + _PRIMES[axis]))
    fx, fy, fz = f[..., 0], f[..., 1], f[..., 2]
    planes = []
    for kz in keys[2]:
        rows = []
        for ky in keys[1]:
            k = ky ^ kz ^ _seed(seed)
            a = _mix(keys[0][0] ^ k)
            rows.append(a + fx * (_mix(keys[0][1] ^ k) - a))
        planes.append(rows[0] + fy * (rows[1] - rows[0]))
    out: Values = planes[0] + fz * (planes[1] - planes[0])
    return out


def fbm(points: Points, scale: float | NDArray[np.float32], seed: int = 0, octaves: int = 3) -> Values:
    """Sum octaves of noise, each half as large and half as strong; the result stays in 0..1."""
    spacing = np.asarray(scale, np.float32)
    total = noise(points, spacing, seed)
    weight, weights = 1.0, 1.0
    for octave in range(1, octaves):
        weight /= 2
        weights += weight
        total = total + np.float32(weight) * noise(points, spacing / 2**octave, seed + octave)
    return total / np.float32(weights)
