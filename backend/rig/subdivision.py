"""Midpoint subdivision of triangle meshes in the vertex order of PyTorch3D's SubdivideMeshes.

OMG-Avatar (sec. 9) and LAM subdivide FLAME this way, so their per-vertex features depend on the order: old vertices
keep their index, and the vertex on an edge gets V + the edge's rank among the sorted unique edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

SMOOTHING = 0.35
"""How far `smoothed_subdivision_matrix` moves new vertices toward their neighbours' mean."""


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
    matrix = sp.identity(vertex_count, format="csr", dtype=np.float64)
    for _ in range(levels):
        faces, edges = subdivide(faces, vertex_count)
        matrix = (_midpoints(edges, vertex_count) @ matrix).tocsr()
        vertex_count += len(edges)
    return matrix, faces


def smoothed_subdivision_matrix(faces: NDArray[Any], vertex_count: int, levels: int) -> tuple[sp.csr_matrix, NDArray[Any]]:
    """As `subdivision_matrix`, but each level's new vertices move part of the way to their neighbours' mean.

    Old vertices stay. Takes the facets out of displayed surfaces; not for networks that expect midpoints.
    """
    matrix = sp.identity(vertex_count, format="csr", dtype=np.float64)
    for _ in range(levels):
        faces, edges = subdivide(faces, vertex_count)
        total = vertex_count + len(edges)
        is_new = np.concatenate([np.zeros(vertex_count), np.ones(len(edges))])
        relax = sp.identity(total) - sp.diags(SMOOTHING * is_new) @ _umbrella(faces, total)
        matrix = (relax @ _midpoints(edges, vertex_count) @ matrix).tocsr()
        vertex_count = total
    return matrix, faces


def _midpoints(edges: NDArray[Any], vertex_count: int) -> sp.csr_matrix:
    count = len(edges)
    half = sp.coo_matrix((np.full(2 * count, 0.5), (np.repeat(np.arange(count), 2), edges.ravel())), (count, vertex_count))
    return sp.vstack([sp.identity(vertex_count, format="csr"), half.tocsr()]).tocsr()


def _umbrella(faces: NDArray[Any], count: int) -> sp.csr_matrix:
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    adjacency = sp.coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (count, count)).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(np.float64)
    degree = np.asarray(adjacency.sum(1)).ravel()
    return (sp.identity(count) - sp.diags(1 / np.maximum(degree, 1)) @ adjacency).tocsr()
