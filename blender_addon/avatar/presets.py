"""Faces to start from: visemes, emotions and blinks by ARKit's names, and the user's own as pose assets."""

from __future__ import annotations

import bpy
import numpy as np

from ..motion.arkit import BONE_SHAPES, shapes_of
from ..motion.retarget import fit_names
from ..motion.take import Take
from ..motion.visemes import PRESETS
from ..protocol import LookalikeError
from .control_drivers import control_path
from .controls import Channel, add_controls, expression_channels, expression_names, get_value, set_expressions
from .face_board import ARKIT, FACE, FOLLOW, GAZE, GAZE_SIDES, has_board, pairs
from .face_pose import mirrored, read_face, write_face
from .keyframes import bone_angles, write_action_curve
from .parts import armature_of

MARK = "lookalike_preset"
"""Custom property of actions that are a user's presets."""
POSED_BONES = ("neck", "jaw", "eye_left", "eye_right")


def apply_preset(collection: bpy.types.Collection, preset: str, strength: float = 1.0) -> list[Channel]:
    """Set a preset on the face layer; what its region has beyond it becomes 0, other regions stay.

    Returns:
        The channels that it owns, to be keyed.
    Raises:
        LookalikeError: there is no such preset, or the avatar has none of its controls.
    """
    if preset not in PRESETS:
        raise LookalikeError(f"There is no preset {preset!r}", f"choose one of {', '.join(PRESETS)}")
    chosen = PRESETS[preset]
    names = expression_names(collection)
    region = [name for name in names if any(shape.startswith(chosen.region) for shape in shapes_of(name))]
    weights = {name: np.array([strength * value]) for name, value in chosen.weights.items()}
    if weights and not weights.keys() & {*BONE_SHAPES, *(shape for name in region for shape in shapes_of(name))}:
        raise LookalikeError(f"{collection.name}: has none of the expressions of “{chosen.label}”", "pose it by its own sliders")
    fitted = fit_names(Take("preset", chosen.label, np.zeros(1), 1.0, arkit=weights), names, use_arkit_layer=False) if weights else None
    set_expressions(collection, {name: float(v[0]) for name, v in fitted.face.items()} if fitted else {}, clear=region)
    armature = armature_of(collection)
    channels = expression_channels(collection)
    owned = [channels[name] for name in {*region, *_stems(region, channels)}]
    if "jaw" in chosen.region and armature is not None:
        jaw = armature.pose.bones["jaw"]
        turn = fitted.pose.get("jaw", np.zeros((1, 3))) if fitted else np.zeros((1, 3))
        jaw.rotation_euler.x = float(bone_angles(jaw.bone, turn.astype(np.float32))[0, 0])
        owned.append(Channel(jaw, "rotation_euler", armature, jaw.path_from_id("rotation_euler")))
    return owned


def save_pose_asset(collection: bpy.types.Collection, name: str, frame: float = 1.0) -> bpy.types.Action:
    """The avatar's face, head, eyes and gaze as they stand, as a pose asset of this file: in the asset browser and shelf.

    Raises:
        LookalikeError: the avatar is linked or has lost its rig.
    """
    add_controls(collection)
    armature = armature_of(collection)
    data = armature.animation_data or armature.animation_data_create()
    before, slot = data.action, getattr(data, "action_slot", None)
    action = bpy.data.actions.new(name.strip() or "Face")
    data.action = action
    at = np.array([frame])
    for layer in (FACE, ARKIT):
        for channel in expression_channels(collection, layer).values():
            write_action_curve(armature, channel.rna_path, 0, layer, at, np.array([get_value(channel)]), "BEZIER")
    for bone in POSED_BONES:
        _store(armature, bone, "rotation_euler", at)
    for bone in (GAZE, *GAZE_SIDES.values()):
        _store(armature, bone, "location", at)
    follow = np.array([armature.pose.bones[GAZE][FOLLOW]])
    write_action_curve(armature, control_path(GAZE, FOLLOW), 0, GAZE, at, follow, "BEZIER")
    data.action = before
    if before is not None and slot is not None:
        data.action_slot = slot
    action[MARK] = True
    action.asset_mark()
    action.asset_data.description = f"Face of a Lookalike avatar, saved from {collection.name}"
    for tag in ("Lookalike", "face"):
        action.asset_data.tags.new(tag, skip_if_exists=True)
    return action


def _store(armature: bpy.types.Object, bone: str, name: str, at: np.ndarray) -> None:
    posed = armature.pose.bones[bone]
    for axis, value in enumerate(getattr(posed, name)):
        write_action_curve(armature, posed.path_from_id(name), axis, bone, at, np.array([value]), "BEZIER")


def own_presets() -> list[bpy.types.Action]:
    """The user's presets in this file."""
    return [action for action in bpy.data.actions if action.get(MARK) and action.asset_data is not None]


def apply_own_preset(collection: bpy.types.Collection, action: bpy.types.Action, strength: float = 1.0, flipped: bool = False) -> None:
    """Pose the avatar by one of the user's presets, or blend towards it; `flipped` takes its mirror image.

    Raises:
        LookalikeError: the avatar has no face board.
    """
    armature = armature_of(collection)
    if not has_board(armature):
        raise LookalikeError(f"{collection.name}: has no face controls", "add them in the panel")
    frame = action.frame_range[0]
    if flipped:
        before = read_face(collection)
        armature.pose.apply_pose_from_action(action, evaluation_time=frame)
        target = mirrored(read_face(collection), armature)
        write_face(collection, before)
        write_face(collection, target, strength)
    elif strength < 1:
        armature.pose.blend_pose_from_action(action, blend_factor=strength, evaluation_time=frame)
    else:
        armature.pose.apply_pose_from_action(action, evaluation_time=frame)
    armature.update_tag()


def _stems(names: list[str], channels: dict[str, Channel]) -> set[str]:
    return {stem for stem in pairs(names) if stem in channels}
