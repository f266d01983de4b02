"""Vertex normals of posed meshes, on NumPy and torch."""

from __future__ import annotations

from typing import Any

import numpy as np


def vertex_normals(vertices: Any, faces: Any) -> Any:
    """Unit normals, the mean of the faces around each vertex weighted by their area.

    Args:
        vertices: [*b, V, 3], NumPy or torch (differentiable).
        faces: [F, 3] integers, counter-clockwise from outside, in the same library or NumPy.
    Returns:
        [*b, V, 3]; zero where a vertex has no face or only degenerate ones.
    """
    if isinstance(vertices, np.ndarray):
        return _numpy_normals(vertices, np.asarray(faces))
    import torch

    index = torch.as_tensor(faces, device=vertices.device).long()
    a, b, c = (vertices[..., index[:, k], :] for k in range(3))
    area = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for k in range(3):
        total = total.index_add(-2, index[:, k], area)
    return total / torch.linalg.vector_norm(total, dim=-1, keepdim=True).clamp_min(1e-20)


def _numpy_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[..., faces[:, k], :] for k in range(3))
    area = np.cross(b - a, c - a)
    count = vertices.shape[-2]
    flat = np.repeat(area, 3, axis=-2).reshape(-1, faces.size, 3)
    sums = [[np.bincount(faces.ravel(), one[:, axis], count) for axis in range(3)] for one in flat]
    total = np.moveaxis(np.array(sums, vertices.dtype), 1, 2).reshape(vertices.shape)
    return total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-20)
