"""Gaussians as a .ply file in the layout of the original 3D Gaussian Splatting, which SuperSplat and its like open.

Positions and scales stay in the map frame and in metres; z is up. The file holds raw parameters (opacity as logit,
scales as logarithm), a field in memory holds activated ones.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from m3_ros.errors import MemoryFormatError
from m3_ros.files import write_whole
from m3_ros.splat.gaussians import Gaussians

_SH_COEFFICIENTS = (0, 3, 8, 15)
"""Harmonics above the constant one of degrees 0 to 3."""
_POSITION = ("x", "y", "z")
_NORMAL = ("nx", "ny", "nz")
_SH0 = ("f_dc_0", "f_dc_1", "f_dc_2")
_SCALE = ("scale_0", "scale_1", "scale_2")
_ROTATION = ("rot_0", "rot_1", "rot_2", "rot_3")
_LEAST = 1e-30
"""Opacities and scales below this are written as this: their logarithm would not be finite."""
_MOST = 1 - 2.0**-25
"""Opacities above this are written as this; it reads back as 1 in float32."""
_COMMENTS = ("comment Gaussians written by m3_ros", "comment map frame, metres, z up")

Columns = NDArray[np.float32]


def write_ply(gaussians: Gaussians, path: Path) -> None:
    """Write a field, atomically: binary little endian, float32, one `vertex` a Gaussian.

    Raises:
        MemoryFormatError: a value is not finite, a quaternion is zero, or the file cannot be written.
    """
    columns = _columns(gaussians)
    broken = int((~np.isfinite(columns).all(axis=1)).sum())
    if broken:
        raise MemoryFormatError(
            f"{broken} of {len(columns)} Gaussians hold a value that is not finite, or a zero quaternion: "
            "leave them out before writing"
        )
    names = _property_names(gaussians.shN.shape[1])
    lines = ["ply", "format binary_little_endian 1.0", *_COMMENTS, f"element vertex {len(columns)}"]
    lines += [f"property float {name}" for name in names] + ["end_header", ""]
    try:
        write_whole(path, "\n".join(lines).encode("ascii") + columns.astype("<f4").tobytes())
    except OSError as error:
        raise MemoryFormatError(f"{path} cannot be written: {error.strerror or error}") from error


def read_ply(path: Path) -> Gaussians:
    """Read a field: binary of either byte order or text, spherical harmonics of degree 0 to 3.

    Raises:
        MemoryFormatError: the file is missing, cut short, of another layout, or holds values no Gaussian has.
    """
    vertices = _vertices(path)
    coefficients = _sh_coefficients(path, vertices)
    rest = [f"f_rest_{i}" for i in range(3 * coefficients)]
    table = {name: _column(path, vertices, name) for name in (*_required(), *rest)}
    count = len(vertices)

    def stacked(names: tuple[str, ...] | list[str]) -> NDArray[np.float64]:
        return np.stack([table[name] for name in names], axis=1) if names else np.zeros((count, 0))

    sh0 = stacked(_SH0)[:, None, :]
    shN = stacked(rest).reshape(count, 3, coefficients).transpose(0, 2, 1)
    with np.errstate(over="ignore"):
        activated = (np.exp(stacked(_SCALE)), 1 / (1 + np.exp(-table["opacity"])))
        parts = (stacked(_POSITION), _unit(stacked(_ROTATION)), *activated, sh0, shN)
        fields = [np.ascontiguousarray(part, np.float32) for part in parts]
    _check_values(path, fields)
    return Gaussians(*(torch.from_numpy(x) for x in fields))


def _columns(gaussians: Gaussians) -> Columns:
    """Return the table of the file: one row a Gaussian, one column a property."""
    fields = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh0, gaussians.shN)
    means, quats, scales, opacities, sh0, shN = (x.detach().double().cpu().numpy() for x in fields)
    count, opacities = len(means), opacities.clip(_LEAST, _MOST)
    parts = (
        means,
        np.zeros((count, len(_NORMAL))),
        sh0.reshape(count, 3),
        shN.transpose(0, 2, 1).reshape(count, 3 * shN.shape[1]),  # all of red, then green, then blue
        (np.log(opacities) - np.log1p(-opacities))[:, None],
        np.log(scales.clip(min=_LEAST)),
        _unit(quats),
    )
    with np.errstate(over="ignore"):
        return np.concatenate(parts, axis=1).astype(np.float32)


def _property_names(coefficients: int) -> tuple[str, ...]:
    rest = (f"f_rest_{i}" for i in range(3 * coefficients))
    return (*_POSITION, *_NORMAL, *_SH0, *rest, "opacity", *_SCALE, *_ROTATION)


def _required() -> tuple[str, ...]:
    return (*_POSITION, *_SH0, "opacity", *_SCALE, *_ROTATION)


def _unit(quats: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale quaternions to unit length; one without a direction becomes nan."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.asarray(quats / np.linalg.norm(quats, axis=1, keepdims=True))


def _vertices(path: Path) -> Any:
    """Return the element `vertex` of a file."""
    from plyfile import PlyData, PlyParseError

    try:
        data = PlyData.read(str(path))
    except FileNotFoundError as error:
        raise MemoryFormatError(f"there is no file {path}: check the path") from error
    except (PlyParseError, OSError, ValueError, OverflowError, MemoryError) as error:
        raise MemoryFormatError(f"{path} is no PLY file, or is cut short: {error}: export or copy it again") from error
    elements = {element.name: element for element in data.elements}
    if "chunk" in elements:
        raise MemoryFormatError(f"{path} is a compressed PLY: export it uncompressed")
    if "vertex" not in elements:
        raise MemoryFormatError(f"{path} holds no element `vertex` but {sorted(elements)}: it is no Gaussian splat")
    return elements["vertex"].data


def _sh_coefficients(path: Path, vertices: Any) -> int:
    """Return how many harmonics above the constant one the file has for each colour."""
    found: int = sum(name.startswith("f_rest_") for name in vertices.dtype.names)
    if found % 3 or found // 3 not in _SH_COEFFICIENTS:
        wanted = ", ".join(str(3 * k) for k in _SH_COEFFICIENTS)
        raise MemoryFormatError(
            f"{path} has {found} properties f_rest_*; spherical harmonics of degree 0 to 3 have {wanted}: "
            "export it with another degree"
        )
    return found // 3


def _column(path: Path, vertices: Any, name: str) -> NDArray[np.float64]:
    if name not in vertices.dtype.names:
        raise MemoryFormatError(
            f"{path} has no property `{name}`: it is a point cloud or a mesh, not 3D Gaussian Splatting"
        )
    values = vertices[name]
    if values.dtype.kind not in "fiu":
        raise MemoryFormatError(f"{path}: property `{name}` is a list; one number for each Gaussian is wanted")
    return np.asarray(values, np.float64)


def _check_values(path: Path, fields: list[Columns]) -> None:
    means, _, scales, *_ = fields
    sound = np.all([np.isfinite(x).all(axis=tuple(range(1, x.ndim))) for x in fields], axis=0)
    sound &= (scales > 0).all(axis=1)
    if not sound.all():
        raise MemoryFormatError(
            f"{path}: {int((~sound).sum())} of {len(means)} Gaussians hold values that are not finite, scales of no "
            f"extent, or zero quaternions (the first is number {int(np.argmin(sound))}): export it again without them"
        )
