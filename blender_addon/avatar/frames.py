"""From the avatar's frame (+Y up, face along +Z) to Blender's (+Z up, face along -Y), once, at import. No bpy.

The change is a rotation by +90 degrees about X: (x, y, z) -> (x, -z, y). Everything is still in metres.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..protocol import RigArrays, SplatArrays
from ..protocol.avatar import F32
from ..protocol.binding import quaternion_product
from ..protocol.interchange.harmonics import rotate_harmonics

TO_BLENDER = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
"""[3, 3] rotation taking avatar coordinates to Blender coordinates (column vectors)."""

_HALF = np.float32(np.sqrt(0.5))
_TO_BLENDER_QUATERNION = np.array([[_HALF, _HALF, 0, 0]], np.float32)


def points_to_blender(points: F32) -> F32:
    """Turn positions, displacements or axis-angle vectors [..., 3] into Blender's frame."""
    return np.ascontiguousarray(np.stack([points[..., 0], -points[..., 2], points[..., 1]], -1), np.float32)


def points_from_blender(points: F32) -> F32:
    """Inverse of `points_to_blender`."""
    return np.ascontiguousarray(np.stack([points[..., 0], points[..., 2], -points[..., 1]], -1), np.float32)


def rig_to_blender(rig: RigArrays) -> RigArrays:
    """The same rig in Blender's frame."""
    return replace(
        rig,
        vertices=points_to_blender(rig.vertices),
        joints=points_to_blender(rig.joints),
        expressions=points_to_blender(rig.expressions),
    )


def splats_to_blender(splats: SplatArrays) -> SplatArrays:
    """The same splats in Blender's frame: positions, rotations and view-dependent colour turn, the rest stays."""
    turned = quaternion_product(np.broadcast_to(_TO_BLENDER_QUATERNION, splats.rotation.shape), splats.rotation)
    return replace(
        splats,
        position=points_to_blender(splats.position),
        rotation=np.ascontiguousarray(turned, np.float32),
        sh=rotate_harmonics(splats.sh, TO_BLENDER),
    )


def splats_from_blender(splats: SplatArrays) -> SplatArrays:
    """Inverse of `splats_to_blender`."""
    back = _TO_BLENDER_QUATERNION * np.float32([1, -1, -1, -1])
    turned = quaternion_product(np.broadcast_to(back, splats.rotation.shape), splats.rotation)
    return replace(
        splats,
        position=points_from_blender(splats.position),
        rotation=np.ascontiguousarray(turned, np.float32),
        sh=rotate_harmonics(splats.sh, TO_BLENDER.T),
    )
