"""Triangles to pixels on the CPU: which face is nearest at each pixel centre, and where in it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from backend.protocol.avatar import F32, I32

from . import kernel_cache  # noqa: F401  (must run before numba is imported)

from numba import njit  # isort: skip

_COMPILE = {"cache": True, "nogil": True, "error_model": "numpy", "boundscheck": False}


def rasterize_mesh(
    vertices_px: NDArray, faces: NDArray, width: int, height: int, *, perspective: bool = True, cull_back: bool = False
) -> tuple[I32, F32, F32]:
    """Find the nearest triangle at every pixel centre (Pineda 1988, edge functions).

    Pixel centres are at +0.5; a centre on an edge belongs to both triangles and the nearer one, then the
    first one, wins. Triangles with a vertex at or behind the camera (depth <= 0, or not finite) are
    dropped whole: nothing is clipped.

    Args:
        vertices_px: [V, 3] x right, y down in pixels, and camera depth (> 0, any unit).
        faces: [F, 3] triangles.
        perspective: barycentrics and depth are interpolated in 3D (1 / depth is linear on the screen), as
            a pinhole camera needs; False interpolates linearly on the screen, as an orthographic one does.
        cull_back: drop triangles that are clockwise on the screen seen with y down, which is the back of
            the rig's triangles (counter-clockwise from outside) under an OpenCV camera.

    Returns:
        face_id: [height, width] index of the nearest triangle, -1 where there is none.
        barycentric: [height, width, 3] its barycentric coordinates, zeros where there is none.
        depth: [height, width] depth there, infinity where there is none.

    Raises:
        ValueError: wrongly shaped arrays, or a face that points outside the vertices.
    """
    vertices, triangles = _own(vertices_px, np.float32), _own(faces, np.int32)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f"vertices {vertices.shape} and faces {triangles.shape} must be [V, 3] and [F, 3]")
    if len(triangles) and not (triangles.min() >= 0 and triangles.max() < len(vertices)):
        raise ValueError(f"faces point outside the {len(vertices)} vertices")
    face_id = np.full((height, width), -1, np.int32)
    barycentric = np.zeros((height, width, 3), np.float32)
    depth = np.full((height, width), np.inf, np.float32)
    _fill_triangles(vertices, triangles, perspective, cull_back, face_id, barycentric, depth)
    return face_id, barycentric, depth


def interpolate(face_id: I32, barycentric: F32, faces: NDArray, attributes: NDArray, fill: float = 0.0) -> F32:
    """Blend per-vertex attributes over the pixels that `rasterize_mesh` found.

    Args:
        face_id, barycentric: [H, W] and [H, W, 3] from `rasterize_mesh`.
        faces: [F, 3] the same triangles.
        attributes: [V, K] or [V].
        fill: value of pixels without a face.

    Returns:
        [H, W, K] float32, or [H, W] for attributes [V].
    """
    values = _own(attributes, np.float32)
    flat = values.reshape(len(values), -1)
    image = np.full((*face_id.shape, flat.shape[1]), fill, np.float32)
    _blend_attributes(_own(face_id, np.int32), _own(barycentric, np.float32), _own(faces, np.int32), flat, image)
    return image.reshape(face_id.shape + values.shape[1:])


def triangle_corners(faces: NDArray, attributes: NDArray) -> tuple[I32, F32]:
    """Unshare the vertices: faces [F, 3] into new attributes [3 F, K], for attributes that jump at edges."""
    return np.arange(3 * len(faces), dtype=np.int32).reshape(-1, 3), np.ascontiguousarray(attributes[faces.reshape(-1)], np.float32)


def _own(array: NDArray, dtype: type) -> NDArray:
    """Contiguous and writable: to Numba a read-only array is another type, for which it would compile again."""
    return np.require(array, dtype, ["C", "W"])


@njit(**_COMPILE)
def _fill_triangles(vertices, triangles, perspective, cull_back, face_id, barycentric, depth):
    height, width = face_id.shape
    for index in range(len(triangles)):
        a, b, c = triangles[index]
        ax, ay, az = np.float64(vertices[a, 0]), np.float64(vertices[a, 1]), np.float64(vertices[a, 2])
        bx, by, bz = np.float64(vertices[b, 0]), np.float64(vertices[b, 1]), np.float64(vertices[b, 2])
        cx, cy, cz = np.float64(vertices[c, 0]), np.float64(vertices[c, 1]), np.float64(vertices[c, 2])
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        # `not (x > 0)` also drops NaN; y down turns counter-clockwise into a negative area.
        if not (az > 0.0 and bz > 0.0 and cz > 0.0 and abs(area) > 1e-12 and abs(area) < 1e30) or (cull_back and area > 0.0):
            continue
        x0 = math.ceil(min(max(min(ax, bx, cx) - 0.5, 0.0), float(width)))
        x1 = math.floor(max(min(max(ax, bx, cx) - 0.5, width - 1.0), -1.0))
        y0 = math.ceil(min(max(min(ay, by, cy) - 0.5, 0.0), float(height)))
        y1 = math.floor(max(min(max(ay, by, cy) - 0.5, height - 1.0), -1.0))
        if x0 > x1 or y0 > y1:
            continue
        inverse = 1.0 / area
        wa_dx, wa_dy = (by - cy) * inverse, (cx - bx) * inverse
        wb_dx, wb_dy = (cy - ay) * inverse, (ax - cx) * inverse
        # Depth, or its inverse, is one affine function of the pixel.
        da, db, dc = (1.0 / az, 1.0 / bz, 1.0 / cz) if perspective else (az, bz, cz)
        for y in range(y0, y1 + 1):
            dy = y + 0.5 - cy
            for x in range(x0, x1 + 1):
                dx = x + 0.5 - cx
                wa = wa_dx * dx + wa_dy * dy
                wb = wb_dx * dx + wb_dy * dy
                wc = 1.0 - wa - wb
                if wa < 0.0 or wb < 0.0 or wc < -1e-12:
                    continue
                value = wa * da + wb * db + wc * dc
                z = np.float32(1.0 / value if perspective else value)
                if z < depth[y, x]:
                    depth[y, x] = z
                    face_id[y, x] = index
                    if perspective:
                        wa, wb, wc = wa * da / value, wb * db / value, wc * dc / value
                    barycentric[y, x, 0] = wa
                    barycentric[y, x, 1] = wb
                    barycentric[y, x, 2] = wc


@njit(**_COMPILE)
def _blend_attributes(face_id, barycentric, triangles, attributes, image):
    height, width, channels = image.shape
    for y in range(height):
        for x in range(width):
            index = face_id[y, x]
            if index >= 0:
                a, b, c = triangles[index]
                wa, wb, wc = barycentric[y, x]
                for k in range(channels):
                    image[y, x, k] = wa * attributes[a, k] + wb * attributes[b, k] + wc * attributes[c, k]
