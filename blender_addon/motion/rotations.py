"""Rotations in numpy: axis-angle and matrices, in batches. float64, right-handed, column vectors."""

from __future__ import annotations

import numpy as np

from .take import F64


def matrices(vectors: F64) -> F64:
    """Axis-angle [T, 3] -> [T, 3, 3] (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=-1)[:, None, None]
    x, y, z = (vectors / np.maximum(angle[:, :, 0], 1e-12)).T
    o = np.zeros_like(x)
    cross = np.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(-1, 3, 3)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def axis_angles(rotations: F64) -> F64:
    """[T, 3, 3] -> axis-angle [T, 3] of at most pi; what is not quite a rotation is made one, what is no number stays none."""
    broken = ~np.isfinite(rotations).all((1, 2))
    u, _, vt = np.linalg.svd(np.where(broken[:, None, None], np.eye(3), rotations))
    turned = u @ vt
    turned = u * np.stack([np.ones(len(u)), np.ones(len(u)), np.linalg.det(turned)], -1)[:, None] @ vt
    m = turned
    w = np.sqrt(np.maximum(0, 1 + m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2])) / 2
    x = np.sqrt(np.maximum(0, 1 + m[:, 0, 0] - m[:, 1, 1] - m[:, 2, 2])) / 2
    y = np.sqrt(np.maximum(0, 1 - m[:, 0, 0] + m[:, 1, 1] - m[:, 2, 2])) / 2
    z = np.sqrt(np.maximum(0, 1 - m[:, 0, 0] - m[:, 1, 1] + m[:, 2, 2])) / 2
    # Signs from the largest component, which is never near zero.
    q = np.stack([w, x, y, z], -1)
    largest = q.argmax(-1)
    d = {(0, 1): m[:, 2, 1] - m[:, 1, 2], (0, 2): m[:, 0, 2] - m[:, 2, 0], (0, 3): m[:, 1, 0] - m[:, 0, 1],
         (1, 2): m[:, 0, 1] + m[:, 1, 0], (1, 3): m[:, 0, 2] + m[:, 2, 0], (2, 3): m[:, 1, 2] + m[:, 2, 1]}  # fmt: skip
    for i in range(4):
        for j in range(4):
            if i != j:
                sign = np.where(d[min(i, j), max(i, j)] < 0, -1.0, 1.0)
                q[:, j] = np.where(largest == i, sign * q[:, j], q[:, j])
    q *= np.where(q[:, :1] < 0, -1.0, 1.0)
    length = np.linalg.norm(q[:, 1:], axis=-1)
    scale = np.where(length > 1e-12, 2 * np.arctan2(length, q[:, 0]) / np.maximum(length, 1e-12), 2.0)
    return np.where(broken[:, None], np.nan, q[:, 1:] * scale[:, None])


def head_on_neck(orientations: F64, neck: F64 | None = None, first: int = 0) -> F64:
    """[T, 3] neck rotation that shows the head's own orientations [T, 3, 3], relative to frame `first`; `neck` [T, 3] comes on top."""
    usable = np.flatnonzero(np.isfinite(orientations).all((1, 2)))
    first = first if first in usable or not len(usable) else int(usable[0])
    relative = orientations[first].T @ orientations
    return axis_angles(relative if neck is None else relative @ matrices(neck))
