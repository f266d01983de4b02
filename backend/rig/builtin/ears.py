"""Ears: a polar height field over the ear's outline (helix, antihelix, concha, tragus, lobe) with a back rooted in the skull."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from .mesh_operators import Points, outward, ring_grid, smoothstep
from .skull import head_distance

COLUMNS = 24
# Outline in millimetres seen from the side: backward, up. Starts at the helix root in front and runs over the top.
OUTLINE = ((-9, 7), (-8.5, 17), (-3, 26.5), (6, 31), (15.5, 28.5), (21, 20), (22, 9), (19.5, -3), (15, -13), (10.5, -21),
           (5.5, -28.5), (-1.5, -31), (-7, -28), (-9.5, -21), (-10.5, -12), (-11, -3))  # fmt: skip
CONCHA = (0.5, -3.0)
RADII = (0.2, 0.38, 0.52, 0.64, 0.75, 0.85, 0.93, 1.0)
FRONT_BEHIND_CHEEK = 0.006
"""Distance of the ear's front edge behind landmark 454, metres."""


def left_ear(cheek: Points) -> tuple[Points, NDArray[np.int64]]:
    """The left ear [V, 3] behind the cheek landmark 454 [3], and its faces; closed, its root inside the skull."""
    knots = np.linspace(0, 1, len(OUTLINE) + 1)
    outline = CubicSpline(knots, np.array([*OUTLINE, OUTLINE[0]], float), bc_type="periodic")(np.arange(COLUMNS) / COLUMNS)
    turn = np.arange(COLUMNS) / COLUMNS
    centre = np.array(CONCHA)
    rings = [np.array([[*centre, _height(np.zeros(1), np.array([0.3]))[0]]])]
    for r in RADII:
        flat = centre + (outline - centre) * r
        rings.append(np.column_stack([flat, _height(np.full(COLUMNS, r), turn)]))
    rim = rings[-1]
    for inset, depth in ((0.985, -2.2), (0.88, -4.8), (0.55, -8.0), (0.44, -20.0)):
        flat = centre + (outline - centre) * inset
        rings.append(np.column_stack([flat - np.array([9 * (1 - inset), 0]), np.minimum(rim[:, 2], 2) * (inset > 0.9) + depth]))
    local = np.concatenate(rings)
    j = np.arange(COLUMNS)
    faces = np.concatenate([np.stack([0 * j, 1 + (j + 1) % COLUMNS, 1 + j], 1), ring_grid(COLUMNS, len(rings) - 1) + 1])
    last = 1 + (len(rings) - 2) * COLUMNS
    cap = np.array([(last, last + i, last + i + 1) for i in range(1, COLUMNS - 1)])
    vertices = _placed(local, cheek)
    return vertices, outward(vertices, np.concatenate([faces, cap]))


def _height(r: Points, turn: Points) -> Points:
    """[N] outward height in millimetres at relative radius r and fraction of the turn (0 helix root, 0.25 top, 0.45 back, 0.7 lobe)."""
    angle = 2 * np.pi * turn
    around = lambda at, width: np.exp(-(((np.angle(np.exp(1j * (angle - 2 * np.pi * at)))) / (2 * np.pi * width)) ** 2))
    on_helix = np.clip(around(0.26, 0.20) + around(0.05, 0.10) * 0.8, 0, 1)
    helix = 4.2 * on_helix * np.exp(-(((r - 0.93) / 0.085) ** 2))
    scapha = -1.6 * on_helix * np.exp(-(((r - 0.78) / 0.07) ** 2))
    antihelix = 4.2 * np.clip(around(0.36, 0.17), 0, 1) * np.exp(-(((r - 0.62) / 0.10) ** 2))
    antitragus = 2.6 * around(0.63, 0.06) * np.exp(-(((r - 0.50) / 0.14) ** 2))
    tragus = 4.2 * around(0.93, 0.075) * np.exp(-(((r - 0.66) / 0.17) ** 2))
    bowl = -6.2 * np.exp(-((r / 0.44) ** 4))
    lobe = 1.0 * around(0.70, 0.10) * smoothstep((r - 0.4) / 0.3)
    edge = -1.4 * smoothstep((r - 0.955) / 0.045)
    return helix + scapha + antihelix + antitragus + tragus + bowl + lobe + edge


def _placed(local: Points, cheek: Points) -> Points:
    """Millimetres in the ear's plane to metres on the head: leaned back 14 degrees, its back edge 26 degrees off the skull."""
    lean, flare = np.radians(14), np.radians(26)
    back, up, out = local.T * 1e-3
    back, up = back * np.cos(lean) + up * np.sin(lean), up * np.cos(lean) - back * np.sin(lean)
    from_front = back + 0.0105
    front = np.array([0.0, cheek[1] - 0.006, cheek[2] - FRONT_BEHIND_CHEEK])
    front[0] = _surface_x(front[1:2], front[2:] - 0.004)[0] - 0.0005
    x = front[0] + out * np.cos(flare) + from_front * np.sin(flare) + 0.06 * up
    z = front[2] - from_front * np.cos(flare) + out * np.sin(flare) * 0.6
    y = front[1] + up
    face = np.arange(len(x)) < 1 + len(RADII) * COLUMNS  # the concha's floor lies on the skull, not under it
    x = np.where(face, np.maximum(x, _surface_x(y, z) + 0.0006), x)
    return np.stack([x, y, z], 1)


def _surface_x(y: Points, z: Points) -> Points:
    """[N] where the head's left side is at each height and depth."""
    low, high = np.zeros(len(y)), np.full(len(y), 0.15)
    for _ in range(40):
        middle = (low + high) / 2
        inside = head_distance(np.stack([middle, y, z], 1)) < 0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low
