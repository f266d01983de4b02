"""Smooth normals of the rig at each splat, kept so that they turn with the splat's triangle. numpy only."""

from __future__ import annotations

import numpy as np

from ..protocol import triangle_frames
from ..protocol.avatar import F32, I32


def local_normals(vertices: F32, faces: I32, face: I32, barycentric: F32) -> F32:
    """[N, 3] unit normals in the frames of the splats' triangles.

    Args:
        vertices, faces: [V, 3] and [F, 3] of the rig at rest.
        face, barycentric: [N] and [N, 3] where each splat is bound.
    """
    corners = vertices[faces]
    weighted = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    smooth = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(smooth, faces[:, corner], weighted)
    normal = np.einsum("nk,nkc->nc", barycentric, _unit(smooth)[faces[face]])
    frames = triangle_frames(corners).rotation[face]
    return _unit(np.einsum("nji,nj->ni", frames, normal)).astype(np.float32)


def _unit(vectors: F32) -> F32:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
