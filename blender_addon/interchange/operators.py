"""Attaching objects to a head, the entries of File > Import and File > Export, and all classes of interchange."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty
from bpy.types import Operator

from .. import api
from ..operators.base import FINISHED, OnAvatar, Telling, there_is_an_avatar
from ..operators.reporting import reported
from .export_operators import LOOKALIKE_OT_export_gltf, LOOKALIKE_OT_export_lam, LOOKALIKE_OT_export_splats
from .import_operators import LOOKALIKE_OT_import_splats


class LOOKALIKE_OT_attach_to_head(OnAvatar, Operator):
    """Let the selected objects (hair as mesh, curves or splats, glasses, a hat) follow the avatar's head from where they stand"""

    bl_idname = "lookalike.attach_to_head"
    bl_label = "Attach to Head"
    bl_options = {"REGISTER", "UNDO"}

    hide_hair: BoolProperty(name="Hide Own Hair", description="Hide the avatar's own hair, as Hide Region does", default=False)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not there_is_an_avatar(cls, context):
            return False
        if not _loose(context):
            cls.poll_message_set("Select the objects to attach, and the avatar if there are several")
            return False
        return True

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..editing import hide_region
        from . import attach_to_head

        loose, avatar = _loose(context), self._avatar(context)
        for obj in loose:
            attach_to_head(obj, avatar)
        if self.hide_hair:
            hide_region(avatar, "HAIR")
        return self.tell("Attached {objects} to {name}", objects=", ".join(obj.name for obj in loose), name=avatar.name)

    def _avatar(self, context: bpy.types.Context) -> bpy.types.Collection:
        from ..avatar import avatar_of

        parts = [avatar_of(o) for o in context.selected_objects if o.lookalike.role in {"ARMATURE", "HEAD", "SPLATS"}]
        return api.avatar(self.avatar or next((avatar.name for avatar in parts if avatar is not None), ""))


class LOOKALIKE_OT_detach_from_head(Telling, Operator):
    """Take the selected objects off the avatar's head; they stay where they are"""

    bl_idname = "lookalike.detach_from_head"
    bl_label = "Detach from Head"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not any(o.parent is not None and o.parent.lookalike.role == "ARMATURE" for o in _loose(context)):
            cls.poll_message_set("Select objects that are attached to an avatar's head")
            return False
        return True

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from . import detach

        for obj in _loose(context):
            if obj.parent is not None and obj.parent.lookalike.role == "ARMATURE":
                detach(obj, context.scene)
        return FINISHED


def _loose(context: bpy.types.Context) -> list[bpy.types.Object]:
    """Selected objects that are not parts of an avatar."""
    return [o for o in context.selected_objects if o.lookalike.role in {"NONE", "CLOUD"} and o.library is None]


def draw_import(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Entry of File > Import."""
    menu.layout.operator(LOOKALIKE_OT_import_splats.bl_idname, text="Gaussian Splats (.ply/.spz/.glb/.zip)")


def draw_export(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Entries of File > Export."""
    menu.layout.operator(LOOKALIKE_OT_export_splats.bl_idname, text="Gaussian Splats (.ply/.spz)")
    menu.layout.operator(LOOKALIKE_OT_export_gltf.bl_idname, text="Lookalike Avatar with Splats (.glb)")
    menu.layout.operator(LOOKALIKE_OT_export_lam.bl_idname, text="Lookalike Avatar for the Web (LAM .zip)")


CLASSES = (
    LOOKALIKE_OT_export_splats,
    LOOKALIKE_OT_export_gltf,
    LOOKALIKE_OT_export_lam,
    LOOKALIKE_OT_import_splats,
    LOOKALIKE_OT_attach_to_head,
    LOOKALIKE_OT_detach_from_head,
)
