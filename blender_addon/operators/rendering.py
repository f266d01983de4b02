"""Look and render: reset an avatar's look, make a shot ready for a farm."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty
from bpy.types import Operator

from .. import api
from .base import Telling
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


class LOOKALIKE_OT_make_render_ready(Telling, Operator):
    """Save a copy of this shot that a render farm can render: what needs Python as keys, relative paths, every file to copy listed"""

    bl_idname = "lookalike.make_render_ready"
    bl_label = "Make Render-Ready"
    bl_options = {"REGISTER", "UNDO"}

    into: EnumProperty(
        name="Save",
        description="Which .blend the farm gets",
        items=(
            ("COPY", "A Copy", "Save NAME_render.blend beside this file; drivers and keys of the open file stay as they are"),
            ("FILE", "This File", "Change the open file and save it, over what is on the disk"),
            ("OPEN", "Nothing Yet", "Change the open file, undo takes it back; save it yourself"),
        ),
    )

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..rendering.render_ready import LIST_NAME, make_render_ready

        done = make_render_ready(context, self.into)
        baked = f", {done.baked} scripted drivers became keys" if done.baked else ""
        count = len(done.files)
        files = "no other file" if count == 0 else "1 other file" if count == 1 else f"{count} other files"
        self.pass_on(f"Render-ready: copy {done.blend.name} and {files} (text “{LIST_NAME}”){baked}")
        if self.into == "OPEN":
            self.tell("Not saved yet: save this file before you copy it", "WARNING")
        if done.outside:
            self.tell("{count} files lie outside the .blend's folder: keep their places when copying", "WARNING", count=len(done.outside))
        return {"FINISHED"}


class LOOKALIKE_OT_use_look(Operator):
    """Show this avatar's splats by a material that follows its look, or as Blender shows splats"""

    bl_idname = "lookalike.use_look"
    bl_label = "Use Look"
    bl_options = {"REGISTER", "UNDO"}

    use: BoolProperty(name="Use", default=True)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return api.active_avatar(context) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..rendering.native_look import stop_look, use_look

        avatar = api.active_avatar(context)
        if not self.use:
            stop_look(avatar)
        elif use_look(avatar, context.scene) == 0:
            self.report({"INFO"}, "This Blender shows the look without further ado")
            return {"CANCELLED"}
        return {"FINISHED"}


class LOOKALIKE_OT_set_up_layers(Operator):
    """Render the avatars into a view layer of their own, with alpha, depth and cryptomatte, cut by what stands before them"""

    bl_idname = "lookalike.set_up_layers"
    bl_label = "Set Up Avatar Layers"
    bl_options = {"REGISTER", "UNDO"}

    rest: BoolProperty(
        name="Layer Without Avatars",
        description="Also render everything else with the avatars held out: both layers sum up to the whole picture",
        default=False,
    )
    multilayer: BoolProperty(
        name="Multilayer EXR", description="Write frames as OpenEXR files that hold all layers and passes", default=True
    )

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..rendering.layers import set_up_layers

        made = set_up_layers(context.scene, context.view_layer, self.rest, self.multilayer)
        layers = f"“{made.avatars}”" + (f" and “{made.rest}”" if made.rest else "")
        self.report({"INFO"}, f"View layer {layers} set up, the film is transparent; run again when objects are added")
        return {"FINISHED"}


CLASSES = (LOOKALIKE_OT_reset_look, LOOKALIKE_OT_use_look, LOOKALIKE_OT_set_up_layers, LOOKALIKE_OT_make_render_ready)
