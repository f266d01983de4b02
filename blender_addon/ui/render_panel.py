"""The panel of an avatar's look and its final frames: sliders for lighters, and what cannot be done, in words."""

from __future__ import annotations

import bpy
from bpy.types import Panel

from .avatar_panels import ActiveAvatarPanel, active
from .wrapping import draw_wrapped


class LOOKALIKE_PT_render(ActiveAvatarPanel, Panel):
    bl_idname = "LOOKALIKE_PT_render"
    bl_label = "Look and Render"
    bl_options = {"DEFAULT_CLOSED"}

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        self.layout.operator("lookalike.reset_look", text="", icon="LOOP_BACK", emboss=False)

    def draw(self, context: bpy.types.Context) -> None:
        layout, avatar = self.layout, active(context)
        _draw_look(layout, context, avatar)
        _draw_final(layout, context, avatar)
        layout.operator("lookalike.set_up_layers", icon="RENDERLAYERS")
        layout.operator("lookalike.make_render_ready", icon="RENDER_ANIMATION")
        draw_wrapped(layout, context, "Saves NAME_render.blend for a farm beside this file, which stays as it is.")


def _draw_look(layout: bpy.types.UILayout, context: bpy.types.Context, avatar: bpy.types.Collection) -> None:
    from ..avatar import armature_of
    from ..rendering import look, native_look, native_splats

    armature = armature_of(avatar)
    if armature is None:
        return
    if native_splats():
        used = native_look.uses_look(avatar)
        layout.operator("lookalike.use_look", text="As Blender Shows Splats" if used else "Use Look").use = not used
        if not used:
            return
    if not look.has_look(armature):
        return
    column = layout.column()
    column.use_property_split = True
    for name, label in ((look.EXPOSURE, "Exposure"), (look.TINT, "Tint"), (look.CONTRAST, "Contrast"), (look.RELIGHT, "Relight")):
        column.prop(armature, f'["{name}"]', text=label, slider=name in {look.CONTRAST, look.RELIGHT})
    if armature[look.RELIGHT] > 0.0:
        draw_wrapped(
            layout,
            context,
            "Splats carry the photo's light. Relighting adds diffuse light on the rig's surface: no gloss, and highlights and shadows "
            "of the photo stay. The viewport shows it without shadows.",
            "INFO",
        )


def _draw_final(layout: bpy.types.UILayout, context: bpy.types.Context, avatar: bpy.types.Collection) -> None:
    from ..rendering import shadow, support

    column = layout.column()
    column.use_property_split = True
    column.prop(avatar.lookalike, "render_lod", text="Render Detail")
    caster = shadow.caster_of(avatar)
    if caster is not None:
        column.prop(caster, "visible_shadow", text="Cast Shadows")
        column.prop(caster, "hide_viewport", text="In Viewport", invert_checkbox=True)
    for reason in support.stops_rendering(context.scene):
        draw_wrapped(layout, context, reason, "ERROR")
    for limit in support.limits(context.scene):
        draw_wrapped(layout, context, limit, "INFO")


CLASSES = (LOOKALIKE_PT_render,)
