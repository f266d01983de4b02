"""Mouth cavity behind the lips, two rows of teeth with gums, and a tongue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .mesh_operators import Points, outward, ring_grid, smoothstep

SACK_COLUMNS = 20
# Depth behind the lips, half height and width relative to the mouth's half width, of each ring of the cavity.
# The first rings rise steeply so that the cavity does not hide the teeth.
SACK_RINGS = (
    (-0.0030, 0.0085, 0.97),
    (-0.0080, 0.0165, 1.02),
    (-0.022, 0.0205, 1.15),
    (-0.038, 0.0175, 1.28),
    (-0.050, 0.0095, 0.75),
)
TEETH_COLUMNS = 37
TEETH_PROFILE_UPPER = ((0.0115, -0.0030), (0.0078, -0.0004), (0.0038, 0.0004), (0.0004, -0.0004), (0.0002, -0.0018), (0.0055, -0.0060))
TEETH_PROFILE_LOWER = (
    (-0.0115, -0.0028),
    (-0.0074, -0.0004),
    (-0.0036, 0.0002),
    (-0.0003, -0.0006),
    (-0.0002, -0.0019),
    (-0.0055, -0.0058),
)


def mouth_sack(inner_lips: Points) -> tuple[Points, NDArray[np.int64]]:
    """Cavity [101, 3] behind the inner lip line [20, 3] (upper middle, left corner, lower middle, right corner).

    Faces run over line and cavity together, the line's vertices as 0..19; normals point into the cavity's air.
    """
    centre = inner_lips.mean(0)
    half = np.abs(inner_lips[:, 0]).max()
    column = np.arange(SACK_COLUMNS)
    side = np.where(np.isin(column, (5, 15)), 0.0, np.where((column < 5) | (column > 15), 1.0, -1.0))
    arch = np.sqrt(np.clip(1 - (inner_lips[:, 0] / half) ** 2, 0, 1))
    rings = []
    for depth, height, width in SACK_RINGS:
        ring = inner_lips.copy()
        ring[:, 0] = inner_lips[:, 0] * width
        ring[:, 1] = centre[1] + side * arch**0.7 * height
        ring[:, 2] = inner_lips[:, 2] + depth
        rings.append(ring)
    end = rings[-1].mean(0) - np.array([0, 0, 0.004])
    end[0] = 0
    faces = ring_grid(SACK_COLUMNS, len(SACK_RINGS) + 1, flip=True)
    last = len(SACK_RINGS) * SACK_COLUMNS
    cap = np.stack([last + (column + 1) % SACK_COLUMNS, last + column, np.full(SACK_COLUMNS, last + SACK_COLUMNS)], 1)
    return np.concatenate([*rings, end[None]]), np.concatenate([faces, cap])


def teeth(stomion: Points, upper: bool) -> tuple[Points, NDArray[np.int64], NDArray[np.int64]]:
    """One closed row of teeth with gum [V, 3] behind the lips' meeting point `stomion` [3]; faces; mirror.

    Labial faces stand 4.2 mm behind the lips and the upper edges 3 mm below their line; the lower row bites behind.
    """
    across = np.linspace(-1, 1, TEETH_COLUMNS)
    bend = 1.3
    width, depth = (0.0265, 0.031) if upper else (0.0245, 0.029)
    x = width * np.sin(across * bend) / np.sin(bend)
    back = depth * (1 - np.cos(across * bend)) / (1 - np.cos(bend))
    edge = stomion + (np.array([0, -0.0030, -0.0042]) if upper else np.array([0, -0.0016, -0.0068]))
    groove = 0.00055 * np.abs(np.cos(across * 6.5 * np.pi)) ** 6
    profile = TEETH_PROFILE_UPPER if upper else TEETH_PROFILE_LOWER
    normal = np.stack([np.gradient(back), np.gradient(x)], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    shrink = 1 - 0.35 * smoothstep((np.abs(across) - 0.45) / 0.55)
    rows = []
    for index, (dy, dz) in enumerate(profile):
        inset = dz - (groove if index in (2, 3) else 0)
        rows.append(
            np.stack(
                [
                    x + normal[:, 0] * inset,
                    np.full(TEETH_COLUMNS, edge[1]) + dy * shrink,
                    edge[2] - back + normal[:, 1] * inset,
                ],
                1,
            )
        )
    body = np.stack(rows, 1).reshape(-1, 3)
    size = len(profile)
    ends = np.stack([body[:size].mean(0), body[-size:].mean(0)])
    vertices = np.concatenate([body, ends])
    mirror = (np.arange(TEETH_COLUMNS)[::-1, None] * size + np.arange(size)).ravel()
    mirror = np.concatenate([mirror, [len(body) + 1, len(body)]])
    return vertices, outward(vertices, _sweep_faces(TEETH_COLUMNS, size)), mirror


def _sweep_faces(columns: int, size: int) -> NDArray[np.int64]:
    """A closed tube: `columns` cross sections of `size` vertices, its two ends closed by fans; symmetric end to end."""
    faces = []
    for column in range(columns - 1):
        for row in range(size):
            a, b = column * size + row, column * size + (row + 1) % size
            c, d = a + size, b + size
            faces += [(a, c, b), (b, c, d)] if column < (columns - 1) // 2 else [(a, d, b), (a, c, d)]
    first, last, end = columns * size, columns * size + 1, (columns - 1) * size
    faces += [(first, row, (row + 1) % size) for row in range(size)]
    faces += [(last, end + (row + 1) % size, end + row) for row in range(size)]
    return np.array(faces, np.int64)


def tongue(stomion: Points) -> tuple[Points, NDArray[np.int64], NDArray[np.int64]]:
    """A closed tongue [V, 3] resting behind the lower teeth; faces; mirror. Its tip is the first vertex."""
    segments, rings = 16, 9
    theta = np.pi * np.arange(1, rings) / rings
    phi = 2 * np.pi * np.arange(segments) / segments + np.pi / 2
    t, f = np.repeat(theta, segments), np.tile(phi, rings - 1)
    unit = np.concatenate([[[0, 0, 1]], np.stack([np.sin(t) * np.cos(f), np.sin(t) * np.sin(f), np.cos(t)], 1), [[0, 0, -1]]])
    unit[np.abs(unit) < 1e-12] = 0
    shape = unit * [0.0165, 0.0058, 0.0225]
    shape[:, 1] += np.where(unit[:, 1] > 0, -0.0018 * np.exp(-((unit[:, 0] / 0.25) ** 2)) * unit[:, 1], 0)
    shape[:, 1] += 0.004 * np.clip(-unit[:, 2], 0, 1)
    vertices = shape + stomion + [0, -0.0085, -0.0345]
    j = np.arange(segments)
    k = (j + 1) % segments
    last = 1 + (rings - 2) * segments
    front = np.stack([0 * j, 1 + k, 1 + j], 1)
    back = np.stack([0 * j + len(unit) - 1, last + j, last + k], 1)
    faces = np.concatenate([front, ring_grid(segments, rings - 1) + 1, back])
    rows = np.arange(rings - 1)[:, None] * segments
    mirror = np.concatenate([[0], 1 + (rows + (-np.arange(segments)) % segments).ravel(), [len(unit) - 1]])
    return vertices, outward(vertices, faces), mirror
