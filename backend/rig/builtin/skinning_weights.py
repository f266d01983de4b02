"""Joints and skinning weights of the built-in head."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from . import landmarks as lm
from .cage import Cage
from .mesh_operators import Points, cotangent_laplacian, smoothstep, solve_with_fixed
from .sculpting import Sculptor
from .skull import NECK_BASE_Y

JOINT_NAMES = ("root", "neck", "jaw", "eye_left", "eye_right")
PARENTS = (-1, 0, 1, 1, 1)
ROOT = (0.0, NECK_BASE_Y, -0.104)
NECK = (0.0, -0.105, -0.096)
JAW = (0.0, -0.016, -0.062)

CORNER_WEIGHT = 0.3
"""Jaw weight of the mouth's corners; the lower lip's middle has 1."""

JAW_FULL = (18, 200, 199, 175, 152, 148, 377, 176, 400, 83, 313, 182, 406, 201, 421, 208, 428, 171, 396, 140, 369, 149, 378, 32, 262,
            194, 418, 204, 424, 211, 431, 170, 395)  # fmt: skip
JAW_STILL = (1, 2, 98, 327, 164, 168, 50, 280, 205, 425, 36, 266, 101, 330, 234, 454, 127, 356, 116, 345, 123, 352, 10, 147, 376)


def jaw_field(s: Sculptor) -> Points:
    """[C] jaw weight of the control mesh: an arch over the lower lip, fading smoothly over cheek, ramus and throat."""
    cage = s.cage
    weight: dict[int, float] = {}
    skull = cage.vertices[cage.skull]
    is_still = (skull[..., 1] < -0.160) | (skull[..., 2] < -0.082) | (skull[..., 1] > -0.022)
    weight |= dict.fromkeys(cage.skull[is_still].tolist(), 0.0)
    weight |= dict.fromkeys(JAW_STILL, 0.0)
    weight |= dict.fromkeys(s.eyes, 0.0)
    weight |= dict.fromkeys(JAW_FULL, 1.0)
    for vertex, (side, _) in s.lip_rows.items():
        arch = float(np.sqrt(max(0.0, 1 - (s.points[vertex, 0] / s.half_width) ** 2)))
        if side < 0:
            weight[vertex] = CORNER_WEIGHT + (1 - CORNER_WEIGHT) * arch**1.3
        else:
            weight[vertex] = CORNER_WEIGHT * ((1 - arch) ** 2 if side > 0 else 1.0)
    for ring in range(len(cage.sack) // 20):
        for column, on_line in enumerate(lm.LIPS_INNER):
            weight[int(cage.sack[ring * 20 + column])] = weight[on_line] * (1 - 0.1 * ring)
    weight[int(cage.sack[-1])] = 0.25
    stiffness, mass = cotangent_laplacian(cage.vertices, cage.faces)
    energy = stiffness + 1e-4 * stiffness.T @ sp.diags(1 / mass) @ stiffness
    ids = np.array(sorted(weight))
    field = solve_with_fixed(energy, ids, np.array([[weight[i]] for i in ids.tolist()]))[:, 0]
    field = np.clip(field, 0, 1)
    return (field + field[cage.mirror]) / 2


def neck_field(vertices: Points) -> Points:
    """[N] share of the weight that is not the root's: 0 at the neck base, 1 from the throat up."""
    return smoothstep((vertices[:, 1] - NECK_BASE_Y) / 0.085)


def joint_supports(cage: Cage) -> dict[str, NDArray[np.int64]]:
    """Vertices that each joint of the trunk is regressed from, symmetric sets."""
    left = np.array([454, 323, 361, 356, 127, 234, 93, 132])
    rings = cage.skull
    jaw = np.concatenate([left, rings[2, [8, 9, 10, 26, 27, 28]], rings[4, [8, 9, 10, 26, 27, 28]]])
    neck = np.concatenate([rings[-5], rings[-3]])
    return {"root": rings[-1], "neck": neck, "jaw": jaw}
