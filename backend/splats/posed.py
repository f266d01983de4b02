"""An avatar's splats, moved by its rig."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from backend.protocol.avatar import F32, Avatar, Driver, SplatArrays
from backend.protocol.binding import bind, deform
from backend.protocol.color_basis import tinted
from backend.protocol.errors import RigError
from backend.rig import pose_vertices


class Posable:
    """The splats of one level of detail, bound once and posed as often as needed."""

    def __init__(self, avatar: Avatar, lod: int) -> None:
        """Bind.

        Raises:
            RigError: the avatar has no such level.
        """
        if not 0 <= lod < len(avatar.lods):
            raise RigError(f"{avatar.name}: no level of detail {lod}", f"choose 0 to {len(avatar.lods) - 1}")
        self.avatar = avatar
        self.rest = avatar.splats(lod)
        self._local = bind(avatar.rig, self.rest)

    def pose(self, expression: Mapping[str, float] | None = None, pose: F32 | None = None) -> SplatArrays:
        """Splats in a pose and in its colours; bindings stay, spherical harmonics above degree 0 stay in the rest frame.

        Args:
            expression: value of each named expression; a missing name is 0.
            pose: [J, 3] axis-angle of each joint in its parent's frame, radians; None is the rest pose.

        Raises:
            RigError: an expression that the rig does not have, or a pose of another shape.
        """
        rig = self.avatar.rig
        joints = np.zeros((len(rig.joints), 3), np.float32) if pose is None else np.asarray(pose, np.float32)
        if joints.shape != (len(rig.joints), 3):
            raise RigError(f"a pose of shape {joints.shape} does not fit the {len(rig.joints)} joints of {rig.rig_id}")
        position, rotation, scale = deform(self._local, pose_vertices(rig, expression or {}, joints))
        moved = replace(self.rest, position=position, rotation=rotation, scale=scale)
        basis = self.avatar.color_basis
        return moved if basis is None else tinted(moved, basis.weights(rig.joint_names, expression or {}, joints))


def pose_splats(
    avatar: Avatar, lod: int, driver: Driver | None = None, *, expression: Mapping[str, float] | None = None, pose: F32 | None = None
) -> SplatArrays:
    """Head and shoulders of one level posed by a driver, or by an expression and a pose (see `Posable.pose`)."""
    if driver is not None:
        expression, pose = driver.expression, driver.pose
    return Posable(avatar, lod).pose(expression, pose)


def joint_pose(avatar: Avatar, **rotations: tuple[float, float, float]) -> F32:
    """A pose [J, 3] from joints by name, radians: ``joint_pose(avatar, jaw=(0.2, 0, 0))``.

    Raises:
        RigError: the rig has no such joint.
    """
    pose = np.zeros((len(avatar.rig.joints), 3), np.float32)
    for name, rotation in rotations.items():
        if name not in avatar.rig.joint_names:
            raise RigError(f"{avatar.rig.rig_id} has no joint {name!r}", f"it has {', '.join(avatar.rig.joint_names)}")
        pose[avatar.rig.joint_names.index(name)] = rotation
    return pose
