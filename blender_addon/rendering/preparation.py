"""What a scene needs before its avatars render right, done as soon as it is known: never while a frame renders.

Done when an avatar is built, a file is opened or saved, or the view transform changes: a saved file is ready for a farm.
"""

from __future__ import annotations

import bpy

from ..avatar.evaluated import splat_objects
from ..avatar.parts import splats_of
from .colour import bake_colours
from .look import armature_of_splats, has_look
from .modifier import is_current, make_renderable
from .shadow import add_caster

MOST_BOUNCES = 256
"""Splats that a Cycles ray may cross; Blender's default is 8, after which a ray ends black."""

SURE_BOUNCES = 24
"""Splats after which Cycles may end a ray by chance: 4 times as fast as crossing all, the same to 1 dB at 16 samples."""


def prepare_scenes() -> None:
    """Make every avatar of the file renderable and every scene that shows one fit for it. Milliseconds where all is done."""
    splats = [obj for obj in splat_objects(bpy.data.objects) if obj.type == "MESH"]
    for obj in splats:
        if obj.library is None and not (is_current(obj) and _has_look(obj)):
            make_renderable(obj)
    if not splats:
        for scene in bpy.data.scenes:  # Blender's own splats, where they have a look
            bake_colours(scene)
        return
    for collection in bpy.data.collections:
        if collection.lookalike.is_avatar and splats_of(collection):
            add_caster(collection)
    for scene in bpy.data.scenes:
        if scene.library is None and _shows_avatars(scene):
            prepare_scene(scene)


def prepare_scene(scene: bpy.types.Scene) -> None:
    """Fit one scene: Cycles' transparent bounces (never lowered), colours for the view transform."""
    cycles = getattr(scene, "cycles", None)
    if cycles is not None:  # Cycles is an add-on and may be off
        cycles.transparent_max_bounces = max(cycles.transparent_max_bounces, MOST_BOUNCES)
        cycles.min_transparent_bounces = max(cycles.min_transparent_bounces, SURE_BOUNCES)
    bake_colours(scene)


def _shows_avatars(scene: bpy.types.Scene) -> bool:
    """Whether splats, or empties that may instance them, are in the scene."""
    return any(o.lookalike.role in {"SPLATS", "CLOUD"} or o.instance_type == "COLLECTION" for o in scene.objects)


def _has_look(obj: bpy.types.Object) -> bool:
    armature = armature_of_splats(obj)
    return armature is None or has_look(armature)
