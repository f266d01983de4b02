"""Displacement fields on the control mesh from a few handles: the smoothest surface motion that takes given landmarks along."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from . import landmarks as lm
from .cage import Cage
from .mesh_operators import Points, cotangent_laplacian, solve_with_fixed

Motion = tuple[float, float, float]
LipMotion = Callable[[float, int, int], Motion]
"""(position along the lip, -1 right corner to 1 left corner; side 1 upper, -1 lower, 0 corner; row 0 outer to 3 inner) -> mm."""

SACK_FOLLOWS = (1.0, 0.85, 0.5, 0.15, 0.0)
"""Share of the inner lips' motion that each ring of the mouth cavity takes."""


class Sculptor:
    """Solves biharmonic displacement fields (Botsch and Kobbelt 2004) on a control mesh. Handles are in millimetres."""

    def __init__(self, cage: Cage) -> None:
        self.cage = cage
        self.mirror = cage.mirror[: lm.COUNT]
        self.points = cage.vertices[: lm.COUNT]
        stiffness, mass = cotangent_laplacian(cage.vertices, cage.faces)
        self.energy = stiffness.T @ sp.diags(1 / mass) @ stiffness
        self.half_width = float(self.points[291, 0])
        self.lip_rows = self._lip_rows()
        self.lips = tuple(sorted(self.lip_rows))
        self.eye_left = (*lm.EYE_LEFT, *cage.lids_left.ravel().tolist())
        self.eye_right = (*self.right(lm.EYE_LEFT), *cage.lids_right.ravel().tolist())
        self.eyes = (*self.eye_left, *self.eye_right)
        self.sack = tuple(cage.sack.tolist())
        self.brow_left = (*lm.BROW_LEFT_UPPER, *lm.BROW_LEFT_LOWER)
        self.far = tuple(cage.skull[3:].ravel().tolist())

    def right(self, left: Iterable[int]) -> tuple[int, ...]:
        return tuple(int(self.mirror[i]) for i in left)

    def both(self, left: Iterable[int]) -> tuple[int, ...]:
        left = tuple(left)
        return (*left, *self.right(left))

    def _lip_rows(self) -> dict[int, tuple[int, int]]:
        """Lip landmark -> (side, row)."""
        rows: dict[int, tuple[int, int]] = {}
        for side, table in ((1, lm.UPPER_LIP_ROWS), (-1, lm.LOWER_LIP_ROWS)):
            for number, row in enumerate(table):
                for vertex in self.both(row[:-1]):
                    rows[vertex] = (side, number)
                for vertex in self.both(row[-1:]):
                    rows[vertex] = (0, number)
        return rows

    def lip_handles(self, motion: LipMotion) -> dict[int, NDArray[np.float64]]:
        """Handles for all lip landmarks, and for the mouth cavity, which follows the inner lips."""
        handles = {}
        for vertex, (side, row) in self.lip_rows.items():
            handles[vertex] = np.array(motion(float(self.points[vertex, 0] / self.half_width), side, row), float)
        for ring, share in enumerate(SACK_FOLLOWS):
            for column, vertex in enumerate(lm.LIPS_INNER):
                handles[int(self.cage.sack[ring * 20 + column])] = handles[vertex] * share
        handles[int(self.cage.sack[-1])] = np.zeros(3)
        return handles

    def solve(self, handles: Mapping[int, object], still: Iterable[int] = ()) -> Points:
        """[C, 3] metres: the smoothest field through the handles that leaves `still`, the skull and the neck at rest."""
        moved = {int(v): np.asarray(d, float) * 1e-3 for v, d in handles.items()}
        at_rest = np.setdiff1d(np.array([*still, *self.far], np.int64), np.array(sorted(moved), np.int64))
        fixed = np.concatenate([np.array(sorted(moved), np.int64), at_rest])
        values = np.concatenate([np.stack([moved[v] for v in sorted(moved)]), np.zeros((len(at_rest), 3))])
        return solve_with_fixed(self.energy, fixed, values)
