"""The brush, box and lasso as tools of the 3D view's toolbar, in Object Mode."""

from __future__ import annotations

import bpy
from bpy.types import WorkSpaceTool

from .settings import MODES

BRUSH, BOX, LASSO = "lookalike.brush", "lookalike.box", "lookalike.lasso"
_SETTINGS = "window_manager.lookalike_edit."


def _press(operator: str, **more: object) -> tuple[str, dict[str, object], dict[str, object]]:
    return operator, {"type": "LEFTMOUSE", "value": "PRESS"} | {k: v for k, v in more.items() if k != "properties"}, {
        "properties": more.get("properties", [])
    }  # fmt: skip


class LookalikeBrush(WorkSpaceTool):
    bl_space_type = "VIEW_3D"
    bl_context_mode = "OBJECT"
    bl_idname = BRUSH
    bl_label = "Splat Brush"
    bl_description = "Hide, restore, fade, strengthen, shrink, grow or repair splats of an avatar"
    bl_icon = "brush.gpencil_draw.erase"
    bl_keymap = (
        _press("lookalike.brush_splats"),
        _press("lookalike.brush_splats", ctrl=True, properties=[("opposite", True)]),
        ("wm.radial_control", {"type": "F", "value": "PRESS"}, {"properties": [("data_path_primary", _SETTINGS + "radius")]}),
        (
            "wm.radial_control",
            {"type": "F", "value": "PRESS", "shift": True},
            {"properties": [("data_path_primary", _SETTINGS + "strength")]},
        ),
    )

    def draw_settings(context: bpy.types.Context, layout: bpy.types.UILayout, tool: bpy.types.WorkSpaceTool) -> None:  # noqa: N805
        settings = context.window_manager.lookalike_edit
        layout.prop(settings, "mode", text="")
        layout.prop(settings, "radius")
        if settings.mode in {item[0] for item in MODES[2:6]}:
            layout.prop(settings, "strength")
        layout.prop(settings, "hardness")
        layout.prop(settings, "similar")
        layout.prop(settings, "through", toggle=True)
        layout.prop(settings, "mirror", toggle=True)

    def draw_cursor(context: bpy.types.Context, tool: bpy.types.WorkSpaceTool, xy: tuple[int, int]) -> None:  # noqa: N805
        from . import overlay

        radius = context.window_manager.lookalike_edit.radius * context.preferences.system.ui_scale
        overlay.draw_path(overlay.circle((xy[0], xy[1]), radius))


class LookalikeBox(WorkSpaceTool):
    bl_space_type = "VIEW_3D"
    bl_context_mode = "OBJECT"
    bl_idname = BOX
    bl_label = "Splat Box"
    bl_description = "Hide the splats inside a rectangle; with Ctrl show them"
    bl_icon = "ops.sculpt.border_hide"
    bl_cursor = "CROSSHAIR"
    bl_keymap = (
        _press("lookalike.trim_box", properties=[("mode", "HIDE")]),
        _press("lookalike.trim_box", ctrl=True, properties=[("mode", "SHOW")]),
    )

    def draw_settings(context: bpy.types.Context, layout: bpy.types.UILayout, tool: bpy.types.WorkSpaceTool) -> None:  # noqa: N805
        draw_shape_settings(layout, tool.operator_properties("lookalike.trim_box"))


class LookalikeLasso(WorkSpaceTool):
    bl_space_type = "VIEW_3D"
    bl_context_mode = "OBJECT"
    bl_idname = LASSO
    bl_label = "Splat Lasso"
    bl_description = "Hide the splats inside a drawn outline; with Ctrl show them"
    bl_icon = "ops.sculpt.lasso_hide"
    bl_cursor = "CROSSHAIR"
    bl_keymap = (
        _press("lookalike.trim_lasso", properties=[("mode", "HIDE")]),
        _press("lookalike.trim_lasso", ctrl=True, properties=[("mode", "SHOW")]),
    )

    def draw_settings(context: bpy.types.Context, layout: bpy.types.UILayout, tool: bpy.types.WorkSpaceTool) -> None:  # noqa: N805
        draw_shape_settings(layout, tool.operator_properties("lookalike.trim_lasso"))


def draw_shape_settings(layout: bpy.types.UILayout, properties: bpy.types.OperatorProperties) -> None:
    layout.prop(properties, "through", toggle=True)
    layout.prop(properties, "mirror", toggle=True)


TOOLS = (LookalikeBrush, LookalikeBox, LookalikeLasso)


def attach() -> None:
    """Put the tools at the end of the toolbar."""
    for i, tool in enumerate(TOOLS):
        bpy.utils.register_tool(tool, separator=i == 0)


def detach() -> None:
    for tool in reversed(TOOLS):
        bpy.utils.unregister_tool(tool)
