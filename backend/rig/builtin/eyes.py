"""Lids with thickness and eyeballs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .mesh_operators import Points, outward, ring_grid

RADIUS = 0.0118
"""Radius of the eyeball, metres."""
CLEARANCE = 1.05
"""Least distance of the lid line from the eyeball's centre, in radii."""
SEGMENTS = 24
RIM_RINGS = 2


def eye_centre(lid_line: Points, radius: float = RADIUS) -> Points:
    """[3] centre of the eyeball behind a lid line [N, 3] (outer corner first, upper lid, inner corner, lower lid)."""
    quarter = len(lid_line) // 4
    upper, lower = lid_line[quarter], lid_line[3 * quarter]
    x, y = lid_line[:, 0].mean(), (upper[1] + lower[1]) / 2
    across = (lid_line[:, 0] - x) ** 2 + (lid_line[:, 1] - y) ** 2
    reach = np.sqrt(np.maximum((CLEARANCE * radius) ** 2 - across, 0))
    return np.array([x, y, (lid_line[:, 2] - reach).min()])


def lid_rims(lid_line: Points, centre: Points) -> tuple[Points, NDArray[np.int64]]:
    """Inner lid [32, 3]: the margin down to the eyeball, then a fold behind its front; faces over line and rims.

    Faces index the lid line as 0..15.
    """
    margin = _around(lid_line, centre, 1.02 * RADIUS, 0.0)
    fold = _around(lid_line, centre, 1.04 * RADIUS, -0.0055)
    return np.concatenate([margin, fold]), ring_grid(16, 3)


def _around(points: Points, centre: Points, radius: float, push: float) -> Points:
    offset = points - centre + [0, 0, push]
    return centre + offset / np.linalg.norm(offset, axis=1, keepdims=True) * radius


def eyeball(centre: Points) -> tuple[Points, NDArray[np.int64]]:
    """A closed ball [V, 3] whose first vertex, the pupil's centre, looks along +Z; and its faces.

    Rings lie at the pupil's and the iris' edge, so that colours change along them.
    """
    angles = np.radians([5.5, 11, 16, 22, 28, 36, 48, 64, 84, 108, 140])
    phi = 2 * np.pi * np.arange(SEGMENTS) / SEGMENTS + np.pi / 2
    theta = np.repeat(angles, SEGMENTS)
    ring = np.tile(phi, len(angles))
    radius = RADIUS + 0.0005 * np.exp(-((theta / 0.45) ** 4))
    body = np.stack([np.sin(theta) * np.cos(ring), np.sin(theta) * np.sin(ring), np.cos(theta)], 1) * radius[:, None]
    ball = np.concatenate([[[0, 0, RADIUS + 0.0005]], body, [[0, 0, -RADIUS]]])
    j = np.arange(SEGMENTS)
    k = (j + 1) % SEGMENTS
    last = 1 + (len(angles) - 1) * SEGMENTS
    front = np.stack([0 * j, 1 + k, 1 + j], 1)
    back = np.stack([0 * j + len(ball) - 1, last + j, last + k], 1)
    faces = np.concatenate([front, ring_grid(SEGMENTS, len(angles)) + 1, back])
    return ball + centre, outward(ball, faces)
