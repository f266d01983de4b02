"""Which vertices of a mesh a point sees: exact, without a picture's resolution."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from backend.splats import kernel_cache  # noqa: F401  (must run before numba is imported)

from numba import njit  # isort: skip

_CELLS = 128
_CLEARANCE = 1e-6
"""A triangle hides a vertex when it lies nearer by more than this share of the distance."""


def visible_vertices(vertices: NDArray, faces: NDArray, centre: NDArray) -> NDArray[np.bool_]:
    """Whether the straight line from a point to each vertex meets no other triangle.

    The mesh is seen through a plane whose axis leads to its middle; a line meets a triangle where the vertex's
    projection lies in the triangle's. Triangles that have the vertex as a corner do not hide it.

    Args:
        vertices: [V, 3].
        faces: [F, 3].
        centre: [3] the point that looks; triangles that reach behind it hide nothing, vertices behind it are hidden.
    Returns:
        [V].
    """
    seen = np.asarray(vertices, np.float64) - centre
    axis = seen.mean(0)
    axis /= np.linalg.norm(axis)
    side = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    side /= np.linalg.norm(side)
    local = np.ascontiguousarray(seen @ np.stack([side, np.cross(axis, side), axis], 1))
    ahead = local[:, 2] > 0
    flat = np.full((len(local), 2), np.inf)
    flat[ahead] = local[ahead, :2] / local[ahead, 2:]
    usable = np.ascontiguousarray(faces[ahead[faces].all(1)], np.int64)
    if not len(usable):
        return ahead
    low, high = flat[ahead].min(0), flat[ahead].max(0)
    scale = (_CELLS - 1e-6) / np.maximum(high - low, 1e-12)
    grid = (flat[ahead] - low) * scale
    flat[ahead] = grid
    cell = np.where(ahead[:, None], np.where(np.isfinite(flat), flat, 0), 0).astype(np.int64) @ np.array([1, _CELLS])
    members = np.flatnonzero(ahead)
    members = members[np.argsort(cell[members], kind="stable")]
    starts = np.searchsorted(cell[members], np.arange(_CELLS * _CELLS + 1))
    hidden = ~ahead
    _hide(np.ascontiguousarray(flat), np.ascontiguousarray(local[:, 2]), usable, starts, members, hidden)
    return ~hidden


@njit(cache=True, nogil=True, error_model="numpy")
def _hide(flat, depth, faces, starts, members, hidden):
    """Mark the vertices behind each triangle; vertices are sorted into square cells of the plane."""
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by, cx, cy = flat[a, 0], flat[a, 1], flat[b, 0], flat[b, 1], flat[c, 0], flat[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        for row in range(math.floor(min(ay, by, cy)), min(math.floor(max(ay, by, cy)), _CELLS - 1) + 1):
            first = row * _CELLS + math.floor(min(ax, bx, cx))
            last = row * _CELLS + min(math.floor(max(ax, bx, cx)), _CELLS - 1)
            for at in range(starts[first], starts[last + 1]):
                v = members[at]
                if hidden[v] or v in (a, b, c):
                    continue
                x, y = flat[v, 0], flat[v, 1]
                wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                wa = 1.0 - wb - wc
                if wa < 0.0 or wb < 0.0 or wc < 0.0:
                    continue
                nearest = 1.0 / (wa / depth[a] + wb / depth[b] + wc / depth[c])
                if nearest < depth[v] * (1.0 - _CLEARANCE):
                    hidden[v] = True
