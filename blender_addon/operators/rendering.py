"""Look and render: reset an avatar's look, make a shot ready for a farm."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty
from bpy.types import Operator

from .. import api
from .reporting import reported


class LOOKALIKE_OT_reset_look(Operator):
    """Show the avatar in the photo's own light again: exposure, tint, contrast and relighting off"""

    bl_idname = "lookalike.reset_look"
    bl_label = "Reset Look"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return api.active_avatar(context) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..avatar import armature_of
        from ..rendering.look import reset_look

        reset_look(armature_of(api.active_avatar(context)))
        return {"FINISHED"}


class LOOKALIKE_OT_make_render_ready(Operator):
    """Prepare this shot for a render farm: bake what needs Python, make paths relative, list every file to copy, save"""

    bl_idname = "lookalike.make_render_ready"
    bl_label = "Make Render-Ready"
    bl_options = {"REGISTER"}

    save: BoolProperty(name="Save", description="Save the .blend at the end", default=True)

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..rendering.render_ready import LIST_NAME, make_render_ready

        done = make_render_ready(context, self.save)
        baked = f", {done.baked} scripted drivers became keys" if done.baked else ""
        count = len(done.files)
        files = "no other file" if count == 0 else "1 other file" if count == 1 else f"{count} other files"
        self.report({"INFO"}, f"Render-ready: copy {done.blend.name} and {files} (text “{LIST_NAME}”){baked}")
        if done.outside:
            self.report({"WARNING"}, f"{len(done.outside)} files lie outside the .blend's folder: keep their places when copying")
        return {"FINISHED"}


CLASSES = (LOOKALIKE_OT_reset_look, LOOKALIKE_OT_make_render_ready)
