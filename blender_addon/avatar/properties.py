"""What an avatar remembers, on its data-blocks: registered properties of collections and objects."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, PointerProperty, StringProperty
from bpy.types import PropertyGroup

_OVERRIDABLE = {"LIBRARY_OVERRIDABLE"}
# Newer Blenders want a path property to say that it understands "//"; older ones refuse the word.
_PATH = {"PATH_SUPPORTS_BLEND_RELATIVE"} if "is_path_supports_blend_relative" in bpy.types.Property.bl_rna.properties else set()
_LEVELS = [
    ("0", "LOD 0", "One splat for each vertex of the rig", 0),
    ("1", "LOD 1", "The rig subdivided once", 1),
    ("2", "LOD 2", "The rig subdivided twice", 2),
]


def _level_chosen(settings: LOOKALIKE_PG_avatar, _context: object) -> None:
    from .levels import apply_levels

    apply_levels(settings.id_data)


def _read_name(settings: LOOKALIKE_PG_avatar) -> str:
    return settings.id_data.name


def _rename(settings: LOOKALIKE_PG_avatar, name: str) -> None:
    from .editing import rename_avatar

    if name.strip():
        rename_avatar(settings.id_data, name)


class LOOKALIKE_PG_avatar(PropertyGroup):
    """``collection.lookalike``: an avatar is a collection."""

    is_avatar: BoolProperty(options={"HIDDEN"}, override=_OVERRIDABLE)
    label: StringProperty(name="Name", description="Name of the person or of the avatar, as reconstructed", override=_OVERRIDABLE)
    shown_name: StringProperty(
        name="Name",
        description="Name of the avatar; its armature, rig mesh and splats are named after it",
        get=_read_name,
        set=_rename,
        options={"SKIP_SAVE"},
        override=_OVERRIDABLE,
    )
    format_version: IntProperty(options={"HIDDEN"})
    rig_id: StringProperty(name="Rig", description="Parametric head that the avatar is built on")
    joints: StringProperty(description="Names of the rig's joints in its own order, as a JSON list", options={"HIDDEN"})
    source_path: StringProperty(
        name="Avatar File", description="The .lookalike file; relative to the .blend where possible", subtype="FILE_PATH", options=_PATH
    )
    provenance: StringProperty(name="Provenance", description="Images, model, weights, licences and consent, as JSON")
    drivers: StringProperty(name="Portraits", description="How the rig was posed in each source portrait, as JSON")
    photos: StringProperty(description="Files of the photos that it was made from, as a JSON list", options={"HIDDEN"})
    adapters: StringProperty(description="What personalizations have learned, as JSON", options={"HIDDEN"})
    kept: StringProperty(description="Splats without adapters, and the adapters", subtype="BYTE_STRING", options={"HIDDEN"})
    preview: IntProperty(description="Level that shows a refinement under way; -1 for none", default=-1, options={"HIDDEN"})
    lod: EnumProperty(
        name="Detail",
        description="Level of detail shown in the viewport",
        items=[("AUTO", "Automatic", "By size on screen", 3), *_LEVELS],
        default="AUTO",
        update=_level_chosen,
        override=_OVERRIDABLE,
    )
    render_lod: EnumProperty(
        name="Render Detail",
        description="Level of detail used for rendering",
        items=[("HIGHEST", "Highest", "The highest level that the avatar has", 3), *_LEVELS],
        default="HIGHEST",
        update=_level_chosen,
        override=_OVERRIDABLE,
    )


class LOOKALIKE_PG_part(PropertyGroup):
    """``object.lookalike``: which part of an avatar an object is."""

    role: EnumProperty(
        name="Part",
        description="What this object is to an avatar",
        items=[
            ("NONE", "None", "Not part of an avatar", 0),
            ("ARMATURE", "Armature", "Bones of an avatar", 1),
            ("HEAD", "Head", "Rig mesh with expressions", 2),
            ("SPLATS", "Splats", "Gaussians of one level of detail", 3),
            ("CLOUD", "Splat Cloud", "Gaussians without a rig, from a splat file", 4),
        ],
        default="NONE",
        options={"HIDDEN"},
    )
    level: IntProperty(name="Level of Detail", min=0, max=2, options={"HIDDEN"})
    shoulders: IntProperty(name="Shoulders", description="How many splats at the end are the shoulders", min=0, options={"HIDDEN"})


CLASSES = (LOOKALIKE_PG_avatar, LOOKALIKE_PG_part)
"""In the order of registration."""


def attach() -> None:
    """Hang the groups on data-blocks; call after CLASSES are registered."""
    bpy.types.Collection.lookalike = PointerProperty(type=LOOKALIKE_PG_avatar, override=_OVERRIDABLE)
    bpy.types.Object.lookalike = PointerProperty(type=LOOKALIKE_PG_part, override=_OVERRIDABLE)


def detach() -> None:
    """Undo `attach`; call before CLASSES are unregistered."""
    del bpy.types.Object.lookalike
    del bpy.types.Collection.lookalike
