"""Splats without a rig, and turning them from one program's axes to another's."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from ..avatar import F32, SplatArrays
from ..binding import quaternion_product, quaternions, rotation_matrices
from .harmonics import rotate_harmonics

Axes = Literal["y-down", "rdf", "y-up", "z-up"]
"""How a file's frame lies. Both of the first two have y down: "y-down" is half a turn about z, which SuperSplat and other
viewers of captures undo, so that a face looks along +z; "rdf" is half a turn about x, the camera's frame of COLMAP, gsplat
and the spz tools, in which a face looks along -z. "y-up" is glTF's and the avatar's own, "z-up" Blender's (face along -y)."""

_TO_Y_UP = {
    "y-down": np.diag([-1.0, -1.0, 1.0]),
    "rdf": np.diag([1.0, -1.0, -1.0]),
    "y-up": np.eye(3),
    "z-up": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}


class SplatCloud(NamedTuple):
    """Splats without a rig: position [N, 3], rotation [N, 4] unit wxyz, scale [N, 3] linear, opacity [N], sh [N, K, 3]."""

    position: F32
    rotation: F32
    scale: F32
    opacity: F32
    sh: F32

    @staticmethod
    def of(splats: SplatArrays) -> SplatCloud:
        """The cloud of bound splats; their binding is left behind."""
        return SplatCloud(splats.position, splats.rotation, splats.scale, splats.opacity, splats.sh)

    def take(self, keep: np.ndarray) -> SplatCloud:
        """The splats that an index or a mask [N] names."""
        return SplatCloud(*(np.ascontiguousarray(field[keep]) for field in self))


def turn_cloud(cloud: SplatCloud, rotation: np.ndarray, scale: float = 1.0) -> SplatCloud:
    """Turn a whole cloud about the origin by a proper rotation [3, 3] and scale it; view-dependent colour turns along."""
    matrix = np.asarray(rotation, np.float64)
    turn = np.broadcast_to(quaternions(matrix[None].astype(np.float32)), cloud.rotation.shape)
    return cloud._replace(
        position=np.ascontiguousarray(scale * cloud.position @ matrix.T, np.float32),
        rotation=np.ascontiguousarray(quaternion_product(turn, cloud.rotation), np.float32),
        scale=np.ascontiguousarray(scale * cloud.scale, np.float32),
        sh=rotate_harmonics(cloud.sh, matrix.astype(np.float32)),
    )


def transform_cloud(cloud: SplatCloud, matrix: np.ndarray) -> SplatCloud:
    """Move a cloud by an affine transform [4, 4], uneven scale and mirroring included.

    The transformed Gaussian is exact: A R S = U S' V, so that U holds its new axes and S' its new sizes.
    """
    matrix = np.asarray(matrix, np.float64)
    linear = matrix[:3, :3]
    u, _, vh = np.linalg.svd(linear)
    turn = u @ vh  # nearest rotation or reflection: how view-dependent colour turns
    size = np.cbrt(abs(np.linalg.det(linear)))
    if np.linalg.det(turn) > 0 and np.allclose(linear, size * turn, atol=1e-6 * size):
        moved = turn_cloud(cloud, turn, size)
    else:
        axes, scale, _ = np.linalg.svd(linear @ (rotation_matrices(cloud.rotation) * cloud.scale[:, None, :]))
        axes[:, :, 2] *= np.linalg.det(axes)[:, None]
        moved = cloud._replace(
            position=(cloud.position @ linear.T).astype(np.float32),
            rotation=quaternions(axes.astype(np.float32)),
            scale=np.maximum(scale, 1e-9).astype(np.float32),
            sh=rotate_harmonics(cloud.sh, turn.astype(np.float32)),
        )
    return moved._replace(position=(moved.position + matrix[:3, 3]).astype(np.float32))


def change_axes(cloud: SplatCloud, source: Axes, target: Axes) -> SplatCloud:
    """The same cloud in another frame."""
    if source == target:
        return cloud
    return turn_cloud(cloud, _TO_Y_UP[target].T @ _TO_Y_UP[source])


def half_turn(cloud: SplatCloud) -> SplatCloud:
    """Turn by pi about Z; its own inverse. A harmonic of order m changes sign by (-1)^m."""
    w, x, y, z = cloud.rotation.T
    # (0, 0, 0, 1) times the quaternion; negating twice gives the same rotation back.
    rotation = np.stack([-z, -y, x, w], 1)
    orders = np.array([m for degree in range(4) for m in range(-degree, degree + 1)])[: cloud.sh.shape[1]]
    signs = np.where(orders % 2 == 0, 1.0, -1.0).astype(np.float32)
    return cloud._replace(
        position=cloud.position * np.array([-1, -1, 1], np.float32), rotation=rotation.astype(np.float32), sh=cloud.sh * signs[:, None]
    )  # fmt: skip
