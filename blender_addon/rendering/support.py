"""What this Blender, this engine and these settings cannot do with avatars, in words: better said in the panel than drawn wrong."""

from __future__ import annotations

import bpy
from mathutils import Matrix

from ..avatar import native
from ..avatar.binding_nodes import CHANGES_VERTICES, bound_rig, get_input
from ..avatar.binding_nodes import MODIFIER_NAME as BINDING
from ..avatar.evaluated import splat_objects
from .colour import warnings as colour_warnings
from .preparation import MOST_BOUNCES

ENGINES = {"CYCLES", "BLENDER_EEVEE", "BLENDER_EEVEE_NEXT"}
FEW_SAMPLES = 16


def stops_rendering(scene: bpy.types.Scene) -> list[str]:
    """Why avatars would be missing or wrong in final frames of a scene; empty where all is well."""
    said = []
    if scene.render.engine not in ENGINES:
        said.append(f"{_engine_name(scene)} cannot render splats and leaves avatars out: choose EEVEE or Cycles")
    if scene.camera is None:
        said.append("The scene has no camera: splats are laid out for the scene's camera")
    elif scene.camera.type == "CAMERA" and scene.camera.data.type == "PANO" and scene.render.engine != "CYCLES":
        said.append(f"{_engine_name(scene)} knows no panoramic cameras: choose Cycles")
    for obj in splat_objects(scene.objects):
        reason = unbound(obj) if not obj.hide_render else ""
        if reason:
            said.append(reason)
    said += [
        f"{obj.name} shows an avatar by instancing, away from its own place: make a library override of it"
        for obj in moved_instances(scene)
    ]
    return said


def limits(scene: bpy.types.Scene) -> list[str]:
    """What to know of final frames of this scene: they render, but not in every respect as the viewport shows."""
    if native.available():
        return ["Blender renders the splats itself: exposure, tint, contrast and relighting need Use Look, and show in rendered views only"]
    said = colour_warnings(scene)
    engine, cycles = scene.render.engine, getattr(scene, "cycles", None)
    if engine == "CYCLES" and cycles is not None and cycles.transparent_max_bounces < MOST_BOUNCES:
        said.append(f"Transparent bounces are {cycles.transparent_max_bounces}: dark patches; saving the file sets {MOST_BOUNCES}")
    if engine.startswith("BLENDER_EEVEE") and scene.eevee.taa_render_samples < FEW_SAMPLES:
        said.append(f"EEVEE takes {scene.eevee.taa_render_samples} samples: soft edges of splats will be grainy below {FEW_SAMPLES}")
    if engine.startswith("BLENDER_EEVEE") and _asks_for_cryptomatte(scene) and not eevee_writes_cryptomatte():
        said.append("EEVEE of Blender 4.2.0 writes no cryptomatte: update to a later 4.2")
    if scene.render.use_multiview:
        said.append("Stereo: splats face the middle between the two eyes' cameras")
    return said


def eevee_writes_cryptomatte() -> bool:
    """Found by rendering: 4.2.0 leaves it out, 4.2.23 does not."""
    return bpy.app.version > (4, 2, 0)


def _asks_for_cryptomatte(scene: bpy.types.Scene) -> bool:
    return any(layer.use_pass_cryptomatte_object or layer.use_pass_cryptomatte_asset for layer in scene.view_layers)


def moved_instances(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """Empties that show avatars elsewhere than where they stand themselves: their quads would face the camera from there."""
    if native.available():
        return []
    holders = [o for o in scene.objects if o.instance_type == "COLLECTION" and o.instance_collection is not None and not o.hide_render]
    return [
        obj
        for obj in holders
        if any(o.lookalike.role == "SPLATS" and o.type == "MESH" for o in obj.instance_collection.all_objects)
        and not _same_place(obj.matrix_world @ Matrix.Translation(-obj.instance_collection.instance_offset))
    ]


def _same_place(matrix: Matrix) -> bool:
    return all(abs(a - b) < 1e-5 for row, unit in zip(matrix, Matrix(), strict=True) for a, b in zip(row, unit, strict=True))


def unbound(obj: bpy.types.Object) -> str:
    """Why splats stay at rest although the rig moves, or ""."""
    if obj.lookalike.role == "CLOUD":  # from a splat file: it has no rig
        return ""
    head, modifier = bound_rig(obj), obj.modifiers.get(BINDING)
    if modifier is None or head is None:
        return f"{obj.name} follows no rig mesh and stays at rest: import the avatar again"
    wanted = get_input(modifier, "Vertices"), get_input(modifier, "Faces")
    if (len(head.data.vertices), len(head.data.polygons)) != wanted:
        return f"{head.name} was edited and has {len(head.data.vertices)} vertices, not {wanted[0]}: its splats stay at rest"
    changing = next((m.name for m in head.modifiers if m.show_render and m.type in CHANGES_VERTICES), None)
    if changing is not None:
        return f"The modifier {changing} changes the vertices of {head.name} in renders, so its splats stay at rest: turn it off there"
    return ""


def _engine_name(scene: bpy.types.Scene) -> str:
    return {"BLENDER_WORKBENCH": "Workbench", "BLENDER_EEVEE": "EEVEE", "BLENDER_EEVEE_NEXT": "EEVEE"}.get(
        scene.render.engine, scene.render.engine.replace("_", " ").title()
    )
