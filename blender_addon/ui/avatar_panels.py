"""The panels of the avatars in the file: the list, and what the active one offers to an animator."""

from __future__ import annotations

import json
import re

import bpy
from bpy.types import Menu, Panel

from .. import api
from ..client import personalizing
from ..editing.panels import draw_problems
from ..translations import explained, said
from .create_panel import SidebarPanel, draw_job
from .properties import session
from .wrapping import draw_wrapped


def active(context: bpy.types.Context) -> bpy.types.Collection | None:
    """The avatar that the panels show."""
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
        layout.operator("lookalike.import_motion", text="Import Motion...", icon="IMPORT")
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
        avatar = active(context)
        if avatar is not None:
            _draw_levels(layout, avatar)
            draw_problems(layout, context, avatar)
        else:
            draw_wrapped(layout, context, "Select an avatar to pose it" if api.avatars() else "No avatar in this scene yet", "INFO")
        for job in personalizing.other_jobs(avatar):
            draw_job(layout.box(), context, job)
        _draw_viewport_error(layout, context)


def _draw_viewport_error(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Say so where the viewport had to stop drawing avatars."""
    from ..viewport import status

    if status.last_error:
        box = layout.box()
        draw_wrapped(box, context, said("Avatars are not drawn: {error}", error=explained(status.last_error)), "ERROR")
        box.operator("lookalike.retry_drawing", icon="FILE_REFRESH")


def _draw_levels(layout: bpy.types.UILayout, avatar: bpy.types.Collection) -> None:
    """The levels that the avatar has, as one row of buttons."""
    from ..avatar import splats_of

    levels = splats_of(avatar)
    if not levels:
        return
    split = layout.split(factor=0.25)
    split.label(text="Detail")
    row = split.row(align=True)
    row.prop_enum(avatar.lookalike, "lod", "AUTO", text="Auto")
    for level in levels:
        row.prop_enum(avatar.lookalike, "lod", str(level), text=str(level))


class ActiveAvatarPanel(SidebarPanel):
    """A sub-panel that shows only where the active object belongs to an avatar."""

    bl_parent_id = "LOOKALIKE_PT_avatars"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return active(context) is not None


class LOOKALIKE_PT_provenance(ActiveAvatarPanel, Panel):
    bl_idname = "LOOKALIKE_PT_provenance"
    bl_label = "Provenance"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, avatar = self.layout, active(context)
        column = layout.column(align=True)
        for label, value in provenance_lines(avatar.lookalike.provenance):
            column.label(text=label)
            draw_wrapped(column, context, value, "BLANK1")
        layout.operator("lookalike.copy_provenance", icon="COPYDOWN")


def provenance_lines(text: str) -> list[tuple[str, str]]:
    """(label, value) pairs of the provenance's JSON, as a person reads them."""
    facts = json.loads(text) if text else {}
    return [(key.replace("_", " ").capitalize(), _plain(value)) for key, value in facts.items() if value not in ("", [], {}, None)]


def _plain(value: object) -> str:
    """JSON as lines of text; hashes are cut, since Copy gives them whole."""
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ("\n" if any(isinstance(item, dict | list) for item in value) else ", ").join(_plain(item) for item in value)
    text = str(value)
    return f"{text[:12]}…" if re.fullmatch(r"[0-9a-f]{40,}", text) else text


CLASSES = (
    LOOKALIKE_MT_avatar,
    LOOKALIKE_PT_avatars,
    LOOKALIKE_PT_provenance,
)
