"""Blink, wide and squint of the left eye on the control mesh."""

from __future__ import annotations

import numpy as np

from . import landmarks as lm
from .eyes import RADIUS
from .lid_motion import closed_line, moved_line, turned_with
from .mesh_operators import Points
from .sculpting import Sculptor

WIDE = {"upper": -0.24, "lower": -0.06}
SQUINT = {"upper": 0.10, "lower": 0.34}
"""Shares of the opening by which each lid moves."""


def lid_expressions(s: Sculptor) -> dict[str, Points]:
    """eyeBlink, eyeWide and eyeSquint of the left eye, [C, 3] metres each."""
    line, centre = s.points[list(lm.EYE_LEFT)], s.cage.eye_left
    cheek = (448, 449, 450, 451, 452, 261, 347, 348, 346)
    still = (*s.both(s.brow_left), *lm.NOSE, *s.eye_right, *lm.FOREHEAD, *s.lips, *s.sack)
    closed = closed_line(line, centre, RADIUS)
    wide = moved_line(line, centre, RADIUS, **WIDE)
    squint = moved_line(line, centre, RADIUS, **SQUINT)
    return {
        "eyeBlink": s.solve(_handles(s, line, closed, 0.32), (*still, *cheek)),
        "eyeWide": s.solve(_handles(s, line, wide, 0.5), (*still, *cheek)),
        "eyeSquint": s.solve(_handles(s, line, squint, 0.5), (*still, 280, 425)),
    }


def _handles(s: Sculptor, line: Points, target: Points, crease: float) -> dict[int, Points]:
    """Handles in millimetres: the lid line, the rims turned with it, and the rows above and below by a share."""
    shift: dict[int, Points] = dict(zip(lm.EYE_LEFT, (target - line) * 1e3, strict=True))
    handles = dict(shift)
    for ring in s.cage.lids_left:
        rim = s.cage.vertices[ring]
        moved = (turned_with(rim, line, target, s.cage.eye_left) - rim) * 1e3
        handles |= dict(zip(ring.tolist(), moved, strict=True))
    for row, lid in ((lm.ABOVE_LID_LEFT[0], lm.UPPER_LID_LEFT), (lm.BELOW_LID_LEFT[0], lm.LOWER_LID_LEFT)):
        for vertex, on_line in zip(row, lid, strict=True):
            handles[vertex] = np.asarray(shift[on_line]) * crease
    return handles
