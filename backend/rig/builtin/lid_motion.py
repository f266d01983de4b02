"""How lids move around an eyeball: where each point of the lid line, and of the rims behind it, goes.

A basis is linear, so a lid point goes straight from open to closed. It stays outside the ball because both ends of its
way lie far enough out that the chord between them clears ball and cornea.

A lid line runs from the outer corner (index 0) along the upper lid to the inner corner (index N / 2) and back along the
lower lid, so that the points i and N - i face each other.
"""

from __future__ import annotations

import numpy as np

from backend.rig.skinning import rotation_matrices

from .mesh_operators import Points

CLOSED_RADII = 1.15
"""Distance of the closed lid line from the eyeball's centre, in radii, at least."""
MEETING = 0.84
"""Where the lids meet: 0 at the open upper lid, 1 at the open lower lid."""
LOWEST_RADII = 1.04


def closed_line(line: Points, centre: Points, radius: float) -> Points:
    """[N, 3] the lid line of the closed eye: facing points meet."""
    facing = _facing(line)
    is_upper = _is_upper(len(line))[:, None]
    upper, lower = np.where(is_upper, line, facing), np.where(is_upper, facing, line)
    distance = (np.linalg.norm(upper - centre, axis=1) + np.linalg.norm(lower - centre, axis=1)) / 2
    target = _pushed_out(upper + (lower - upper) * MEETING, centre, np.maximum(CLOSED_RADII * radius, distance))
    return _corners_kept(target, line)


def moved_line(line: Points, centre: Points, radius: float, upper: float, lower: float) -> Points:
    """[N, 3] each lid moved by a share of the opening toward the other (negative: away), kept off the ball."""
    share = np.where(_is_upper(len(line)), upper, lower)[:, None]
    distance = np.linalg.norm(line - centre, axis=1)
    target = _pushed_out(line + (_facing(line) - line) * share, centre, np.maximum(LOWEST_RADII * radius, distance))
    return _corners_kept(target, line)


def turned_with(points: Points, line: Points, target: Points, centre: Points) -> Points:
    """[N, 3] rim points turned about the eyeball's centre as their points of the lid line turn from `line` to `target`."""
    before, after = line - centre, target - centre
    before = before / np.linalg.norm(before, axis=1, keepdims=True)
    after = after / np.linalg.norm(after, axis=1, keepdims=True)
    axis = np.cross(before, after)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(sine, (before * after).sum(1, keepdims=True))
    turn = rotation_matrices(axis / np.maximum(sine, 1e-12) * angle)
    return centre + (turn @ (points - centre)[..., None])[..., 0]


def _facing(line: Points) -> Points:
    return line[(-np.arange(len(line))) % len(line)]


def _is_upper(count: int) -> np.ndarray:
    return np.arange(count) <= count // 2


def _pushed_out(points: Points, centre: Points, radius: Points) -> Points:
    """The points, moved away from the centre to at least `radius` [N]."""
    offset = points - centre
    distance = np.linalg.norm(offset, axis=1)
    return centre + offset * np.maximum(1.0, radius / distance)[:, None]


def _corners_kept(target: Points, line: Points) -> Points:
    """The target with both corners of the eye where they were."""
    target = target.copy()
    for corner in (0, len(line) // 2):
        target[corner] = line[corner]
    return target
