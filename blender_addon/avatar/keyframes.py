"""Posing and keying an avatar from arrays: expressions as shape keys, joint rotations as bones, written in bulk.

Rotations come as the contract has them (axis-angle in the parent's frame, +Y up) and become XYZ Euler angles of the
bones, continuous over time. Actions are written through whatever this Blender offers: slots (4.4 and newer) or plain
F-curves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import bpy
import numpy as np
from mathutils import Euler, Matrix, Quaternion, Vector

from ..protocol import Driver, LookalikeError
from ..protocol.avatar import F32
from .build import BlenderAvatar
from .controls import Channel, expression_channels, expression_names, set_expressions
from .frames import points_to_blender


def motion_to_keys(
    avatar: BlenderAvatar,
    frames: Sequence[float] | np.ndarray,
    expressions: Mapping[str, F32],
    pose: F32 | None = None,
    interpolation: str = "LINEAR",
) -> list[str]:
    """Key a motion, replacing keys in its range of frames and leaving the others.

    Args:
        frames: [T] increasing frame numbers, fractions allowed.
        expressions: [T] values of each named expression.
        pose: [T, J, 3] axis-angle of the rig's joints in the rig's order, radians; None leaves the bones alone.
        interpolation: between keys; LINEAR for dense motion, BEZIER for a few keys to be eased.
    Returns:
        Names in `expressions` that the avatar does not have: not keyed.
    Raises:
        LookalikeError: lengths do not agree, or a value is not finite.
    """
    frames = np.asarray(frames, np.float32)
    joints = avatar.joint_names
    _check_motion(frames, expressions, pose, len(joints))
    names = set(expression_names(avatar.collection))
    for name in expressions.keys() & names:
        key_expression(avatar, name, frames, expressions[name], interpolation)
    if pose is not None:
        for joint, rotations in zip(joints, np.moveaxis(np.asarray(pose, np.float32), 1, 0), strict=False):
            key_joint(avatar, joint, frames, rotations, interpolation)
    return sorted(expressions.keys() - names)


def key_expression(avatar: BlenderAvatar, name: str, frames: np.ndarray, values: F32, interpolation: str = "BEZIER") -> None:
    """Key one expression: values [T] at frames [T]."""
    key_channel(expression_channels(avatar.collection)[name], frames, values, interpolation)


def key_channel(channel: Channel, frames: np.ndarray, values: F32, interpolation: str = "BEZIER") -> None:
    """Key one control: values [T] at frames [T]."""
    group = "Expressions" if channel.path == "value" else channel.holder.name
    write_action_curve(channel.owner, channel.rna_path, 0, group, frames, values, interpolation)


def key_joint(avatar: BlenderAvatar, joint: str, frames: np.ndarray, rotations: F32, interpolation: str = "BEZIER") -> None:
    """Key one joint: axis-angle [T, 3] in its parent's frame (+Y up), radians."""
    armature = avatar.armature
    angles = bone_angles(armature.data.bones[joint], rotations)
    armature.pose.bones[joint].rotation_mode = "XYZ"
    path = f'pose.bones["{bpy.utils.escape_identifier(joint)}"].rotation_euler'
    for axis in range(3):
        write_action_curve(armature, path, axis, joint, frames, angles[:, axis], interpolation)


def pose_avatar(avatar: BlenderAvatar, expression: Mapping[str, float], pose: F32 | None = None) -> None:
    """Set sliders and bones without keying; expressions that are not named become 0. `pose` [J, 3] as `Driver.pose`."""
    set_expressions(avatar.collection, expression, clear=expression_channels(avatar.collection))
    if pose is not None:
        armature = avatar.armature
        for joint, rotation in zip(avatar.joint_names, np.asarray(pose, np.float32), strict=False):
            posed = armature.pose.bones[joint]
            posed.rotation_mode = "XYZ"
            posed.rotation_euler = bone_angles(posed.bone, rotation[None])[0].tolist()


def apply_driver(avatar: BlenderAvatar, driver: Driver) -> None:
    """Pose the avatar as in one of its portraits."""
    pose_avatar(avatar, driver.expression, driver.pose)


def bone_angles(bone: bpy.types.Bone, rotations: F32) -> F32:
    """[T, 3] axis-angle in the avatar's frame -> [T, 3] XYZ Euler angles in the bone's own axes, continuous over T."""
    rest = bone.matrix_local.to_3x3()
    inverse = rest.transposed()
    angles = np.empty((len(rotations), 3), np.float32)
    previous = Euler((0, 0, 0), "XYZ")
    for i, rotation in enumerate(points_to_blender(np.asarray(rotations, np.float32))):
        previous = (inverse @ _turn(rotation) @ rest).to_euler("XYZ", previous)
        angles[i] = previous
    return angles


def _turn(rotation: F32) -> Matrix:
    angle = float(np.linalg.norm(rotation))
    if angle < 1e-9:
        return Matrix.Identity(3)
    return Quaternion(Vector(rotation.tolist()) / angle, angle).to_matrix()


def _check_motion(frames: np.ndarray, expressions: Mapping[str, F32], pose: F32 | None, joints: int) -> None:
    if frames.ndim != 1 or not len(frames) or (np.diff(frames) <= 0).any():
        raise LookalikeError("the motion's frame numbers do not increase")
    for name, values in expressions.items():
        if np.shape(values) != frames.shape or not np.isfinite(values).all():
            raise LookalikeError(f"motion of {name!r}: needs {len(frames)} finite values, one a frame")
    if pose is not None:
        shape = np.shape(pose)
        if len(shape) != 3 or shape[0] != len(frames) or shape[1] > joints or shape[2] != 3 or not np.isfinite(pose).all():
            raise LookalikeError(f"the motion's pose has shape {shape}, not [{len(frames)}, up to {joints}, 3] of finite angles")


def write_action_curve(
    owner: bpy.types.ID, path: str, index: int, group: str, frames: np.ndarray, values: np.ndarray, interpolation: str
) -> None:
    """Write one F-curve's keys at once; keys that lay between the first and the last frame are replaced."""
    curve = _curve(owner, path, index, group)
    points = curve.keyframe_points
    for point in reversed(list(points)):
        if frames[0] <= point.co[0] <= frames[-1]:
            points.remove(point, fast=True)
    start = len(points)
    points.add(len(frames))
    _fill(points, start, "co", np.stack([frames, values], 1))
    _fill(points, start, "interpolation", _enum_value(bpy.types.Keyframe, "interpolation", interpolation))
    for side in ("handle_left_type", "handle_right_type"):
        _fill(points, start, side, _enum_value(bpy.types.Keyframe, side, "AUTO_CLAMPED"))
    if start:
        points.sort()
    curve.update()


def move_curves(source: bpy.types.ID, target: bpy.types.ID, paths: Mapping[str, str], group: str) -> int:
    """Move F-curves from one data-block's action to another's, keys as they are; `paths` tells the new path of each old one.

    Returns:
        How many there were.
    """
    moved = 0
    for old in action_curves(source):
        if old.data_path not in paths:
            continue
        new = _curve(target, paths[old.data_path], 0, group)
        new.keyframe_points.add(len(old.keyframe_points))
        for name, width, kind in _KEY_PROPERTIES:
            values = np.empty((len(old.keyframe_points), width), kind)
            old.keyframe_points.foreach_get(name, values.ravel())
            new.keyframe_points.foreach_set(name, values.ravel())
        new.extrapolation = old.extrapolation
        new.update()
        moved += 1
    if moved:
        source.animation_data.action.use_fake_user = True
        source.animation_data.action = None
    return moved


_KEY_PROPERTIES = (
    ("co", 2, np.float32),
    ("handle_left_type", 1, np.int32),
    ("handle_right_type", 1, np.int32),
    ("handle_left", 2, np.float32),
    ("handle_right", 2, np.float32),
    ("interpolation", 1, np.int32),
)


def action_curves(owner: bpy.types.ID) -> list[bpy.types.FCurve]:
    """The F-curves by which a data-block's active action animates it, whatever this Blender keeps them in."""
    data = owner.animation_data
    if data is None or data.action is None:
        return []
    if not hasattr(data.action, "layers"):
        return list(data.action.fcurves)
    bags = [bag for layer in data.action.layers for strip in layer.strips for bag in strip.channelbags]
    return [curve for bag in bags if bag.slot == data.action_slot for curve in bag.fcurves]


def _fill(points: bpy.types.FCurveKeyframePoints, start: int, name: str, values: np.ndarray | int) -> None:
    """Set a property of all points from `start` on; foreach_set takes whole collections, so what lies before is read first."""
    width, kind = (2, np.float32) if name == "co" else (1, np.int32)
    whole = np.empty((len(points), width), kind)
    points.foreach_get(name, whole.ravel())
    whole[start:] = values
    points.foreach_set(name, whole.ravel())


def _curve(owner: bpy.types.ID, path: str, index: int, group: str) -> bpy.types.FCurve:
    """The F-curve of one channel, made where it does not exist."""
    data = owner.animation_data or owner.animation_data_create()
    if data.action is None:
        data.action = bpy.data.actions.new(f"{owner.name} motion")
    ensure = bpy.types.Action.bl_rna.functions.get("fcurve_ensure_for_datablock")
    if ensure is None:  # before slots (4.4)
        return data.action.fcurves.find(path, index=index) or data.action.fcurves.new(path, index=index, action_group=group)
    if "group_name" in ensure.parameters:
        return data.action.fcurve_ensure_for_datablock(owner, path, index=index, group_name=group)
    curve = data.action.fcurve_ensure_for_datablock(owner, path, index=index)
    curve.group = data.action.groups.get(group) or data.action.groups.new(group)
    return curve


def _enum_value(kind: type, name: str, identifier: str) -> int:
    return kind.bl_rna.properties[name].enum_items[identifier].value
