"""Drivers and constraints between the face board and what it moves. Sums of properties only, which Blender evaluates without Python.

The expressions are within what Blender calls simple: they run where scripts may not, on a farm too.
"""

from __future__ import annotations

from collections.abc import Sequence

import bpy

from ..motion.arkit import (
    BONE_SHAPES,
    JAW_OPEN_ANGLE,
    LOOK_DOWN_ANGLE,
    LOOK_IN_ANGLE,
    LOOK_OUT_ANGLE,
    LOOK_UP_ANGLE,
    arkit_name,
    shapes_of,
)
from .face_board import ARKIT, FACE, FOLLOW, GAZE, GAZE_SIDES, OFFSETS, WEIGHT, pairs

Variable = tuple[str, str, str]
"""Letter in the expression, bone, property."""


def drive_expressions(armature: bpy.types.Object, keys: Sequence[bpy.types.ShapeKey]) -> None:
    """Each shape key becomes the sum of its own control, that of both sides, and ARKit's. One that a user drives is left alone."""
    names = [key.name for key in keys]
    animation = keys[0].id_data.animation_data
    driven = {curve.data_path for curve in animation.drivers} if animation is not None else set()
    both = {side: stem for stem, sides in pairs(names).items() for side in sides}
    for key in keys:
        if key.path_from_id("value") in driven:
            continue
        variables: list[Variable] = [("s", FACE, key.name)]
        terms = ["s"]
        if key.name in both:
            variables.append(("b", FACE, both[key.name]))
            terms.append("b")
        shapes = shapes_of(key.name)
        if shapes:
            variables += [("w", ARKIT, WEIGHT), *((f"a{i}", ARKIT, shape) for i, shape in enumerate(shapes))]
            share = " + ".join(f"a{i}" for i in range(len(shapes)))
            terms.append(f"w * {share}" if len(shapes) == 1 else f"w * ({share}) / {len(shapes)}")
        _drive(key.driver_add("value"), armature, " + ".join(terms), variables)


def drive_bones(armature: bpy.types.Object, expressions: Sequence[str]) -> None:
    """ARKit's jawOpen and eyeLook* turn hidden bones, whose rotations are added to the joints' own; eyes can follow the gaze target."""
    bones = armature.pose.bones
    for eye, target in GAZE_SIDES.items():
        track = bones[eye].constraints.new("DAMPED_TRACK")
        track.name, track.target, track.subtarget, track.track_axis = "Gaze", armature, target, "TRACK_Y"
        _drive(track.driver_add("influence"), armature, "g", [("g", GAZE, FOLLOW)])
    for joint, name in OFFSETS.items():
        add = bones[joint].constraints.new("COPY_ROTATION")
        add.name, add.target, add.subtarget, add.mix_mode = "ARKit", armature, name, "AFTER"
        add.owner_space = add.target_space = "LOCAL"
    if not any(arkit_name(name) == "jawOpen" for name in expressions):
        _drive_rotation(armature, OFFSETS["jaw"], 0, f"w * {JAW_OPEN_ANGLE} * a", {"a": "jawOpen"})
    have = {arkit_name(name) for name in expressions}
    for eye, side, outward in (("eye_left", "Left", 1), ("eye_right", "Right", -1)):
        if have & {shape for shape in BONE_SHAPES if shape.startswith("eyeLook") and shape.endswith(side)}:
            continue
        up, down = f"eyeLookUp{side}", f"eyeLookDown{side}"
        _drive_rotation(armature, OFFSETS[eye], 0, f"w * ({LOOK_UP_ANGLE} * a - {LOOK_DOWN_ANGLE} * b)", {"a": up, "b": down})
        out, inner = f"eyeLookOut{side}", f"eyeLookIn{side}"
        turn = f"{outward} * w * ({LOOK_OUT_ANGLE} * a - {LOOK_IN_ANGLE} * b)"
        _drive_rotation(armature, OFFSETS[eye], 2, turn, {"a": out, "b": inner})


def _drive_rotation(armature: bpy.types.Object, bone: str, axis: int, expression: str, shapes: dict[str, str]) -> None:
    variables = [("w", ARKIT, WEIGHT), *((letter, ARKIT, shape) for letter, shape in shapes.items())]
    _drive(armature.pose.bones[bone].driver_add("rotation_euler", axis), armature, expression, variables)


def _drive(curve: bpy.types.FCurve, armature: bpy.types.Object, expression: str, variables: Sequence[Variable]) -> None:
    driver = curve.driver
    driver.type = "SCRIPTED"
    for letter, bone, name in variables:
        variable = driver.variables.new()
        variable.name, variable.type = letter, "SINGLE_PROP"
        target = variable.targets[0]
        target.id = armature
        target.data_path = control_path(bone, name)
    driver.expression = expression
    while curve.modifiers:  # older Blenders add a generator to new drivers
        curve.modifiers.remove(curve.modifiers[0])


def control_path(bone: str, name: str) -> str:
    """RNA path of a control from its armature."""
    return f'pose.bones["{bpy.utils.escape_identifier(bone)}"]["{bpy.utils.escape_identifier(name)}"]'
