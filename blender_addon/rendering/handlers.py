"""When scenes are prepared for rendering: on opening, before saving, and when the view transform changes. Nothing runs while a
frame renders: a render thread must not touch the file's data.
"""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

_owner = object()


@persistent
def _prepare(*_: object) -> None:
    if not any(obj.lookalike.role == "SPLATS" for obj in bpy.data.objects):
        return
    from .preparation import prepare_scenes

    prepare_scenes()


def register() -> None:
    """No file is touched yet."""
    bpy.app.handlers.load_post.append(_prepare)
    bpy.app.handlers.save_pre.append(_prepare)
    key = (bpy.types.ColorManagedViewSettings, "view_transform")
    bpy.msgbus.subscribe_rna(key=key, owner=_owner, args=(), notify=_prepare, options={"PERSISTENT"})


def unregister() -> None:
    bpy.msgbus.clear_by_owner(_owner)
    bpy.app.handlers.save_pre.remove(_prepare)
    bpy.app.handlers.load_post.remove(_prepare)
