"""Where a rig's ears are, for rigs whose file does not say: what stands out from the side of the head."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve
from scipy.spatial import ConvexHull, KDTree

from backend.rig.normals import vertex_normals

from .cotangent import cotangent_laplacian

F64 = NDArray[np.float64]

SIDES = {"ear_left": (454, 263, 334), "ear_right": (234, 33, 105)}
"""Landmarks of each side: before the ear, the eye's outer corner, the brow."""
NOSE_BASE = 2
EYE_CORNERS = (33, 263)
EYE_SPAN = 0.09
"""Metres between the eyes' outer corners that the lengths here are for."""
BEFORE, BEHIND, BELOW, ABOVE = 0.012, 0.065, 0.030, 0.012
"""Metres around the landmarks: the box that holds the ear."""
OUTWARD = 0.8
"""How far out the box begins, of the way from the middle to the landmark before the ear."""
STANDS_OUT = 0.004
LEAST = 12


def ear_labels(vertices: NDArray, faces: NDArray, landmarks: F64) -> dict[str, NDArray[np.int32]]:
    """Vertices of ear_left and ear_right; an ear that cannot be told is left out.

    In a box beside the head the surface is replaced by the thin plate that continues what is around it: the ear is what lies
    `STANDS_OUT` from it. Pieces of the mesh that lie in that box are ears as a whole.

    Args:
        vertices: [V, 3] the template, metres; faces: [F, 3].
        landmarks: [468, 3] on it.
    """
    points = vertices.astype(np.float64)
    unit = float(np.linalg.norm(landmarks[EYE_CORNERS[0]] - landmarks[EYE_CORNERS[1]])) / EYE_SPAN
    laplacian, area = cotangent_laplacian(points, faces)
    energy = (laplacian @ sp.diags(1 / area) @ laplacian).tocsr()
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = sp.csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (len(points),) * 2)
    piece = connected_components(graph, directed=False)[1]
    labels = {}
    for name, (side, _, brow) in SIDES.items():
        before, sign = landmarks[side], np.sign(landmarks[side, 0])
        box = points[:, 0] * sign > OUTWARD * abs(before[0])
        box &= (points[:, 1] > landmarks[NOSE_BASE, 1] - BELOW * unit) & (points[:, 1] < landmarks[brow, 1] + ABOVE * unit)
        box &= (points[:, 2] > before[2] - BEHIND * unit) & (points[:, 2] < before[2] + BEFORE * unit)
        ear = _small_pieces(piece, box)
        if not ear.any():
            ear = _standing_out(points, faces, energy, box, STANDS_OUT * unit)
            ear = _outlined(_main_part(ear, graph), points, box)
        if ear.sum() >= LEAST:
            labels[name] = np.flatnonzero(ear).astype(np.int32)
    return labels


def _small_pieces(piece: NDArray, box: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[V] pieces of the mesh most of whose vertices lie in the box."""
    return (np.bincount(piece, box) > 0.5 * np.bincount(piece))[piece]


def _standing_out(points: F64, faces: NDArray, energy: sp.csr_matrix, box: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """[V] vertices in the box farther than `least` outside the thin plate over it."""
    out = np.zeros(len(points), bool)
    free, fixed = np.flatnonzero(box), np.flatnonzero(~box)
    if not len(free):
        return out
    rows = energy[free]
    plate = points.copy()
    plate[free] = np.asarray(spsolve(rows[:, free].tocsc(), -(rows[:, fixed] @ points[fixed])))
    # Against the nearest point of the plate, along its normal: the plate's points also slide within it.
    _, nearest = KDTree(plate).query(points[free])
    out[free] = ((points[free] - plate[nearest]) * vertex_normals(plate, faces)[nearest]).sum(1) > least
    return out


def _main_part(ear: NDArray[np.bool_], graph: sp.csr_matrix) -> NDArray[np.bool_]:
    """[V] the largest connected part, grown by one ring."""
    index = np.flatnonzero(ear)
    main = np.zeros(len(ear), bool)
    if len(index):
        part = connected_components(graph[index][:, index], directed=False)[1]
        main[index[part == np.bincount(part).argmax()]] = True
    return main | ((graph + graph.T) @ main.astype(np.float64) > 0)


def _outlined(ear: NDArray[np.bool_], points: F64, box: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[V] and what its outline, seen from the side, encloses: the concha, which does not stand out."""
    if ear.sum() < LEAST:
        return ear
    outline = ConvexHull(points[ear][:, 1:]).equations
    return ear | (box & (points[:, 1:] @ outline[:, :2].T + outline[:, 2] <= 0).all(1))
