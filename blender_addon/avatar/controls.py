"""What an animator touches: the controls of an avatar, ready for a panel, a script or keys.

With a face board (`face_board`) a control is a property of a pose bone; avatars of older files that have none are posed by their
shape keys. Everything here works for both.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

import bpy

from ..motion.arkit import split_side
from ..protocol import LookalikeError
from .control_drivers import control_path, drive_bones, drive_expressions
from .face_board import ARKIT, FACE, FOLLOW, GAZE, GAZE_SIDES, OFFSETS, WEIGHT, add_board_bones, has_board, pairs
from .parts import armature_of, head_of

BoneControl = tuple[bpy.types.PoseBone, int, str]
"""Pose bone, index into its `rotation_euler`, and what that rotation does."""

_BONES = (
    ("Neck", "neck", ((0, "Nod"), (1, "Turn"), (2, "Tilt"))),
    ("Jaw", "jaw", ((0, "Open"), (2, "Sideways"))),
    ("Left Eye", "eye_left", ((0, "Up / Down"), (2, "Left / Right"))),
    ("Right Eye", "eye_right", ((0, "Up / Down"), (2, "Left / Right"))),
)

LAYERS = (FACE, ARKIT)


class Channel(NamedTuple):
    """One animatable value: the struct that holds it, its path from there, and the ID and path by which it is keyed."""

    holder: bpy.types.bpy_struct
    path: str
    owner: bpy.types.ID
    rna_path: str


def expression_keys(avatar: bpy.types.Collection | bpy.types.Object) -> list[bpy.types.ShapeKey]:
    """The expressions of an avatar, or of its head: shape keys without the Basis. Empty where the head is gone."""
    head = avatar if isinstance(avatar, bpy.types.Object) else head_of(avatar)
    if head is None or head.data.shape_keys is None:
        return []
    return list(head.data.shape_keys.key_blocks)[1:]


def expression_channels(collection: bpy.types.Collection, layer: str = FACE) -> dict[str, Channel]:
    """Name -> channel of each control in a layer, those for both sides included. Budget: 200 microseconds, a panel's draw calls it."""
    armature = armature_of(collection)
    if not has_board(armature):
        if layer != FACE:
            return {}
        keys = expression_keys(collection)
        escape = bpy.utils.escape_identifier
        return {key.name: Channel(key, "value", key.id_data, f'key_blocks["{escape(key.name)}"].value') for key in keys}
    bone = armature.pose.bones[layer]
    names = [name for name in bone.keys() if name != WEIGHT]  # noqa: SIM118 - bones are not dicts
    return {name: Channel(bone, f'["{name}"]', armature, control_path(layer, name)) for name in names}


def gaze_bones(collection: bpy.types.Collection) -> list[bpy.types.PoseBone]:
    """The gaze target and its two sides; empty without a face board."""
    armature = armature_of(collection)
    names = (GAZE, *GAZE_SIDES.values())
    return [armature.pose.bones[name] for name in names] if has_board(armature) else []


def add_controls(collection: bpy.types.Collection) -> bool:
    """Give an avatar its face board; one that has it is left as it is. Values and keys of its shape keys move to the controls.

    Returns:
        Whether one was added.
    Raises:
        LookalikeError: the avatar is linked, has lost a part, or its armature has bones of these names; nothing is changed.
    """
    armature, head = armature_of(collection), head_of(collection)
    if armature is None or head is None:
        raise LookalikeError(f"{collection.name}: has lost its rig", "undo the deletion or import the avatar again")
    if has_board(armature):
        return False
    if not armature.is_editable or not armature.data.is_editable:
        raise LookalikeError(f"{collection.name}: is linked from another file", "add the face controls in the file it comes from")
    from .keyframes import move_curves

    keys = expression_keys(collection)
    names = [key.name for key in keys]
    if armature.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    add_board_bones(armature, head, names)
    for key in keys:
        armature.pose.bones[FACE][key.name] = key.value
    if keys:
        moved = {f'key_blocks["{bpy.utils.escape_identifier(name)}"].value': control_path(FACE, name) for name in names}
        move_curves(head.data.shape_keys, armature, moved, FACE)
        drive_expressions(armature, keys)
    drive_bones(armature, names)
    # The Dope Sheet shows the keys of selected bones only, in Object Mode too.
    select_bones(armature, set(armature.pose.bones.keys()) - set(OFFSETS.values()))
    armature.update_tag()
    return True


def select_bones(armature: bpy.types.Object, names: Container[str], extend: bool = False) -> None:
    """Select bones by name, and deselect the others unless `extend`."""
    for bone in armature.pose.bones:
        # The selection of bones moved from the armature to the pose in Blender 5.0.
        holder = bone if hasattr(bone, "select") else bone.bone
        if not extend or bone.name in names:
            holder.select = bone.name in names


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


def expression_names(collection: bpy.types.Collection) -> list[str]:
    """Names of the rig's expressions."""
    return [key.name for key in expression_keys(collection)]


def get_expressions(collection: bpy.types.Collection) -> dict[str, float]:
    """Value of each control of the face layer that is not 0."""
    return {name: value for name, channel in expression_channels(collection).items() if (value := get_value(channel))}


def set_expressions(
    collection: bpy.types.Collection, values: Mapping[str, float], layer: str = FACE, clear: Iterable[str] = ()
) -> list[str]:
    """Set controls by name; those named in `clear` and not in `values` become 0.

    A pair with the same value on both sides is set by its one control, as the symmetric view shows it.

    Returns:
        Names that the avatar does not have.
    """
    channels = expression_channels(collection, layer)
    values = {**dict.fromkeys(clear, 0.0), **values}
    folded = fold_pairs(values, channels)
    for name in folded.keys() & channels.keys():
        set_value(channels[name], folded[name])
    _tag(collection)
    return sorted(folded.keys() - channels.keys())


def fold_pairs(values: Mapping[str, float], channels: Mapping[str, Channel]) -> dict[str, float]:
    """Values of left and right that are equal, as one of both sides, where `channels` has such a control."""
    folded = dict(values)
    for stem, (left, right) in pairs([name for name in values if split_side(name)[1]]).items():
        if stem in channels:
            same = values[left] == values[right]
            folded |= {stem: values[left], left: 0.0, right: 0.0} if same else {stem: 0.0}
    return folded


def reset_pose(collection: bpy.types.Collection, expressions: bool = True, bones: bool = True) -> None:
    """Return expressions and bones to the neutral face; keys stay."""
    if expressions:
        for layer in LAYERS:
            for channel in expression_channels(collection, layer).values():
                set_value(channel, 0.0)
    armature = armature_of(collection)
    if bones and armature is not None:
        for bone in armature.pose.bones:
            bone.matrix_basis.identity()
        if has_board(armature):
            armature.pose.bones[GAZE][FOLLOW] = 0.0
    _tag(collection)


def get_value(channel: Channel) -> float:
    """What a control stands at."""
    return channel.holder.value if channel.path == "value" else channel.holder[channel.path[2:-2]]


def set_value(channel: Channel, value: float) -> None:
    """Set a control; tag the armature afterwards."""
    if channel.path == "value":
        channel.holder.value = value
    else:
        channel.holder[channel.path[2:-2]] = float(value)


def _tag(collection: bpy.types.Collection) -> None:
    """Custom properties that a script sets do not tell the dependency graph."""
    armature = armature_of(collection)
    if armature is not None:
        armature.update_tag()
