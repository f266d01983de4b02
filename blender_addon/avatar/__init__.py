"""Avatars as Blender data: armature, rig mesh and splats that follow it natively; finding, keying and reading them."""

from .build import BlenderAvatar, add_lod, begin_avatar, build_avatar, place_lod, prepare_lod, set_facts
from .evaluated import read_appearance, read_evaluated, read_pose, splat_objects
from .levels import apply_levels, show_level, shown_level
from .parts import active_avatar, armature_of, avatar_objects, avatar_of, find_avatars, head_of, splats_of
from .rig_objects import expression_keys, rest_mesh
