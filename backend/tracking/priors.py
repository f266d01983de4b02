"""What is likely before a picture is seen: of shapes and of expressions."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import KDTree

from backend.rig.rig import Rig

from .cotangent import cotangent_laplacian

F64 = NDArray[np.float64]

COEFFICIENT = 0.03
"""Cost of one standard deviation in one coefficient."""

QUIET_DISTANCE = 0.03
QUIET_WEIGHT, QUIET_SIZE, QUIET_BENDING = 10.0, 0.008, 8.0
ASYMMETRY_WEIGHT, ASYMMETRY_SIZE = 3.0, 0.0015

PLAIN, RARE = 0.05, 2.0
OPEN_FACE = ("mouthSmile", "mouthUpperUp", "mouthLowerDown", "mouthStretch", "eyeBlink")
"""Expressions that people show in photos and that must be taken out of the neutral face: these are believed at once.

The others (a low brow, wide eyes, thin lips) are more often how a person is built; they must be needed to be believed.
Measured on ICT heads with known expressions: neutral face 1.28 -> 1.24 mm with `RARE` from 0.3 to 3.
"""


def shape_prior(rig: Rig, pick: sp.csr_matrix) -> F64:
    """[S, S] of the quadratic cost of a shape.

    Three parts: small coefficients; what no landmark sees (cranium, neck) keeps the template's place and smoothness; a
    face is nearly the same on both sides.
    """
    basis = rig.shape_basis.astype(np.float64)
    count = basis.shape[2]
    prior = COEFFICIENT * np.eye(count)
    landmarks = pick @ rig.template.astype(np.float64)
    distance, _ = KDTree(landmarks).query(rig.template)
    quiet = np.flatnonzero(distance > QUIET_DISTANCE)
    if len(quiet):
        prior += _mean_square(basis[quiet], QUIET_WEIGHT, QUIET_SIZE)
        laplacian, area = cotangent_laplacian(rig.template.astype(np.float64), rig.faces)
        bending = (laplacian[quiet] @ basis.reshape(len(basis), -1)) / area[quiet, None]
        prior += _mean_square(bending.reshape(len(quiet), 3, count), QUIET_WEIGHT, QUIET_BENDING)
    if rig.mirror is not None:
        odd = basis - basis[rig.mirror] * np.array([-1.0, 1.0, 1.0])[:, None]
        seen = np.unique(pick.indices)
        prior += _mean_square(odd[seen] / 2, ASYMMETRY_WEIGHT, ASYMMETRY_SIZE)
    return prior


def expression_prior(name: str) -> float:
    """Cost of a named expression at value 1."""
    return PLAIN if is_component(name) or name.startswith(OPEN_FACE) else RARE


def is_component(name: str) -> bool:
    """Whether an expression is a principal component in standard deviations, as FLAME's expr000, and not a named motion."""
    return name.startswith("expr") and name[4:].isdigit()


def _mean_square(basis: F64, weight: float, size: float) -> F64:
    """The cost ``weight`` of a field [N, 3, S] whose root mean square is ``size``, as a quadratic form in the coefficients."""
    flat = basis.reshape(-1, basis.shape[2])
    return weight / (size**2 * len(basis)) * (flat.T @ flat)
