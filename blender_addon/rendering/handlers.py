"""When scenes are prepared for rendering: on opening, before saving, and when the view transform changes. Nothing runs while a
frame renders: a render thread must not touch the file's data. When rendering starts, what will be missing is written to the
console, which is a farm's log, and where the engine is chosen the same is said.
"""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

_owner = object()


@persistent
def _prepare(*_: object) -> None:
    if not any(obj.lookalike.role in {"SPLATS", "CLOUD"} for obj in bpy.data.objects):
        return
    from .preparation import prepare_scenes

    prepare_scenes()


@persistent
def _tell(scene: bpy.types.Scene, *_: object) -> None:
    if any(obj.lookalike.role in {"SPLATS", "CLOUD"} for obj in scene.objects):
        from .support import stops_rendering

        for reason in stops_rendering(scene):
            print(f"Lookalike: {scene.name}: {reason}")


def draw_engine_warning(self: bpy.types.Panel, context: bpy.types.Context) -> None:
    """Under the choice of the engine in the render properties."""
    if context.engine == "BLENDER_WORKBENCH" and any(obj.lookalike.role in {"SPLATS", "CLOUD"} for obj in context.scene.objects):
        self.layout.label(text="Workbench leaves avatars out", icon="ERROR")


def register() -> None:
    """No file is touched yet."""
    bpy.app.handlers.render_init.append(_tell)
    bpy.types.RENDER_PT_context.append(draw_engine_warning)
    bpy.app.handlers.load_post.append(_prepare)
    bpy.app.handlers.save_pre.append(_prepare)
    key = (bpy.types.ColorManagedViewSettings, "view_transform")
    bpy.msgbus.subscribe_rna(key=key, owner=_owner, args=(), notify=_prepare, options={"PERSISTENT"})


def unregister() -> None:
    bpy.msgbus.clear_by_owner(_owner)
    bpy.types.RENDER_PT_context.remove(draw_engine_warning)
    bpy.app.handlers.render_init.remove(_tell)
    bpy.app.handlers.save_pre.remove(_prepare)
    bpy.app.handlers.load_post.remove(_prepare)
