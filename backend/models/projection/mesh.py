"""Operators on triangle meshes: edges, normals, Laplacians, and deformation from a few fixed vertices."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

F64 = NDArray[np.float64]


def edges(faces: NDArray) -> NDArray[np.int64]:
    """[E, 2] unique undirected edges, the smaller index first."""
    pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64), 1)
    count = int(faces.max()) + 1
    keys = np.unique(pairs[:, 0] * count + pairs[:, 1])
    return np.stack([keys // count, keys % count], 1)


def vertex_normals(vertices: NDArray, faces: NDArray) -> F64:
    """[V, 3] area-weighted unit normals; zero where a vertex has no face."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack([np.bincount(faces.ravel(), np.repeat(normal[:, axis], 3), len(vertices)) for axis in range(3)], 1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def graph_laplacian(pairs: NDArray, count: int, weights: NDArray | None = None) -> sp.csr_matrix:
    """[V, V] degree minus adjacency of an edge list [E, 2], positive semi-definite."""
    w = np.ones(len(pairs)) if weights is None else weights
    rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
    adjacency = sp.coo_matrix((np.concatenate([w, w]), (rows, columns)), (count, count)).tocsr()
    return sp.csr_matrix(sp.diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency)


def cotangent_laplacian(vertices: NDArray, faces: NDArray) -> tuple[sp.csr_matrix, F64]:
    """Positive semi-definite cotangent stiffness [V, V] and lumped masses [V] (Botsch and Sorkine 2008, eq. 11)."""
    count = len(vertices)
    rows, columns, values = [], [], []
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        u = vertices[faces[:, b]] - vertices[faces[:, a]]
        v = vertices[faces[:, c]] - vertices[faces[:, a]]
        cotangent = (u * v).sum(1) / np.maximum(np.linalg.norm(np.cross(u, v), axis=1), 1e-12)
        rows.append(faces[:, b])
        columns.append(faces[:, c])
        values.append(np.clip(cotangent, -3, 10) / 2)
    half = sp.coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (count, count)).tocsr()
    weights = half + half.T
    stiffness = sp.diags(np.asarray(weights.sum(1)).ravel()) - weights
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    mass = np.bincount(faces.ravel(), np.repeat(area / 3, 3), count)
    return stiffness.tocsr(), np.maximum(mass, 1e-12)


def bilaplacian(vertices: NDArray, faces: NDArray) -> sp.csr_matrix:
    """[V, V] thin-plate energy L M^-1 L."""
    stiffness, mass = cotangent_laplacian(vertices, faces)
    return (stiffness.T @ sp.diags(1 / mass) @ stiffness).tocsr()


def extend(energy: sp.csr_matrix, fixed: NDArray, values: NDArray) -> F64:
    """The field [V, K] of least energy that takes `values` [M, K] at the vertices `fixed` [M].

    Parts of the mesh without a fixed vertex get zero.
    """
    count = len(energy.diagonal())
    field = np.zeros((count, values.shape[1]))
    field[fixed] = values
    free = np.setdiff1d(np.arange(count), fixed)
    if len(free) == 0:
        return field
    rows = sp.csr_matrix(energy[free])
    matrix = sp.csr_matrix(rows[:, free])
    floor = 1e-9 * max(float(abs(matrix.diagonal()).mean()), 1e-12)
    field[free] = solve_symmetric(matrix + floor * sp.identity(len(free)), -(rows[:, fixed] @ values))
    return field


def solve_symmetric(matrix: sp.csr_matrix, right: NDArray) -> F64:
    """Solve a symmetric positive definite sparse system for all columns of `right` [V, K]."""
    factor = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return factor.solve(np.ascontiguousarray(right, np.float64))


def independent_set(edge: NDArray[np.int64], count: int, seed: int = 0) -> NDArray[np.bool_]:
    """[count] a maximal set of vertices of which no two share an edge [E, 2] (Luby 1986); the same for the same seed."""
    rank = np.random.default_rng(seed).permutation(count)
    chosen, open_ = np.zeros(count, bool), np.ones(count, bool)
    while open_.any():
        a, b = edge[open_[edge].all(1)].T
        highest = np.full(count, -1)
        np.maximum.at(highest, a, rank[b])
        np.maximum.at(highest, b, rank[a])
        new = open_ & (rank > highest)
        chosen |= new
        open_ &= ~new
        beside = edge[new[edge].any(1)]
        open_[beside.ravel()] = False
    return chosen
