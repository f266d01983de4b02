"""The face as it stands, as plain values: copied, pasted onto any avatar, mirrored, blended.

Blender's own Copy Pose and Paste Flipped know bones, not the sides of properties on one bone; this does both.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import bpy
from mathutils import Euler, Matrix, Vector

from ..motion.arkit import split_side
from ..protocol import LookalikeError
from .controls import LAYERS, expression_channels, get_value, set_value
from .face_board import FACE, FOLLOW, GAZE, GAZE_SIDES, has_board
from .parts import armature_of

TURNED, MOVED = ("neck", "jaw", "eye_left", "eye_right"), (GAZE, *GAZE_SIDES.values())
"""Bones that are posed by their rotation, and by their location."""

SWAPPED_WHOLES = {"jawLeft": "jawRight", "mouthLeft": "mouthRight"}
"""Motions to one side that are no halves of a pair, and their mirror images."""
SWAPPED_WHOLES |= {right: left for left, right in SWAPPED_WHOLES.items()}

_MARK, _VERSION = "lookalike_face", 1
_MIRROR = Matrix(((-1, 0, 0), (0, 1, 0), (0, 0, 1)))
"""The avatar's plane of symmetry is x = 0 of its armature."""

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class FacePose:
    """Values of an avatar's controls.

    Attributes:
        controls: layer -> control -> value.
        turns: bone -> XYZ Euler angles in its own axes, radians.
        places: bone -> location in its own axes, metres.
        follow: how much the eyes follow the gaze target.
    """

    controls: dict[str, dict[str, float]] = field(default_factory=dict)
    turns: dict[str, Triple] = field(default_factory=dict)
    places: dict[str, Triple] = field(default_factory=dict)
    follow: float = 0.0


def read_face(collection: bpy.types.Collection) -> FacePose:
    """The avatar's face, head, eyes and gaze as they stand."""
    armature = armature_of(collection)
    controls = {layer: {n: get_value(c) for n, c in expression_channels(collection, layer).items()} for layer in LAYERS}
    if armature is None:
        return FacePose(controls)
    bones = armature.pose.bones
    turns = {name: _angles(bones[name]) for name in TURNED if name in bones}
    places = {name: tuple(bones[name].location) for name in MOVED if name in bones}
    return FacePose(controls, turns, places, float(bones[GAZE][FOLLOW]) if has_board(armature) else 0.0)


def write_face(collection: bpy.types.Collection, pose: FacePose, strength: float = 1.0) -> None:
    """Set what the avatar has of a pose, or move towards it by `strength`."""
    armature = armature_of(collection)
    for layer, values in pose.controls.items():
        channels = expression_channels(collection, layer)
        for name in values.keys() & channels.keys():
            before = get_value(channels[name])
            set_value(channels[name], before + strength * (values[name] - before))
    if armature is None:
        return
    bones = armature.pose.bones
    for name, angles in pose.turns.items():
        if name in bones:
            bone = bones[name]
            aim, at = Euler(angles, "XYZ").to_quaternion(), Euler(_angles(bone), "XYZ").to_quaternion()
            bone.rotation_mode = "XYZ"
            bone.rotation_euler = at.slerp(aim, strength).to_euler("XYZ", bone.rotation_euler)
    for name, place in pose.places.items():
        if name in bones:
            bones[name].location = bones[name].location.lerp(Vector(place), strength)
    if has_board(armature):
        bones[GAZE][FOLLOW] += strength * (pose.follow - bones[GAZE][FOLLOW])
    armature.update_tag()


def mirrored(pose: FacePose, armature: bpy.types.Object) -> FacePose:
    """The pose as in a mirror: sides swapped, turns and places across the avatar's plane of symmetry."""
    controls = {layer: {name: values.get(other_side(name), 0.0) for name in values} for layer, values in pose.controls.items()}
    bones = armature.data.bones
    turns = {n: _turned_over(pose.turns[other_bone(n)], bones[other_bone(n)], bones[n]) for n in pose.turns if other_bone(n) in pose.turns}
    places = {n: _moved_over(pose.places[other_bone(n)], bones[other_bone(n)], bones[n]) for n in pose.places}
    return replace(pose, controls=controls, turns=turns, places=places)


def flip_face(collection: bpy.types.Collection, names: Collection[str] | None = None, layer: str = FACE) -> None:
    """Mirror the whole face with head, eyes and gaze, or only the controls `names` of one layer, the other sides of them included.

    Raises:
        LookalikeError: the avatar has lost its armature.
    """
    armature = armature_of(collection)
    if armature is None:
        raise LookalikeError(f"{collection.name}: has lost its rig", "undo the deletion or import the avatar again")
    flipped = mirrored(read_face(collection), armature)
    if names is not None:
        chosen = {*names, *map(other_side, names)}
        values = {name: value for name, value in flipped.controls[layer].items() if name in chosen}
        flipped = FacePose({layer: values}, follow=read_face(collection).follow)
    write_face(collection, flipped)


def other_side(name: str) -> str:
    """The control that mirrors `name`; itself for what has no sides."""
    if name in SWAPPED_WHOLES:
        return SWAPPED_WHOLES[name]
    _stem, side = split_side(name)
    if not side:
        return name
    if name.endswith(side):
        return name.removesuffix(side) + ("Right" if side == "Left" else "Left")
    return name[:-1] + ("R" if name.endswith("L") else "L")


def other_bone(name: str) -> str:
    """The bone that mirrors `name`."""
    return name.replace("left", "right") if "left" in name else name.replace("right", "left")


def as_text(pose: FacePose) -> str:
    """For the clipboard: one line of JSON."""
    values = {layer: {n: round(v, 6) for n, v in controls.items() if v} for layer, controls in pose.controls.items()}
    held = {"controls": values, "turns": pose.turns, "places": pose.places, "follow": pose.follow}
    return json.dumps({_MARK: _VERSION, **held})


def from_text(text: str) -> FacePose:
    """What `as_text` wrote; controls that it does not name stand at 0.

    Raises:
        LookalikeError: the clipboard holds something else.
    """
    try:
        held = json.loads(text)
        if held[_MARK] != _VERSION:
            raise ValueError
        controls = {str(layer): _numbers(values) for layer, values in held["controls"].items()}
        return FacePose(controls, _triples(held["turns"]), _triples(held["places"]), float(held["follow"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LookalikeError("There is no face on the clipboard", "copy one first") from error


def filled(pose: FacePose, collection: bpy.types.Collection) -> FacePose:
    """The pose with zeros for controls of the avatar that it does not name, so that pasting leaves nothing of the old face."""
    zeros = {layer: dict.fromkeys(expression_channels(collection, layer), 0.0) for layer in LAYERS}
    return replace(pose, controls={layer: {**zeros[layer], **pose.controls.get(layer, {})} for layer in LAYERS})


def _angles(bone: bpy.types.PoseBone) -> Triple:
    if bone.rotation_mode == "QUATERNION":
        return tuple(bone.rotation_quaternion.to_euler("XYZ"))
    return tuple(bone.rotation_euler)


def _turned_over(angles: Triple, source: bpy.types.Bone, target: bpy.types.Bone) -> Triple:
    """Angles in `source`'s axes as their mirror image in `target`'s."""
    there, here = source.matrix_local.to_3x3(), target.matrix_local.to_3x3()
    turn = there @ Euler(angles, "XYZ").to_matrix() @ there.transposed()
    return tuple((here.transposed() @ (_MIRROR @ turn @ _MIRROR) @ here).to_euler("XYZ"))


def _moved_over(place: Triple, source: bpy.types.Bone, target: bpy.types.Bone) -> Triple:
    return tuple(target.matrix_local.to_3x3().transposed() @ (_MIRROR @ (source.matrix_local.to_3x3() @ Vector(place))))


def _numbers(values: Mapping[str, object]) -> dict[str, float]:
    return {str(name): max(-10.0, min(10.0, float(value))) for name, value in values.items()}  # type: ignore[arg-type]


def _triples(values: Mapping[str, object]) -> dict[str, Triple]:
    triples = {}
    for name, value in values.items():
        x, y, z = (max(-100.0, min(100.0, float(v))) for v in value)  # type: ignore[union-attr]
        triples[str(name)] = (x, y, z)
    return triples
