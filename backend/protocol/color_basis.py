"""How splats' colours change with the face: a few patterns, each weighted by a sum of the rig's coefficients.

    weights  = mixing @ values                      values: what each control stands at
    sh[:, 0] = sh[:, 0] at rest + sum_k weights[k] * patterns[:, k]

A control is an expression of the rig by its name, or ``joint.x``: the first component of that joint's axis-angle rotation in
radians (``jaw.x`` opens the jaw). Sums and products only, so that Blender evaluates it without Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .avatar import F32, RigArrays, SplatArrays

JOINT_AXIS = ".x"
MAX_PATTERNS, MAX_CONTROLS = 16, 512


@dataclass(frozen=True)
class ColorBasis:
    """The same for all levels of detail; each level has its own patterns (`SplatArrays.patterns`).

    Attributes:
        controls: C names of what changes the colours.
        mixing: [K, C] share of each control in each pattern's weight.
    """

    controls: tuple[str, ...]
    mixing: F32

    def __len__(self) -> int:
        return len(self.mixing)

    def values(self, joint_names: tuple[str, ...], expression: Mapping[str, float], pose: F32) -> F32:
        """[C] what the controls stand at.

        Args:
            joint_names: J names in the pose's order.
            expression: value of each named expression; a missing name is 0.
            pose: [J, 3] axis-angle of each joint, radians.
        """
        turned = {f"{name}{JOINT_AXIS}": float(rotation[0]) for name, rotation in zip(joint_names, pose, strict=True)}
        return np.array([expression.get(name, turned.get(name, 0.0)) for name in self.controls], np.float32)

    def weights(self, joint_names: tuple[str, ...], expression: Mapping[str, float], pose: F32) -> F32:
        """[K] of the patterns; arguments as for `values`."""
        return self.mixing @ self.values(joint_names, expression, pose)


def tinted(splats: SplatArrays, weights: F32) -> SplatArrays:
    """The splats in the colours that their patterns give them; those without patterns as they are."""
    count = splats.patterns.shape[1]
    if not count or not np.any(weights):
        return splats
    sh = splats.sh.copy()
    sh[:, 0] += np.einsum("k,nkc->nc", np.asarray(weights[:count], np.float32), splats.patterns)
    return replace(splats, sh=sh)


def check_basis(basis: ColorBasis, rig: RigArrays) -> None:
    """Names that the rig has, and numbers. Raises ValueError naming what does not fit."""
    count = len(basis.controls)
    if not 0 < count <= MAX_CONTROLS or len(set(basis.controls)) != count:
        raise ValueError(f"a colour basis of {count} controls, or of one twice")
    if basis.mixing.ndim != 2 or basis.mixing.shape[1] != count or not 0 < len(basis.mixing) <= MAX_PATTERNS:
        raise ValueError(f"color/mixing has shape {basis.mixing.shape} for {count} controls")
    if not np.isfinite(basis.mixing).all():
        raise ValueError("color/mixing holds NaN or infinity")
    known = {*rig.expression_names, *(f"{name}{JOINT_AXIS}" for name in rig.joint_names)}
    for name in basis.controls:
        if name not in known:
            raise ValueError(f"its colours depend on {name[:63]!r}, which the rig does not have")
