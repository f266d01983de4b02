"""Smooth normals of the rig at each splat, kept so that they turn with the splat's triangle. numpy only."""

from __future__ import annotations

import numpy as np

from ..protocol import triangle_frames
from ..protocol.avatar import F32, I32
from ..protocol.binding import rotation_matrices


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


def facing_normals(vertices: F32, faces: I32, face: I32, rotation: F32, scale: F32) -> F32:
    """[N, 3] unit normals in the frames of the splats' triangles, for splats off the rig's surface: their own flat sides.

    Args:
        rotation, scale: [N, 4] wxyz in those frames and [N, 3].
    """
    shortest = np.eye(3, dtype=np.float32)[scale.argmin(axis=1)]
    normal = np.einsum("nij,nj->ni", rotation_matrices(rotation), shortest)
    # Of the two sides the one that looks outwards: to the front and up, in Blender's frame.
    outwards = np.einsum("nji,j->ni", triangle_frames(vertices[faces]).rotation[face], np.float32([0.0, -0.9, 0.44]))
    return (normal * np.where(np.einsum("nc,nc->n", normal, outwards) < 0, -1, 1)[:, None]).astype(np.float32)


def _unit(vectors: F32) -> F32:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
