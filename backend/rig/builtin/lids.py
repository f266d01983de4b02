"""Blink, wide and squint of the left eye: lids that travel around the eyeball.

A basis is linear, so a lid point goes straight from open to closed. It stays outside the ball because both ends of its
way lie far enough out that the chord between them clears the ball and the cornea.
"""

from __future__ import annotations

import numpy as np

from backend.rig.skinning import rotation_matrices

from . import landmarks as lm
from .eyes import RADIUS
from .mesh_operators import Points
from .sculpting import Sculptor

CLOSED_RADIUS = 1.125 * RADIUS
"""Distance of the closed lid line from the eyeball's centre, at least."""
MEETING = 0.84
"""Where the lids meet: 0 at the open upper lid, 1 at the open lower lid."""


def lid_expressions(s: Sculptor) -> dict[str, Points]:
    """eyeBlink, eyeWide and eyeSquint of the left eye, [C, 3] metres each."""
    cheek = (448, 449, 450, 451, 452, 261, 347, 348, 346)
    still = (*s.both(s.brow_left), *lm.NOSE, *s.eye_right, *lm.FOREHEAD, *s.lips, *s.sack)
    return {
        "eyeBlink": s.solve(_lid_handles(s, _closed_line(s), 0.32), (*still, *cheek)),
        "eyeWide": s.solve(_lid_handles(s, _moved_line(s, upper=-0.24, lower=-0.06), 0.5), (*still, *cheek)),
        "eyeSquint": s.solve(_lid_handles(s, _moved_line(s, upper=0.10, lower=0.34), 0.5), (*still, 280, 425)),
    }


def _pairs() -> list[tuple[int, int]]:
    return list(zip(lm.UPPER_LID_LEFT, lm.LOWER_LID_LEFT, strict=True))


def _pushed_out(s: Sculptor, point: Points, radius: float) -> Points:
    """The point, moved away from the eyeball's centre to at least `radius`."""
    offset = point - s.cage.eye_left
    distance = float(np.linalg.norm(offset))
    return s.cage.eye_left + offset * max(1.0, radius / distance)


def _closed_line(s: Sculptor) -> dict[int, Points]:
    """Where each point of the lid line goes when the eye closes: upper and lower to the same place."""
    line = {v: s.points[v] for v in (263, 362)}
    for upper, lower in _pairs():
        meeting = s.points[upper] + (s.points[lower] - s.points[upper]) * MEETING
        distance = np.linalg.norm(s.points[[upper, lower]] - s.cage.eye_left, axis=1)
        target = _pushed_out(s, meeting, max(CLOSED_RADIUS, float(distance.mean())))
        line[upper] = line[lower] = target
    return line


def _moved_line(s: Sculptor, upper: float, lower: float) -> dict[int, Points]:
    """Each lid moved by a share of the opening toward the other (negative: away), kept off the ball."""
    line = {v: s.points[v] for v in (263, 362)}
    for up, low in _pairs():
        a, b = s.points[up], s.points[low]
        line[up] = _pushed_out(s, a + (b - a) * upper, float(np.linalg.norm(a - s.cage.eye_left)))
        line[low] = _pushed_out(s, b + (a - b) * lower, max(1.04 * RADIUS, float(np.linalg.norm(b - s.cage.eye_left))))
    return line


def _around_ball(s: Sculptor, rim: int, on_line: int, target: Points) -> Points:
    """Where a rim vertex goes with its point of the lid line: turned about the eyeball's centre by the same angle."""
    centre = s.cage.eye_left
    before, after = s.points[on_line] - centre, target - centre
    before, after = before / np.linalg.norm(before), after / np.linalg.norm(after)
    axis = np.cross(before, after)
    sine, cosine = float(np.linalg.norm(axis)), float(before @ after)
    if sine < 1e-9:
        return s.cage.vertices[rim]
    turn = rotation_matrices(axis / sine * np.arctan2(sine, cosine))
    return centre + turn @ (s.cage.vertices[rim] - centre)


def _lid_handles(s: Sculptor, line: dict[int, Points], crease: float) -> dict[int, Points]:
    """Handles in millimetres: the lid line, the rims with it, and the rows above and below by a share."""
    shift = {v: (target - s.points[v]) * 1e3 for v, target in line.items()}
    handles = dict(shift)
    for ring in s.cage.lids_left:
        for vertex, on_line in zip(ring.tolist(), lm.EYE_LEFT, strict=True):
            handles[vertex] = (_around_ball(s, vertex, on_line, line[on_line]) - s.cage.vertices[vertex]) * 1e3
    for row, lid in ((lm.ABOVE_LID_LEFT[0], lm.UPPER_LID_LEFT), (lm.BELOW_LID_LEFT[0], lm.LOWER_LID_LEFT)):
        for vertex, on_line in zip(row, lid, strict=True):
            handles[vertex] = shift[on_line] * crease
    return handles
