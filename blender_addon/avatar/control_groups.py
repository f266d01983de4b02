"""Groups of controls keyed, reset or muted at once, and bones selected: what the face board's buttons do."""

from __future__ import annotations

from collections.abc import Iterable

import bpy

from ..protocol import LookalikeError
from .controls import Channel, expression_keys, select_bones, set_value
from .face_board import CONTROLS, pairs
from .parts import armature_of


def key_channels(channels: Iterable[Channel], frame: float) -> int:
    """Insert a keyframe on each; returns how many were."""
    count = 0
    for channel in channels:
        group = channel.rna_path.split('"')[1] if channel.rna_path.startswith("pose.bones") else "Expressions"
        count += channel.holder.keyframe_insert(channel.path, frame=frame, group=group)
    return count


def reset_channels(channels: Iterable[Channel]) -> None:
    """Set each to zero."""
    for channel in channels:
        set_value(channel, 0.0)
        channel.owner.update_tag()


def mute_expressions(collection: bpy.types.Collection, names: Iterable[str]) -> bool:
    """Mute the shape keys of these names, or unmute them where all are muted. Returns whether they are muted now."""
    wanted = set(names)
    keys = [key for key in expression_keys(collection) if key.name in wanted]
    muted = not all(key.mute for key in keys)
    for key in keys:
        key.mute = muted
    return muted


def moved_by(collection: bpy.types.Collection) -> dict[str, list[bpy.types.ShapeKey]]:
    """Control of the face layer -> the shape keys that it moves: one, or both sides. Budget: 200 microseconds, a panel calls it."""
    keys = {key.name: key for key in expression_keys(collection)}
    sides = {stem: [keys[name] for name in both] for stem, both in pairs(list(keys)).items()}
    return sides | {name: [key] for name, key in keys.items()}


def select_bone(context: bpy.types.Context, collection: bpy.types.Collection, name: str, extend: bool = False) -> None:
    """Make a bone the active, selected one in Pose Mode; its bone collection is shown.

    Raises:
        LookalikeError: there is no such bone, or the armature is hidden.
    """
    armature = armature_of(collection)
    if armature is None or name not in armature.pose.bones:
        raise LookalikeError(f"{collection.name}: has no bone called “{name}”", "add the face controls first")
    if not armature.visible_get():
        raise LookalikeError(f"{armature.name}: is hidden", "show the armature first")
    if context.view_layer.objects.active != armature or armature.mode != "POSE":
        if context.mode != "OBJECT":
            bpy.ops.object.mode_set(mode="OBJECT")
        context.view_layer.objects.active = armature
        armature.select_set(True)
        bpy.ops.object.mode_set(mode="POSE")
    for group in armature.data.collections:
        if group.name == CONTROLS:
            group.is_visible = True
    select_bones(armature, {name}, extend)
    armature.data.bones.active = armature.data.bones[name]
