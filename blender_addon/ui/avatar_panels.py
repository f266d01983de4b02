"""The panels of the avatars in the file: the list, and what the active one offers to an animator."""

from __future__ import annotations

import json

import bpy
from bpy.types import Menu, Panel

from .create_panel import SidebarPanel
from .expression_groups import grouped, readable
from .properties import session
from .wrapping import draw_wrapped


BONE_CONTROLS = (
    ("Head", (("neck", 0, "Nod"), ("neck", 1, "Turn"), ("neck", 2, "Tilt"))),
    ("Jaw", (("jaw", 0, "Open"), ("jaw", 2, "Sideways"))),
    ("Left Eye", (("eye_left", 0, "Up"), ("eye_left", 2, "Sideways"))),
    ("Right Eye", (("eye_right", 0, "Up"), ("eye_right", 2, "Sideways"))),
)
"""(label, (bone, axis of its rotation, label)): each is the bone's own property, so keys, drivers and poses work as ever."""


def _active(context: bpy.types.Context) -> bpy.types.Collection | None:
    from ..avatar import active_avatar

    return active_avatar(context)


class LOOKALIKE_MT_avatar(Menu):
    bl_idname = "LOOKALIKE_MT_avatar"
    bl_label = "Avatar Specials"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator("lookalike.export_avatar", text="Export Avatar...", icon="EXPORT")
        layout.operator("lookalike.reveal_file", icon="FILE_FOLDER")
        layout.separator()
        layout.operator("lookalike.duplicate_avatar", icon="DUPLICATE")
        layout.operator("lookalike.key_performance", icon="KEYINGSET")
        layout.separator()
        layout.operator("lookalike.delete_avatar", icon="TRASH")


class LOOKALIKE_PT_avatars(SidebarPanel, Panel):
    bl_idname = "LOOKALIKE_PT_avatars"
    bl_label = "Avatars"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        row = layout.row()
        row.template_list("LOOKALIKE_UL_avatars", "", bpy.data, "collections", session(context), "avatar_index", rows=3)
        column = row.column(align=True)
        column.operator("lookalike.import_avatar", text="", icon="IMPORT")
        column.operator("lookalike.delete_avatar", text="", icon="REMOVE")
        column.separator()
        column.menu(LOOKALIKE_MT_avatar.bl_idname, text="", icon="DOWNARROW_HLT")
        avatar = _active(context)
        if avatar is None:
            draw_wrapped(layout, context, "Select an avatar to pose it", "INFO")
            return
        layout.row(align=True).prop(avatar.lookalike, "lod", expand=True)


class _ActiveAvatarPanel(SidebarPanel):
    """A sub-panel that shows only where the active object belongs to an avatar."""

    bl_parent_id = "LOOKALIKE_PT_avatars"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _active(context) is not None


class LOOKALIKE_PT_pose(_ActiveAvatarPanel, Panel):
    bl_idname = "LOOKALIKE_PT_pose"
    bl_label = "Head and Eyes"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        reset = self.layout.operator("lookalike.reset_pose", text="", icon="LOOP_BACK", emboss=False)
        reset.expressions, reset.bones = False, True

    def draw(self, context: bpy.types.Context) -> None:
        from ..avatar import armature_of

        layout, armature = self.layout, armature_of(_active(context))
        layout.use_property_split = True
        for label, controls in BONE_CONTROLS:
            column = layout.column(align=True)
            for name, axis, text in controls:
                bone = armature.pose.bones.get(name) if armature is not None else None
                if bone is not None:
                    column.prop(bone, "rotation_euler", index=axis, text=f"{label} {text}")


class LOOKALIKE_PT_expressions(_ActiveAvatarPanel, Panel):
    bl_idname = "LOOKALIKE_PT_expressions"
    bl_label = "Expressions"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        reset = self.layout.operator("lookalike.reset_pose", text="", icon="LOOP_BACK", emboss=False)
        reset.expressions, reset.bones = True, False

    def draw(self, context: bpy.types.Context) -> None:
        from ..avatar import expression_keys, head_of

        layout, text = self.layout, session(context).expression_filter
        layout.prop(session(context), "expression_filter", text="", icon="VIEWZOOM", placeholder="Filter")
        head = head_of(_active(context))
        keys = {key.name: key for key in expression_keys(head)} if head is not None else {}
        groups = grouped(keys, text)
        if not groups:
            draw_wrapped(layout, context, f"No expression is called “{text}”" if text else "This avatar has no expressions")
        for identifier, label, names in groups:
            self._draw_group(identifier, f"{label} ({len(names)})", [keys[name] for name in names], opened=bool(text))

    def _draw_group(self, identifier: str, label: str, keys: list[bpy.types.ShapeKey], opened: bool) -> None:
        header, body = self.layout.panel(f"LOOKALIKE_expressions_{identifier}", default_closed=identifier not in {"eyes", "mouth"})
        header.label(text=label)
        if body is None and opened:
            body = self.layout
        if body is None:
            return
        column = body.column(align=True)
        for key in keys:
            column.prop(key, "value", text=readable(key.name), slider=True)


class LOOKALIKE_PT_provenance(_ActiveAvatarPanel, Panel):
    bl_idname = "LOOKALIKE_PT_provenance"
    bl_label = "Provenance"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, avatar = self.layout, _active(context)
        column = layout.column(align=True)
        for label, value in provenance_lines(avatar.lookalike.provenance):
            column.label(text=label)
            draw_wrapped(column, context, value, "BLANK1")


def provenance_lines(text: str) -> list[tuple[str, str]]:
    """(label, value) pairs of the provenance's JSON, as a person reads them."""
    facts = json.loads(text) if text else {}
    return [(key.replace("_", " ").capitalize(), _plain(value)) for key, value in facts.items() if value not in ("", [], {}, None)]


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "\n".join(_plain(item) for item in value)
    return str(value)


CLASSES = (
    LOOKALIKE_MT_avatar,
    LOOKALIKE_PT_avatars,
    LOOKALIKE_PT_pose,
    LOOKALIKE_PT_expressions,
    LOOKALIKE_PT_provenance,
)
