"""Shoulders to stand the head on: a lofted surface below the neck, the same for every rig."""

from __future__ import annotations

import numpy as np

from backend.evaluation.ict_heads import vertex_normals
from backend.protocol.avatar import F32, I32

COLUMNS, ROWS = 48, 14
_SNUG = 0.95
"""Width of the collar by that of the neck: a little inside, so that no gap shows."""
DEPTH = 0.32
"""Metres from the neck down; the picture ends above."""


def bust(collar: F32, shoulders: tuple[float, float]) -> tuple[F32, I32, F32]:
    """Vertices [B, 3], faces and normals [B, 3] of shoulders and chest.

    Args:
        collar: [N, 3] the neck's surface where the collar is, metres.
        shoulders: half of their width, and how much higher than that the collar lies.
    """
    width, lift = shoulders
    low, high = collar.min(0), collar.max(0)
    neck, (neck_x, _, neck_z) = (low + high) / 2, _SNUG * (high - low) / 2
    down = np.linspace(0, 1, ROWS)
    # From collar to shoulder the outline widens as an arch, then falls almost straight.
    widen = np.clip(down / 0.42, 0, 1)
    half_x = neck_x + (width - neck_x) * np.sin(widen * np.pi / 2) ** 1.6
    half_z = neck_z + (0.095 - neck_z) * np.sin(widen * np.pi / 2) ** 1.2
    y = neck[1] + lift - DEPTH * down**1.5
    turn = 2 * np.pi * np.arange(COLUMNS) / COLUMNS
    x = np.outer(half_x, np.sin(turn))
    z = np.outer(half_z, np.cos(turn)) + neck[2] + 0.012 * widen[:, None]
    # The collar lies deeper in front than at the nape.
    height = np.broadcast_to(y[:, None], x.shape) - 0.014 * np.clip(np.cos(turn), 0, 1) * (1 - widen[:, None])
    vertices = np.stack([x + neck[0], height, z], -1).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(ROWS - 1), np.arange(COLUMNS), indexing="ij")
    a = (row * COLUMNS + column).ravel()
    b = (row * COLUMNS + (column + 1) % COLUMNS).ravel()
    faces = np.concatenate([np.stack([a, a + COLUMNS, b], 1), np.stack([b, a + COLUMNS, b + COLUMNS], 1)])
    normals = vertex_normals(vertices, faces)
    # The collar is seen from inside too.
    inside = faces.reshape(2, ROWS - 1, COLUMNS, 3)[:, :3].reshape(-1, 3)[:, ::-1]
    return vertices.astype(np.float32), np.concatenate([faces, inside]).astype(np.int32), normals.astype(np.float32)
