"""Shoulders for networks that see several unposed photos: a mesh below the neck, whose vertices are queries as the head's are.

Own choice: the summaries of the paper say nothing of what the rig's mesh does not cover, and lifting it from a photo's pixels,
as OMG-Avatar does, would need one photo more than the others.
"""

from __future__ import annotations

import numpy as np

from backend.protocol.avatar import F32, I32

COLUMNS, ROWS = 20, 8
LEVELS = 2
"""How often it is subdivided before it is drawn, at every level of detail of the head."""
_REACH, _HALF_WIDTH, _HALF_DEPTH = 0.75, 0.65, 0.3
"""Below the neck, and half extents at the shoulders, in heights of the rig's template."""
_COLLAR = 0.12
"""Lowest share of the template that is its neck's rim."""


def bust_mesh(template: F32) -> tuple[F32, I32]:
    """Vertices [B, 3] in metres and faces [F, 3] of a surface that widens from the neck's rim to the shoulders.

    Args:
        template: [V, 3] of any rig whose neck points down.
    """
    bottom, height = float(template[:, 1].min()), float(np.ptp(template[:, 1]))
    rim = template[template[:, 1] < bottom + _COLLAR * height]
    low, high = rim.min(0), rim.max(0)
    middle, half = (low + high) / 2, (high - low) / 2
    down = np.linspace(0, 1, ROWS)[:, None]
    widen = np.sin(np.clip(down / 0.45, 0, 1) * np.pi / 2) ** 1.5
    turn = 2 * np.pi * np.arange(COLUMNS)[None] / COLUMNS
    x = (0.95 * half[0] + (_HALF_WIDTH * height - 0.95 * half[0]) * widen) * np.sin(turn)
    z = (0.95 * half[2] + (_HALF_DEPTH * height - 0.95 * half[2]) * widen) * np.cos(turn)
    y = bottom + _COLLAR * height - _REACH * height * down**1.5
    vertices = np.stack([middle[0] + x, np.broadcast_to(y, x.shape), middle[2] + z], -1).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(ROWS - 1), np.arange(COLUMNS), indexing="ij")
    a, b = (row * COLUMNS + column).ravel(), (row * COLUMNS + (column + 1) % COLUMNS).ravel()
    faces = np.concatenate([np.stack([a, a + COLUMNS, b], 1), np.stack([b, a + COLUMNS, b + COLUMNS], 1)])
    return vertices.astype(np.float32), faces.astype(np.int32)
