"""The face board: bones whose custom properties are an avatar's controls, native and without Python when played.

    face    one property an expression of the rig, and one for both sides of a pair: `mouthSmile` adds to `mouthSmileLeft`
            and `mouthSmileRight`
    arkit   ARKit's 52 shapes over the same rig, and their weight: a captured performance lies here, hand work on `face` adds to it
    gaze    what the eyes look at where its `follow` is above 0

Shape keys and hidden bones are driven by sums of these. Being properties of pose bones, the controls take I, drivers, Dope
Sheet, NLA and pose assets, in one action with jaw, neck and eyes.
"""

from __future__ import annotations

from collections.abc import Sequence

import bpy
from mathutils import Vector

from ..motion.arkit import ARKIT_NAMES, split_side
from ..protocol import LookalikeError
from .board_shapes import dress_board
from .rig_objects import SLIDER_MAX, SLIDER_MIN, editing_bones

FACE, ARKIT, GAZE = "face", "arkit", "gaze"
WEIGHT, FOLLOW = "weight", "follow"
GAZE_SIDES = {"eye_left": "gaze_left", "eye_right": "gaze_right"}
OFFSETS = {"jaw": "arkit_jaw", "eye_left": "arkit_eye_left", "eye_right": "arkit_eye_right"}
"""Joint -> hidden bone that ARKit's jawOpen and eyeLook* turn; its rotation is added to the joint's own."""

CONTROLS, MECHANISM = "Face Board", "Face Mechanism"
"""Bone collections: what is clicked, and what is hidden."""

GAZE_DISTANCE = 2.0
"""How far before the eyes the gaze target lies, in heights of the rig mesh."""


def has_board(armature: bpy.types.Object | None) -> bool:
    """True where the avatar has a face board."""
    return armature is not None and armature.pose is not None and FACE in armature.pose.bones and ARKIT in armature.pose.bones


def pairs(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Name of the control for both sides -> (left, right) expressions. A rig that has an expression of that name gets none."""
    sides: dict[str, dict[str, str]] = {}
    for name in names:
        stem, side = split_side(name)
        if side:
            sides.setdefault(stem, {})[side] = name
    return {stem: (s["Left"], s["Right"]) for stem, s in sides.items() if len(s) == 2 and stem not in names}


def add_board_bones(armature: bpy.types.Object, head: bpy.types.Object, expressions: Sequence[str]) -> None:
    """Make the board's bones and properties; `armature` in Object Mode.

    Raises:
        LookalikeError: the armature already has a bone of one of these names, or lacks a joint.
    """
    bones = armature.data.bones
    ours = (FACE, ARKIT, GAZE, *GAZE_SIDES.values(), *OFFSETS.values())
    taken = [name for name in ours if name in bones]
    missing = [name for name in ("root", "neck", *OFFSETS) if name not in bones]
    if taken or missing:
        found = f"already has a bone called {taken[0]!r}" if taken else f"has no bone called {missing[0]!r}"
        raise LookalikeError(f"{armature.name}: {found}", "rename the bone" if taken else "undo its removal")
    _add_bones(armature, head)
    _sort_into_collections(armature.data)
    for name in ours:
        armature.pose.bones[name].rotation_mode = "XYZ"
        armature.data.bones[name].use_deform = False
    for name in (FACE, ARKIT):
        bone = armature.pose.bones[name]
        bone.lock_location = bone.lock_rotation = bone.lock_scale = (True, True, True)
    for name in (GAZE, *GAZE_SIDES.values()):
        bone = armature.pose.bones[name]
        bone.lock_rotation = bone.lock_scale = (True, True, True)
    dress_board(armature, head)
    _add_properties(armature, expressions)


def _add_bones(armature: bpy.types.Object, head: bpy.types.Object) -> None:
    corners = [Vector(corner) for corner in head.bound_box]
    low, high = (Vector([f(c[axis] for c in corners) for axis in range(3)]) for f in (min, max))
    size, width = high.z - low.z, high.x - low.x
    with editing_bones(armature) as bones:
        eyes = (bones["eye_left"].head + bones["eye_right"].head) / 2
        beside = Vector((high.x + 0.35 * width, eyes.y, eyes.z))
        up, forward = Vector((0, 0, 0.06 * size)), Vector((0, -0.06 * size, 0))
        _new_bone(bones, FACE, "neck", beside, beside + up)
        below = beside - Vector((0, 0, 0.42 * size))
        _new_bone(bones, ARKIT, "neck", below, below + up)
        target = Vector((eyes.x, eyes.y - GAZE_DISTANCE * size, eyes.z))
        _new_bone(bones, GAZE, "root", target, target + forward)
        for eye, name in GAZE_SIDES.items():
            place = Vector((bones[eye].head.x, target.y, bones[eye].head.z))
            _new_bone(bones, name, GAZE, place, place + forward)
        for joint, name in OFFSETS.items():
            model = bones[joint]
            bone = bones.new(name)
            bone.head, bone.tail, bone.roll, bone.parent = model.head, model.tail, model.roll, model.parent


def _new_bone(bones: bpy.types.ArmatureEditBones, name: str, parent: str, head: Vector, tail: Vector) -> None:
    """A bone whose X axis lies across the head."""
    bone = bones.new(name)
    bone.head, bone.tail, bone.parent = head, tail, bones[parent]
    bone.align_roll(Vector((1, 0, 0)).cross(tail - head))


def _sort_into_collections(armature: bpy.types.Armature) -> None:
    shown, hidden = armature.collections.new(CONTROLS), armature.collections.new(MECHANISM)
    hidden.is_visible = False
    for name in (FACE, ARKIT, GAZE, *GAZE_SIDES.values()):
        shown.assign(armature.bones[name])
    for name in OFFSETS.values():
        hidden.assign(armature.bones[name])


def _add_properties(armature: bpy.types.Object, expressions: Sequence[str]) -> None:
    face, arkit, gaze = (armature.pose.bones[name] for name in (FACE, ARKIT, GAZE))
    for stem, sides in pairs(expressions).items():
        _add_slider(face, stem, f"Both sides: adds to {sides[0]} and {sides[1]}")
    for name in expressions:
        _add_slider(face, name, f"Expression {name}: 0 is neutral, 1 in full; type a value to go beyond")
    for name in ARKIT_NAMES:
        _add_slider(arkit, name, f"ARKit's {name}, added to the expressions")
    _add_slider(arkit, WEIGHT, "How much of the ARKit layer shows: 0 mutes it", 1.0, (0.0, 2.0))
    _add_slider(gaze, FOLLOW, "How much the eyes follow the gaze target: 0 leaves them to their own rotation", 0.0, (0.0, 1.0))


def _add_slider(
    bone: bpy.types.PoseBone, name: str, description: str, default: float = 0.0, limits: tuple[float, float] = (SLIDER_MIN, SLIDER_MAX)
) -> None:
    """A property whose slider runs from 0 to 1, and that takes typed values within `limits`."""
    bone[name] = default
    shown = bone.id_properties_ui(name)
    shown.update(min=limits[0], max=limits[1], soft_min=0.0, soft_max=1.0, default=default, description=description, step=1.0, precision=2)
    bone.property_overridable_library_set(f'["{bpy.utils.escape_identifier(name)}"]', True)
