"""Midpoint subdivision of triangle meshes in the vertex order of PyTorch3D's SubdivideMeshes.

OMG-Avatar (sec. 9) and LAM subdivide FLAME this way, so their per-vertex features depend on the order: old vertices
keep their index, and the vertex on an edge gets V + the edge's rank among the sorted unique edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


def subdivide(faces: Any, vertex_count: int) -> tuple[Any, Any]:
    """Split every triangle v0 v1 v2 into four at its edges' midpoints.

    Args:
        faces: [F, 3] integers, numpy or torch.
        vertex_count: V; midpoints are numbered from here.
    Returns:
        faces: [4 F, 3], first all corner triangles at v0, then at v1, at v2, then the middle ones:
            [v0, e2, e1], [v1, e0, e2], [v2, e1, e0], [e0, e1, e2] with e0 = v1v2, e1 = v2v0, e2 = v0v1.
        edges: [E, 2] ends of the edge of each new vertex, smaller first, in lexicographic order.
    Raises:
        ValueError: a face refers to a vertex outside 0..V-1.
    """
    if isinstance(faces, np.ndarray):
        return _subdivide(faces, vertex_count)
    child, edges = _subdivide(faces.detach().cpu().numpy(), vertex_count)
    return faces.new_tensor(child), faces.new_tensor(edges)


def _subdivide(faces: NDArray[Any], vertex_count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    if len(faces) and (faces.min() < 0 or faces.max() >= vertex_count):
        raise ValueError(f"faces refer to vertices {faces.min()}..{faces.max()} of a mesh with {vertex_count}")
    v0, v1, v2 = faces.astype(np.int64).T
    ends = np.sort(np.stack([np.concatenate([v1, v2, v0]), np.concatenate([v2, v0, v1])], 1), 1)
    keys, inverse = np.unique(ends[:, 0] * vertex_count + ends[:, 1], return_inverse=True)
    edges = np.stack([keys // vertex_count, keys % vertex_count], 1)
    e0, e1, e2 = vertex_count + inverse.reshape(3, -1)
    child = [(v0, e2, e1), (v1, e0, e2), (v2, e1, e0), (e0, e1, e2)]
    return np.concatenate([np.stack(c, 1) for c in child]).astype(faces.dtype), edges.astype(faces.dtype)


def subdivision_matrix(faces: NDArray[Any], vertex_count: int, levels: int) -> tuple[sp.csr_matrix, NDArray[Any]]:
    """The matrix [V', V] that subdivides any per-vertex array `levels` times, and the faces it leads to.

    New vertices are midpoints, as in the published networks. `levels` 0 gives the identity.
    """
    matrix = sp.identity(vertex_count, format="csr")
    for _ in range(levels):
        faces, edges = subdivide(faces, vertex_count)
        matrix = sp.csr_matrix(_midpoints(edges, vertex_count) @ matrix)
        vertex_count += len(edges)
    return sp.csr_matrix(matrix), faces


def smoothed_subdivision_matrix(faces: NDArray[Any], vertex_count: int, levels: int) -> tuple[sp.csr_matrix, NDArray[Any]]:
    """As `subdivision_matrix`, but new vertices continue the surface's curvature: the butterfly scheme.

    Dyn, Levin and Gregory 1990, tension 1/16; the four-point curve scheme on boundaries. Old vertices stay, so every
    level interpolates the mesh. For displayed surfaces; not for networks that expect midpoints.
    """
    matrix = sp.identity(vertex_count, format="csr")
    for _ in range(levels):
        child, edges = subdivide(faces, vertex_count)
        matrix = sp.csr_matrix(sp.vstack([sp.identity(vertex_count), _butterfly(faces, edges, vertex_count)]) @ matrix)
        faces, vertex_count = child, vertex_count + len(edges)
    return sp.csr_matrix(matrix), faces


def _butterfly(faces: NDArray[Any], edges: NDArray[Any], vertex_count: int) -> sp.csr_matrix:
    """[E, V] stencils of the new vertices."""
    opposite = _Opposite(faces, vertex_count)
    a, b = edges.astype(np.int64).T
    c, d = opposite(a, b), opposite(b, a)
    inner = (c >= 0) & (d >= 0)
    terms = [(a, 0.5, slice(None)), (b, 0.5, slice(None)), (c, 0.125, inner), (d, 0.125, inner)]
    for start, end, apex in ((b, c, a), (c, a, b), (a, d, b), (d, b, a)):
        outer = np.where(inner, opposite(np.where(inner, end, 0), np.where(inner, start, 0)), -1)
        found = inner & (outer >= 0)
        terms.append((outer, -1 / 16, found))
        lost = inner & ~found  # beyond the boundary: the parallelogram's fourth corner
        terms += [(start, -1 / 16, lost), (end, -1 / 16, lost), (apex, 1 / 16, lost)]
    rows, columns, weights = [], [], []
    index = np.arange(len(edges))
    for vertex, weight, where in terms:
        rows.append(index[where])
        columns.append(vertex[where])
        weights.append(np.full(len(rows[-1]), weight))
    stencil = sp.coo_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), (len(edges), vertex_count))
    return sp.csr_matrix(stencil + _boundary_correction(edges, ~inner, vertex_count))


def _boundary_correction(edges: NDArray[Any], on_boundary: NDArray[np.bool_], vertex_count: int) -> sp.coo_matrix:
    """[E, V] what turns the midpoint of a boundary edge into the four-point scheme: + 1/16 (a + b - before - after)."""
    ends = edges[on_boundary]
    neighbours: dict[int, list[int]] = {}
    for a, b in ends.tolist():
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    rows, columns, weights = [], [], []
    for row, (a, b) in zip(np.flatnonzero(on_boundary).tolist(), ends.tolist(), strict=True):
        before = [v for v in neighbours[a] if v != b]
        after = [v for v in neighbours[b] if v != a]
        if len(before) == len(after) == 1:
            rows += [row] * 4
            columns += [a, b, before[0], after[0]]
            weights += [1 / 16, 1 / 16, -1 / 16, -1 / 16]
    return sp.coo_matrix((weights, (rows, columns)), (len(edges), vertex_count))


class _Opposite:
    """Looks up the third vertex of the triangle on the left of a directed edge; -1 where there is none."""

    def __init__(self, faces: NDArray[Any], vertex_count: int) -> None:
        f = faces.astype(np.int64)
        keys = np.concatenate([f[:, 0] * vertex_count + f[:, 1], f[:, 1] * vertex_count + f[:, 2], f[:, 2] * vertex_count + f[:, 0]])
        order = np.argsort(keys, kind="stable")
        self.keys, self.third, self.count = keys[order], np.concatenate([f[:, 2], f[:, 0], f[:, 1]])[order], vertex_count

    def __call__(self, start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
        wanted = start * self.count + end
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.third[place], -1)


def _midpoints(edges: NDArray[Any], vertex_count: int) -> sp.csr_matrix:
    count = len(edges)
    half = sp.coo_matrix((np.full(2 * count, 0.5), (np.repeat(np.arange(count), 2), edges.ravel())), (count, vertex_count))
    return sp.csr_matrix(sp.vstack([sp.identity(vertex_count, format="csr"), half]))
