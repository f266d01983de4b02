"""Avatars as Blender data: armature, rig mesh and splats that follow it natively; finding, keying and reading them.

The names are loaded when they are first used: registering the add-on needs only `properties`, and must not wait for numpy.
"""

from typing import TYPE_CHECKING

from ..lazy_names import loader

if TYPE_CHECKING:
    from .build import BlenderAvatar, add_lod, begin_avatar, build_avatar, make_native, place_lod, prepare_lod, set_facts
    from .control_groups import key_channels, moved_by, mute_expressions, reset_channels, select_bone
    from .controls import (
        add_controls,
        bone_controls,
        expression_channels,
        expression_keys,
        expression_names,
        gaze_bones,
        get_expressions,
        reset_pose,
        set_expressions,
    )
    from .editing import adopt_copies, delete_avatar, duplicate_avatar, frame_avatar, rename_avatar, select_avatar
    from .evaluated import read_appearance, read_evaluated, read_pose, splat_objects
    from .export import avatar_arrays
    from .face_board import has_board
    from .face_pose import as_text, filled, flip_face, from_text, mirrored, read_face, write_face
    from .keyframes import apply_driver, key_channel, key_expression, key_joint, motion_to_keys, pose_avatar
    from .levels import apply_levels, show_level, shown_level
    from .mouth_strips import LipsyncOptions, LipsyncReport, apply_lipsync
    from .parts import active_avatar, armature_of, avatar_objects, avatar_of, find_avatars, head_of, splats_of
    from .performance import key_demo_performance, key_performance
    from .presets import apply_own_preset, apply_preset, own_presets, save_pose_asset
    from .rig_objects import rest_mesh
    from .sound import add_sound, sound_beside
    from .takes import TakeOptions, TakeReport, apply_take

__all__ = [
    "BlenderAvatar",
    "LipsyncOptions",
    "LipsyncReport",
    "TakeOptions",
    "TakeReport",
    "active_avatar",
    "add_controls",
    "add_lod",
    "add_sound",
    "adopt_copies",
    "apply_driver",
    "apply_levels",
    "apply_lipsync",
    "apply_own_preset",
    "apply_preset",
    "apply_take",
    "armature_of",
    "as_text",
    "avatar_arrays",
    "avatar_objects",
    "avatar_of",
    "begin_avatar",
    "bone_controls",
    "build_avatar",
    "delete_avatar",
    "duplicate_avatar",
    "expression_channels",
    "expression_keys",
    "expression_names",
    "filled",
    "find_avatars",
    "flip_face",
    "frame_avatar",
    "from_text",
    "gaze_bones",
    "get_expressions",
    "has_board",
    "head_of",
    "key_channel",
    "key_channels",
    "key_demo_performance",
    "key_expression",
    "key_joint",
    "key_performance",
    "make_native",
    "mirrored",
    "motion_to_keys",
    "moved_by",
    "mute_expressions",
    "own_presets",
    "place_lod",
    "pose_avatar",
    "prepare_lod",
    "read_appearance",
    "read_evaluated",
    "read_face",
    "read_pose",
    "rename_avatar",
    "reset_channels",
    "reset_pose",
    "rest_mesh",
    "save_pose_asset",
    "select_avatar",
    "select_bone",
    "set_expressions",
    "set_facts",
    "show_level",
    "shown_level",
    "sound_beside",
    "splat_objects",
    "splats_of",
    "write_face",
]

_HOMES = {
    "build": "BlenderAvatar add_lod begin_avatar build_avatar make_native place_lod prepare_lod set_facts",
    "control_groups": "key_channels moved_by mute_expressions reset_channels select_bone",
    "face_board": "has_board",
    "face_pose": "as_text filled flip_face from_text mirrored read_face write_face",
    "controls": "add_controls bone_controls expression_channels expression_keys expression_names gaze_bones get_expressions "
    "reset_pose set_expressions",
    "editing": "adopt_copies delete_avatar duplicate_avatar frame_avatar rename_avatar select_avatar",
    "evaluated": "read_appearance read_evaluated read_pose splat_objects",
    "export": "avatar_arrays",
    "keyframes": "apply_driver key_channel key_expression key_joint motion_to_keys pose_avatar",
    "levels": "apply_levels show_level shown_level",
    "parts": "active_avatar armature_of avatar_objects avatar_of find_avatars head_of splats_of",
    "performance": "key_demo_performance key_performance",
    "rig_objects": "rest_mesh",
    "sound": "add_sound sound_beside",
    "mouth_strips": "LipsyncOptions LipsyncReport apply_lipsync",
    "presets": "apply_own_preset apply_preset own_presets save_pose_asset",
    "takes": "TakeOptions TakeReport apply_take",
}
"""Module -> the public names that it defines."""


__getattr__ = loader(__name__, _HOMES)
