"""Expressions that move with the jaw's bone: its shifts, lips that stay closed while it opens, and the tongue."""

from __future__ import annotations

import numpy as np

from backend.rig.arkit import JAW_OPEN_ANGLE
from backend.rig.skinning import rotation_matrices

from . import landmarks as lm
from .mesh_operators import Points
from .sculpting import Sculptor
from .skinning_weights import JAW

JAW_SHIFTS = {"jawForward": (0.0, -0.001, 0.006), "jawLeft": (0.006, 0.0, 0.0), "jawRight": (-0.006, 0.0, 0.0)}
"""Motion of the lower teeth, metres."""


def jaw_expression_fields(s: Sculptor, jaw: Points) -> dict[str, Points]:
    """Name -> [C, 3] metres, given the jaw weight [C] of the control mesh."""
    fields = {name: jaw[:, None] * np.array(shift) for name, shift in JAW_SHIFTS.items()}
    fields["mouthClose"] = _mouth_close(s, jaw)
    return fields


def _mouth_close(s: Sculptor, jaw: Points) -> Points:
    """Lips that meet when the jaw stands at JAW_OPEN_ANGLE, undone by the skinning that follows."""
    rotation = rotation_matrices(np.array([JAW_OPEN_ANGLE, 0.0, 0.0]))
    pivot = np.array(JAW)

    def skinned(points: Points, weight: Points) -> Points:
        return points + weight[:, None] * ((points - pivot) @ rotation.T + pivot - points)

    handles: dict[int, Points] = {}
    posed = skinned(s.points, jaw[: lm.COUNT])
    line = dict(zip(lm.UPPER_LIP_ROWS[3], lm.LOWER_LIP_ROWS[3], strict=True))
    for upper, lower in list(line.items()):
        line[int(s.mirror[upper])] = int(s.mirror[lower])
    for upper, lower in line.items():
        meeting = posed[upper] * 0.55 + posed[lower] * 0.45
        gap = (s.points[upper] - s.points[lower]) / 2
        for vertex, target in ((upper, meeting + gap), (lower, meeting - gap)):
            handles[vertex] = _before_skinning(target, float(jaw[vertex]), rotation, pivot) - s.points[vertex]
    handles = {v: d * 1e3 for v, d in handles.items()}
    for rows in (lm.UPPER_LIP_ROWS, lm.LOWER_LIP_ROWS):
        for row, share in ((0, 0.72), (1, 0.85), (2, 0.95)):
            for vertex, inner in zip(s.both(rows[row]), s.both(rows[3]), strict=True):
                handles[vertex] = handles[inner] * share
    for ring, share in enumerate((0.9, 0.7, 0.4, 0.1, 0.0)):
        for column, on_line in enumerate(lm.LIPS_INNER):
            handles[int(s.cage.sack[ring * 20 + column])] = handles[on_line] * share
    return s.cage.symmetric(s.solve(handles, (*s.eyes, 1, 4, 5, 168, 6, *lm.FOREHEAD)))


def _before_skinning(target: Points, weight: float, rotation: Points, pivot: Points) -> Points:
    """The point that linear blend skinning carries to `target`."""
    matrix = (1 - weight) * np.eye(3) + weight * rotation
    return np.asarray(np.linalg.solve(matrix, target - weight * (pivot - rotation @ pivot)), np.float64)


def tongue_out(s: Sculptor, tongue: Points) -> tuple[Points, Points]:
    """Displacement of the control mesh [C, 3] (lips part for it) and of the tongue [T, 3], metres."""

    def part(x: float, side: int, row: int) -> tuple[float, float, float]:
        middle = max(0.0, 1 - (x / 0.9) ** 2)
        return (0.0, (2.6 if side > 0 else -5.5) * abs(side) * middle, 1.0 * abs(side) * middle)

    skin = s.solve(s.lip_handles(part), (*lm.NOSE, *s.eyes, *lm.FOREHEAD, 152))
    along = (tongue[:, 2] - tongue[:, 2].min()) / np.ptp(tongue[:, 2])
    middle = tongue[:, 1].mean()
    body = np.zeros_like(tongue)
    body[:, 2] = 0.034 * along**1.2
    body[:, 1] = 0.0055 * np.sin(np.pi * np.clip(along * 1.05, 0, 1)) - 0.004 * along**4 - 0.35 * along * (tongue[:, 1] - middle)
    body[:, 0] = -0.25 * along * tongue[:, 0]
    return s.cage.symmetric(skin), body
