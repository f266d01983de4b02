"""The nearest point of a mesh to given points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

F64 = NDArray[np.float64]

CANDIDATES = 48
"""Triangles, by their middles, among which the nearest is looked for."""


def nearest_on_surface(vertices: NDArray, faces: NDArray, chosen: NDArray, points: F64) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The nearest point of some triangles to each point.

    Args:
        vertices: [V, 3]; faces: [F, 3]; chosen: [C] the faces that count.
        points: [N, 3].
    Returns:
        face [N], barycentric [N, 3].
    """
    corners = vertices[faces[chosen]].astype(np.float64)
    count = min(CANDIDATES, len(chosen))
    _, near = KDTree(corners.mean(1)).query(points, count)
    near = near.reshape(len(points), count)
    barycentric = _nearest_in_triangle(corners[near], points[:, None])
    distance = np.linalg.norm((barycentric[..., None] * corners[near]).sum(2) - points[:, None], axis=-1)
    best = distance.argmin(1)
    rows = np.arange(len(points))
    return chosen[near[rows, best]].astype(np.int32), barycentric[rows, best].astype(np.float32)


def _nearest_in_triangle(corners: F64, points: F64) -> F64:
    """Barycentric coordinates [..., 3] of the point of each triangle [..., 3, 3] that is nearest to `points` [..., 3].

    The foot of the perpendicular where it lies inside, else the best of the three edges' nearest points.
    """
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    uw, vw = (u * w).sum(-1), (v * w).sum(-1)
    area = np.maximum(uu * vv - uv * uv, 1e-24)
    second, third = (vv * uw - uv * vw) / area, (uu * vw - uv * uw) / area
    options = [np.stack([1 - second - third, second, third], -1)]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        edge = corners[..., j, :] - corners[..., i, :]
        along = ((points - corners[..., i, :]) * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-24)
        option = np.zeros_like(options[0])
        option[..., j] = np.clip(along, 0, 1)
        option[..., i] = 1 - option[..., j]
        options.append(option)
    stacked = np.stack(options)
    distance = np.linalg.norm((stacked[..., None] * corners).sum(-2) - points, axis=-1)
    distance[0] = np.where((options[0] >= 0).all(-1), distance[0], np.inf)
    return np.asarray(np.take_along_axis(stacked, distance.argmin(0)[None, ..., None], 0)[0])
