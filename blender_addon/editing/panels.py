"""What the sidebar shows of editing, of other programs' files, and of what is wrong with an avatar."""

from __future__ import annotations

import bpy
from bpy.types import Panel

from ..ui.create_panel import SidebarPanel
from ..ui.wrapping import draw_wrapped
from .tools import BOX, BRUSH, LASSO


def draw_problems(layout: bpy.types.UILayout, context: bpy.types.Context, avatar: bpy.types.Collection) -> None:
    """What is wrong with an avatar, each with the button that mends it; nothing where all is well."""
    from . import problems

    for problem in problems(avatar):
        box = layout.box()
        draw_wrapped(box, context, problem.text, "INFO" if problem.kind == "file" else "ERROR")
        if problem.operator:
            box.operator(problem.operator)


class LOOKALIKE_PT_edit(SidebarPanel, Panel):
    bl_idname = "LOOKALIKE_PT_edit"
    bl_label = "Edit Splats"
    bl_parent_id = "LOOKALIKE_PT_avatars"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        from ..interchange.source import has_source

        return has_source(context)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        row = layout.row(align=True)
        for tool, label in ((BRUSH, "Brush"), (BOX, "Box"), (LASSO, "Lasso")):  # icons would leave no room for the words
            row.operator("wm.tool_set_by_id", text=label).name = tool
        column = layout.column(align=True)
        column.operator_menu_enum("lookalike.hide_region", "region", icon="HIDE_ON")
        column.operator("lookalike.show_hidden", icon="HIDE_OFF")
        column.operator("lookalike.remove_hidden", icon="TRASH")
        column.operator("lookalike.reset_edits", icon="LOOP_BACK")
        layout.operator_menu_enum("lookalike.mirror_repair", "good_side", icon="MOD_MIRROR")
        column = layout.column(align=True)
        column.operator("lookalike.attach_to_head", icon="LINKED")
        column.operator("lookalike.detach_from_head", icon="UNLINKED")


CLASSES = (LOOKALIKE_PT_edit,)
