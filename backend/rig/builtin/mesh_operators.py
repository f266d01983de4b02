"""Differential operators and grids on triangle meshes that the built-in head is made with. NumPy and SciPy, float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from numpy.typing import NDArray

Points = NDArray[np.float64]
Faces = NDArray[np.int64]
Index = NDArray[np.int64]


def half_edges(faces: Faces) -> Faces:
    """[3F, 2] directed edges."""
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def umbrella(count: int, faces: Faces) -> sp.csr_matrix:
    """[V, V] uniform Laplacian: value minus the neighbours' mean."""
    edges = half_edges(faces)
    ones = np.ones(len(edges))
    adjacency = sp.coo_matrix((ones, (edges[:, 0], edges[:, 1])), (count, count)).tocsr()
    adjacency = adjacency.maximum(adjacency.T)
    degree = np.asarray(adjacency.sum(1)).ravel()
    return sp.csr_matrix(sp.identity(count) - sp.diags(1 / np.maximum(degree, 1)) @ adjacency)


def cotangent_laplacian(vertices: Points, faces: Faces) -> tuple[sp.csr_matrix, Points]:
    """Stiffness matrix [V, V] (positive semi-definite) and lumped mass [V] (Pinkall and Polthier 1993)."""
    count = len(vertices)
    stiffness = sp.csr_matrix((count, count))
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        u = vertices[faces[:, b]] - vertices[faces[:, a]]
        v = vertices[faces[:, c]] - vertices[faces[:, a]]
        cotangent = (u * v).sum(1) / np.maximum(np.linalg.norm(np.cross(u, v), axis=1), 1e-12)
        half = np.clip(cotangent, -3, 10) / 2
        stiffness = stiffness + sp.coo_matrix((half, (faces[:, b], faces[:, c])), (count, count)).tocsr()
    stiffness = stiffness + stiffness.T
    laplacian = sp.diags(np.asarray(stiffness.sum(1)).ravel()) - stiffness
    corner = vertices[faces]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1) / 2
    mass = np.bincount(faces.ravel(), np.repeat(area / 3, 3), count)
    return laplacian.tocsr(), np.maximum(mass, 1e-12)


def solve_with_fixed(energy: Any, fixed: Index, values: Points) -> Points:
    """The field [V, C] that minimises x' energy x with the given values [K, C] at the `fixed` vertices."""
    count = energy.shape[0]
    is_free = np.ones(count, bool)
    is_free[fixed] = False
    free = np.flatnonzero(is_free)
    rows = sp.csr_matrix(energy)[free].tocsc()
    system = rows[:, free] + 1e-10 * sp.identity(len(free))
    solution = np.zeros((count, values.shape[1]))
    solution[fixed] = values
    solution[free] = sla.splu(system.tocsc()).solve(-(rows[:, fixed] @ values))
    return solution


def ring_grid(columns: int, rows: int, flip: bool = False) -> Faces:
    """Triangles between `rows` closed rings of `columns` vertices; diagonals mirror about column 0 (columns even)."""
    faces = []
    for row in range(rows - 1):
        for column in range(columns):
            a, b = row * columns + column, row * columns + (column + 1) % columns
            c, d = a + columns, b + columns
            rising = (row + min(column, columns - 1 - column)) % 2 == 0
            if column >= columns // 2:
                rising = not rising
            faces += [(a, b, d), (a, d, c)] if rising else [(a, b, c), (b, d, c)]
    grid = np.array(faces, np.int64)
    return grid[:, ::-1] if flip else grid


def ring_mirror(columns: int, rows: int) -> Index:
    """[rows * columns] partner of each ring vertex when column 0 and column columns / 2 lie on the middle plane."""
    partner = (-np.arange(columns)) % columns
    return (np.arange(rows)[:, None] * columns + partner).ravel()


def outward(vertices: Points, faces: Faces) -> Faces:
    """The faces of a closed part, flipped if its signed volume is negative."""
    corner = vertices[faces] - vertices.mean(0)
    volume = (np.cross(corner[:, 0], corner[:, 1]) * corner[:, 2]).sum()
    return faces if volume > 0 else faces[:, ::-1]


def smoothstep(t: Points) -> Points:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)
