"""A rig as a clay bust: shaded pictures of its mesh in which the tracker sees a face, and what surface each pixel shows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.rig.normals import vertex_normals
from backend.rig.rig import Rig
from backend.splats.camera import orbit_camera
from backend.splats.mesh_raster import interpolate, rasterize_mesh

F32, I32 = NDArray[np.float32], NDArray[np.int32]

SIZE = 384
SUPERSAMPLING = 2
MARGIN = 1.5
"""Height of the picture over the head's."""
CLAY, BACKGROUND, HOLLOW = np.array([0.74, 0.60, 0.52], np.float32), 0.82, 0.12
AMBIENT = 0.35
LIGHTS = ((np.array([-0.35, -0.55, -0.75]), 0.45), (np.array([0.65, -0.25, -0.70]), 0.25))
"""Soft key and fill: directions towards them in the camera's frame (x right, y down, z forward), and strengths."""


@dataclass(frozen=True)
class ClayView:
    """One picture of a rig.

    Attributes:
        image: [S, S, 3] 0..1, S = `SIZE`.
        face_id, barycentric: [P, P] and [P, P, 3] of the nearest triangle, P = `SIZE` * `SUPERSAMPLING`; -1 where none.
        depth: [P, P] metres, infinite where there is nothing. pixel: metres that a pixel spans at the head.
        facing: [P, P] cosine between the surface's normal and the direction to the camera; negative on back sides.
    """

    image: F32
    face_id: I32
    barycentric: F32
    depth: F32
    facing: F32
    pixel: float


def clay_view(rig: Rig, vertices: F32, yaw: float, pitch: float, hollow: NDArray[np.bool_]) -> ClayView:
    """Render posed vertices [V, 3] of a rig.

    Args:
        yaw, pitch: degrees, as `orbit_camera`.
        hollow: [F] faces inside the mouth, drawn dark; so are back sides, which an open mouth without a lining shows.
    """
    head = vertices[rig.weights[:, 0] < 0.5]
    points = head if len(head) else vertices
    low, high = points.min(0), points.max(0)
    resolution = SIZE * SUPERSAMPLING
    extent = MARGIN * float((high - low)[:2].max())
    camera = orbit_camera(yaw, pitch, resolution, (low + high) / 2, extent)
    face_id, barycentric, depth = rasterize_mesh(camera.pixels(vertices), rig.faces, resolution, resolution)
    normals = vertex_normals(vertices, rig.faces) @ camera.world_to_camera[:3, :3].T
    normal = interpolate(face_id, barycentric, rig.faces, normals)
    normal /= np.sqrt(np.maximum(np.einsum("hwk,hwk->hw", normal, normal), 1e-12))[..., None]
    facing = -np.einsum("hwk,hwk->hw", normal, _rays(camera.intrinsics, resolution))
    light = np.full(facing.shape, AMBIENT, np.float32)
    for direction, strength in LIGHTS:
        # Half-Lambert: soft, without a terminator that the landmark net could take for an edge.
        light += strength * (0.5 + 0.5 * (normal @ (direction / np.linalg.norm(direction)).astype(np.float32))) ** 2
    light[(facing <= 0) | hollow[face_id]] = HOLLOW
    picture = np.where((face_id >= 0)[..., None], CLAY * light[..., None], BACKGROUND).astype(np.float32)
    image = cv2.resize(np.clip(picture, 0, 1), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    facing = np.where(face_id >= 0, facing, -1).astype(np.float32)
    return ClayView(np.asarray(image, np.float32), face_id, barycentric, depth, facing, extent / resolution)


def _rays(intrinsics: F32, size: int) -> F32:
    """[P, P, 3] unit directions from the camera through the pixels' centres."""
    at = (np.arange(size, dtype=np.float32) + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
    rays = np.stack([*np.meshgrid(at, at), np.ones((size, size), np.float32)], -1)
    return rays / np.sqrt(np.einsum("hwk,hwk->hw", rays, rays))[..., None]
