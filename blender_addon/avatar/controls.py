"""What an animator touches: the expressions and bones of an avatar, ready for a panel."""

from __future__ import annotations

import bpy

from .parts import armature_of, head_of

BoneControl = tuple[bpy.types.PoseBone, int, str]
"""Pose bone, index into its `rotation_euler`, and what that rotation does."""

_BONES = (
    ("Neck", "neck", ((0, "Nod"), (1, "Turn"), (2, "Tilt"))),
    ("Jaw", "jaw", ((0, "Open"), (2, "Sideways"))),
    ("Left Eye", "eye_left", ((0, "Up / Down"), (2, "Left / Right"))),
    ("Right Eye", "eye_right", ((0, "Up / Down"), (2, "Left / Right"))),
)


def expression_keys(avatar: bpy.types.Collection | bpy.types.Object) -> list[bpy.types.ShapeKey]:
    """The expressions of an avatar, or of its head: shape keys without the Basis. Empty where the head is gone."""
    head = avatar if isinstance(avatar, bpy.types.Object) else head_of(avatar)
    if head is None or head.data.shape_keys is None:
        return []
    return list(head.data.shape_keys.key_blocks)[1:]


def bone_controls(collection: bpy.types.Collection) -> list[tuple[str, list[BoneControl]]]:
    """Heading and controls of each standard bone that the avatar has. Budget: 50 microseconds, it is called by a panel's draw."""
    armature = armature_of(collection)
    if armature is None:
        return []
    bones = armature.pose.bones
    return [
        (heading, [(bones[name], index, label) for index, label in axes])
        for heading, name, axes in _BONES
        if name in bones
    ]  # fmt: skip


def reset_pose(collection: bpy.types.Collection, expressions: bool = True, bones: bool = True) -> None:
    """Return expressions and bones to the neutral face; keys stay."""
    if expressions:
        for key in expression_keys(collection):
            key.value = 0.0
    armature = armature_of(collection)
    if bones and armature is not None:
        for bone in armature.pose.bones:
            bone.matrix_basis.identity()
