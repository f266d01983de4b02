"""How a splat follows its triangle: the one definition that the backend and Blender's nodes share.

A triangle p0 p1 p2 has the frame x = e1/|e1|, z = e1 x e2 / |e1 x e2|, y = z x x, with e1 = p1 - p0,
e2 = p2 - p0, its base |e1| and its height |e1 x e2| / |e1|. When it deforms,

    stretch k  = (base' / base, height' / height, sqrt(kx * ky))
    position   = sum(barycentric * p') + R' (k * offset)
    rotation   = R' * local rotation
    scale_i    = scale_i * | k * axis_i |        (axis_i: the splat's i-th axis in the triangle's frame)

where offset and local rotation are the rest values in the rest frame. At rest this returns the rest
splats. A splat whose axes lie along the frame's axes is stretched exactly; shear is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .avatar import F32, I32, RigArrays, SplatArrays


@dataclass(frozen=True)
class TriangleFrames:
    """Frames of N triangles: `rotation` [N, 3, 3] with the axes as columns, `base` [N], `height` [N], metres."""

    rotation: F32
    base: F32
    height: F32


@dataclass(frozen=True)
class LocalSplats:
    """Splats in their triangles' frames.

    Attributes:
        triangle: [N, 3] rig vertex of each corner.
        barycentric: [N, 3].
        offset: [N, 3] centre minus the barycentric point, in the frame, metres at rest.
        rotation: [N, 4] wxyz, local rotation.
        scale: [N, 3] metres at rest.
        axes_squared: [N, 3, 3]; row i holds the squared components of the splat's axis i in the frame.
        base, height: [N] of the triangle at rest, metres.
    """

    triangle: I32
    barycentric: F32
    offset: F32
    rotation: F32
    scale: F32
    axes_squared: F32
    base: F32
    height: F32


def triangle_frames(corners: F32) -> TriangleFrames:
    """Frames of triangles given as corners [N, 3 corners, 3]; degenerate ones get a finite, arbitrary frame."""
    e1 = corners[:, 1] - corners[:, 0]
    normal = np.cross(e1, corners[:, 2] - corners[:, 0])
    base = np.maximum(np.linalg.norm(e1, axis=1), 1e-9)
    area2 = np.maximum(np.linalg.norm(normal, axis=1), 1e-15)
    x = e1 / base[:, None]
    z = normal / area2[:, None]
    rotation = np.stack([x, np.cross(z, x), z], axis=2)
    return TriangleFrames(rotation.astype(np.float32), base.astype(np.float32), (area2 / base).astype(np.float32))


def bind(rig: RigArrays, splats: SplatArrays) -> LocalSplats:
    """Express rest splats in the frames of their rest triangles."""
    triangle = rig.faces[splats.face]
    corners = rig.vertices[triangle]
    frames = triangle_frames(corners)
    anchor = np.einsum("nk,nkd->nd", splats.barycentric, corners)
    offset = np.einsum("nji,nj->ni", frames.rotation, splats.position - anchor)
    local = np.einsum("nji,njk->nik", frames.rotation, rotation_matrices(splats.rotation))
    return LocalSplats(
        triangle=triangle,
        barycentric=splats.barycentric,
        offset=offset.astype(np.float32),
        rotation=quaternions(local),
        scale=splats.scale,
        axes_squared=np.ascontiguousarray(np.swapaxes(local, 1, 2) ** 2, np.float32),
        base=frames.base,
        height=frames.height,
    )


def deform(local: LocalSplats, vertices: F32) -> tuple[F32, F32, F32]:
    """Move bound splats with the rig's deformed vertices [V, 3].

    Returns:
        position [N, 3], rotation [N, 4] wxyz, scale [N, 3].
    """
    corners = vertices[local.triangle]
    frames = triangle_frames(corners)
    kx = frames.base / local.base
    ky = frames.height / local.height
    k = np.stack([kx, ky, np.sqrt(kx * ky)], axis=1)
    anchor = np.einsum("nk,nkd->nd", local.barycentric, corners)
    position = anchor + np.einsum("nij,nj->ni", frames.rotation, k * local.offset)
    rotation = quaternion_product(quaternions(frames.rotation), local.rotation)
    scale = local.scale * np.sqrt(np.einsum("nij,nj->ni", local.axes_squared, k * k))
    return position.astype(np.float32), rotation, scale.astype(np.float32)


def rotation_matrices(q: F32) -> F32:
    """[N, 4] wxyz, any length -> [N, 3, 3]."""
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    m = np.empty((len(q), 3, 3), q.dtype)
    m[:, 0, 0], m[:, 0, 1], m[:, 0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    m[:, 1, 0], m[:, 1, 1], m[:, 1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    m[:, 2, 0], m[:, 2, 1], m[:, 2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    return m


def quaternions(m: F32) -> F32:
    """[N, 3, 3] proper rotations -> [N, 4] wxyz, by the largest of the four components (Shepperd 1978)."""
    d = np.diagonal(m, axis1=1, axis2=2)
    trace = d.sum(1)
    squares = 1 + np.stack([trace, 2 * d[:, 0] - trace, 2 * d[:, 1] - trace, 2 * d[:, 2] - trace], 1)
    pick = squares.argmax(1)
    wx, wy, wz = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    xy, xz, yz = m[:, 0, 1] + m[:, 1, 0], m[:, 0, 2] + m[:, 2, 0], m[:, 1, 2] + m[:, 2, 1]
    rows = np.stack(
        [
            np.stack([squares[:, 0], wx, wy, wz], 1),
            np.stack([wx, squares[:, 1], xy, xz], 1),
            np.stack([wy, xy, squares[:, 2], yz], 1),
            np.stack([wz, xz, yz, squares[:, 3]], 1),
        ],
        1,
    )
    q = rows[np.arange(len(m)), pick]
    return (q / np.linalg.norm(q, axis=1, keepdims=True)).astype(np.float32)


def quaternion_product(a: F32, b: F32) -> F32:
    """Hamilton product of wxyz quaternions [N, 4]: first b, then a."""
    aw, ax, ay, az = a.T
    bw, bx, by, bz = b.T
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        1,
    )
