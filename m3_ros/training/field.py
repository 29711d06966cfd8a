"""Gaussians as the optimiser sees them: raw parameters, their Adam, and growing and shrinking both together."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from m3_ros.splat.gaussians import Gaussians
from m3_ros.splat.spherical_harmonics import C0
from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.initialisation import Seeds, axis_scales, quats_from_normals

Rows = tuple[Tensor, ...]
"""One tensor of new rows for each parameter, in the order of Field.NAMES."""

State = dict[str, Tensor]
"""Named tensors of a checkpoint."""

_LEAST = 1e-6
"""Smallest length of a quaternion, scale [m] and opacity that are saved; the largest opacity is as near to 1."""

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What Adam remembers of a parameter."""


class Field:
    """The parameters of N Gaussians, not activated, with one Adam group each. Changes in place."""

    NAMES = ("means", "quats", "log_scales", "opacity_logits", "sh0", "shN")

    def __init__(self, seeds: Seeds, settings: GeometrySettings, device: torch.device) -> None:
        rows = rows_from_seeds(seeds, settings.sh_degree)
        self._rates = (
            settings.means_rate, settings.quats_rate, settings.scales_rate, settings.opacities_rate,
            settings.colours_rate, settings.colours_rate / 20,
        )  # fmt: skip
        self._parameters = [row.to(device).requires_grad_() for row in rows]
        groups = [{"params": [p], "lr": rate} for p, rate in zip(self._parameters, self._rates, strict=True)]
        self._adam = torch.optim.Adam(groups, eps=1e-15, fused=True)

    def __len__(self) -> int:
        return self._parameters[0].shape[0]

    @property
    def parameters(self) -> Rows:
        """The raw parameters, in the order of NAMES."""
        return tuple(self._parameters)

    def gaussians(self) -> Gaussians:
        """Return the activated Gaussians, with gradients."""
        means, quats, log_scales, opacity_logits, sh0, shN = self._parameters
        return Gaussians(means, quats, torch.exp(log_scales), torch.sigmoid(opacity_logits), sh0, shN)

    def detached(self) -> Gaussians:
        """Return the activated Gaussians without gradients, row by row as they are."""
        g = self.gaussians()
        return Gaussians(*(x.detach() for x in (g.means, g.quats, g.scales, g.opacities, g.sh0, g.shN)))

    def finished(self) -> Gaussians:
        """Return the activated Gaussians without gradients: unit quaternions, opacities within (0, 1), no broken rows.

        Broken is what is not finite, has no rotation or no extent: other programs take logarithms of what is saved.
        """
        g = self.detached()
        fields = (g.means, g.quats, g.scales, g.opacities[:, None], g.sh0, g.shN)
        finite = torch.stack([torch.isfinite(x).flatten(1).all(1) for x in fields]).all(0)
        sound = finite & (g.quats.norm(dim=-1) > _LEAST) & (g.scales > _LEAST).all(1)
        means, quats, scales, opacities, sh0, shN = (x[sound].clone() for x in fields)
        quats = torch.nn.functional.normalize(quats, dim=-1)
        return Gaussians(means, quats, scales, opacities[:, 0].clamp(_LEAST, 1 - _LEAST), sh0, shN)

    def step(self, fraction: float) -> bool:
        """Take one Adam step at a fraction [0, 1] of the schedule; skip it and say False on a gradient not finite."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        sound = bool(torch.isfinite(torch.stack([g.sum() for g in gradients])).all()) if gradients else False
        if sound:
            for group, rate, floor in zip(
                self._adam.param_groups, self._rates, (0.01, 0.1, 0.2, 0.3, 0.1, 0.1), strict=True
            ):
                group["lr"] = rate * floor**fraction
            self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        return sound

    def state(self) -> State:
        """Return the parameters and their Adam moments by name; they are not copied."""
        state = {}
        for name, parameter in zip(self.NAMES, self._parameters, strict=True):
            state[name] = parameter.detach()
            state |= {f"{name}.{key}": value for key, value in self._adam.state.get(parameter, {}).items()}
        return state

    def restore(self, state: State) -> None:
        """Go on from a state as `state` returned it."""
        for i, (group, name) in enumerate(zip(self._adam.param_groups, self.NAMES, strict=True)):
            self._adam.state.pop(self._parameters[i], None)
            new = state[name].to(self._parameters[i]).clone().requires_grad_()
            moments = {key: state[f"{name}.{key}"] for key in MOMENTS if f"{name}.{key}" in state}
            if moments:
                self._adam.state[new] = {key: value.to(new.device).clone() for key, value in moments.items()}
            group["params"] = [new]
            self._parameters[i] = new

    def replace_rows(self, kept: Int[Tensor, " K"], added: Rows) -> None:
        """Keep some Gaussians with their moments and append new ones with none."""
        for i, (group, rows) in enumerate(zip(self._adam.param_groups, added, strict=True)):
            old = self._parameters[i]
            new = torch.cat([old.detach()[kept], rows.to(old)]).contiguous().requires_grad_()
            state = self._adam.state.pop(old, None)
            if state:
                for key in ("exp_avg", "exp_avg_sq"):
                    state[key] = torch.cat([state[key][kept], torch.zeros_like(rows, device=old.device)]).contiguous()
                self._adam.state[new] = state
            group["params"] = [new]
            self._parameters[i] = new


def rows_from_seeds(seeds: Seeds, sh_degree: int) -> Rows:
    """Turn seeds into raw parameters."""
    n = len(seeds.points)
    tensors = [
        torch.from_numpy(np.ascontiguousarray(x, np.float32)) for x in (seeds.points, quats_from_normals(seeds.normals))
    ]
    log_scales = torch.log(torch.from_numpy(axis_scales(seeds)).clamp(min=1e-5))
    logits = torch.logit(torch.from_numpy(seeds.opacities))
    sh0 = ((torch.from_numpy(np.ascontiguousarray(seeds.colours, np.float32)) - 0.5) / C0)[:, None]
    return (*tensors, log_scales, logits, sh0, torch.zeros(n, (sh_degree + 1) ** 2 - 1, 3))


def no_rows(field: Field) -> Rows:
    """Return zero new rows."""
    return tuple(p.detach()[:0] for p in field.parameters)


def concatenate(*parts: Rows) -> Rows:
    """Put rows of several sources below each other."""
    return tuple(torch.cat(columns) for columns in zip(*parts, strict=True))


def take(field: Field, index: Int[Tensor, " K"]) -> Rows:
    """Copy rows of a field."""
    return tuple(p.detach()[index].clone() for p in field.parameters)


def rotation_matrices(quats: Float[Tensor, "N 4"]) -> Float[Tensor, "N 3 3"]:
    """Return the rotations of quaternions wxyz of any length."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).reshape(-1, 3, 3)
