"""The network's Gaussians as an avatar's splats: native, coloured by their first three channels, bound to the rig's triangles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from backend.models.networks import METRE, GaussianAttributes, ellipsoids
from backend.protocol.avatar import F32, I32, SH_C0, RigArrays, SplatArrays


def vertex_bindings(faces: NDArray[np.integer], vertices: int, level: int) -> tuple[I32, F32]:
    """Where each vertex of a subdivided mesh lies on the mesh itself.

    Args:
        faces: [F, 3] of the mesh; vertices: V; level: how often it is subdivided.
    Returns:
        face [N] and barycentric coordinates [N, 3] in it, in the order of `MeshLevels`. A vertex that no triangle has is given
        the first one's first corner.
    """
    from backend.rig.subdivision import subdivide

    child = np.asarray(faces)
    owner = np.arange(len(child))
    corners = np.broadcast_to(np.eye(3), (len(child), 3, 3))
    for _ in range(level):
        child, edges = subdivide(child, vertices)
        vertices += len(edges)
        a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        # The order of `subdivide`: at v0, at v1, at v2, middle; e0 = v1v2, e1 = v2v0, e2 = v0v1.
        quarters = [(a, ab, ca), (b, bc, ab), (c, ca, bc), (bc, ca, ab)]
        corners = np.concatenate([np.stack(quarter, 1) for quarter in quarters])
        owner = np.tile(owner, 4)
    face, barycentric = np.zeros(vertices, np.int32), np.tile(np.array([1, 0, 0], np.float32), (vertices, 1))
    index = child.reshape(-1)
    face[index] = np.repeat(owner, 3)
    barycentric[index] = corners.reshape(-1, 3)
    return face, barycentric


def head_splats(rig: RigArrays, attributes: GaussianAttributes, face: I32, barycentric: F32) -> SplatArrays:
    """One splat a vertex of the subdivided rig, in the rest pose."""
    corners = rig.vertices[rig.faces[face]]
    return _splats(np.einsum("nk,nkd->nd", barycentric, corners), attributes, face, barycentric)


def shoulder_splats(rig: RigArrays, points: Tensor, attributes: GaussianAttributes) -> SplatArrays:
    """Splats beside the head, bound to the nearest triangle that the root alone moves, so that they stay when the neck turns.

    Args:
        points: [1, m, 3] world units.
    """
    position = points[0].cpu().numpy() / METRE
    still = rig.weights[:, 0][rig.faces].min(1)
    carriers = np.flatnonzero(still > min(0.9999, still.max() - 1e-6))
    centres = rig.vertices[rig.faces[carriers]].mean(1)
    face = carriers[KDTree(centres).query(position)[1]] if len(position) else np.zeros(0)
    return _splats(position, attributes, face.astype(np.int32), np.full((len(position), 3), 1 / 3, np.float32))


def _splats(position: NDArray, attributes: GaussianAttributes, face: I32, barycentric: F32) -> SplatArrays:
    rotation, scale = ellipsoids(attributes)
    color = attributes.colors[0, :, :3].clamp(0, 1).cpu().numpy()
    return SplatArrays(
        position=np.ascontiguousarray(position, np.float32),
        rotation=rotation,
        scale=scale,
        opacity=np.ascontiguousarray(attributes.opacities[0, :, 0].clamp(0, 1).cpu().numpy(), np.float32),
        sh=np.ascontiguousarray(((color - 0.5) / SH_C0)[:, None], np.float32),
        face=np.ascontiguousarray(face, np.int32),
        barycentric=np.ascontiguousarray(barycentric, np.float32),
    )
