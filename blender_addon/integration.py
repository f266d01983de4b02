"""Where the add-on shows up in Blender beside its own panel: menus, toolbar, keymap, translations. Symmetric attach and detach."""

from __future__ import annotations

import bpy

from . import translations
from .editing import settings, tools
from .interchange import operators as files

KEY = {"type": "L", "value": "PRESS", "ctrl": True, "shift": True, "alt": True}
"""Opens the Lookalike menu in Object and Pose Mode; changed in Preferences > Keymap."""

_keys: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = []


def attach() -> None:
    """After all classes are registered."""
    settings.attach()
    for menu, draw in _entries():
        menu.append(draw)
    tools.attach()
    _attach_keys()
    translations.register()


def detach() -> None:
    """Before classes are unregistered."""
    translations.unregister()
    for keymap, item in _keys:
        keymap.keymap_items.remove(item)
    _keys.clear()
    tools.detach()
    for menu, draw in reversed(_entries()):
        menu.remove(draw)
    settings.detach()


def other_copy(package: str) -> str:
    """The package of another copy of this add-on that is enabled now, or ""."""
    panel = getattr(bpy.types, "LOOKALIKE_PT_create", None)
    module = getattr(panel, "__module__", package)
    found = module.removesuffix(".ui.create_panel")
    return "" if found == package else found


def _entries() -> tuple[tuple[type, object], ...]:
    types = bpy.types
    return (
        (types.TOPBAR_MT_file_import, files.draw_import),
        (types.TOPBAR_MT_file_export, files.draw_export),
        (types.VIEW3D_MT_object, _draw_menu),
        (types.VIEW3D_MT_pose, _draw_menu),
        (types.VIEW3D_MT_object_context_menu, _draw_context_menu),
        (types.VIEW3D_MT_pose_context_menu, _draw_context_menu),
        (types.OUTLINER_MT_collection, _draw_collection_menu),
    )


def _draw_menu(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    menu.layout.separator()
    menu.layout.menu("LOOKALIKE_MT_tools", icon="OUTLINER_OB_ARMATURE")


def _draw_context_menu(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Only where the active object has to do with an avatar: other people's menus stay as they are."""
    from .avatar import avatar_of

    obj = context.active_object
    if obj is not None and (obj.lookalike.role != "NONE" or avatar_of(obj) is not None):
        menu.layout.separator()
        menu.layout.menu("LOOKALIKE_MT_tools", icon="OUTLINER_OB_ARMATURE")


def _draw_collection_menu(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    collection = getattr(context, "collection", None)
    if collection is not None and collection.lookalike.is_avatar:
        menu.layout.separator()
        menu.layout.operator("lookalike.select_avatar").avatar = collection.name
        menu.layout.operator("lookalike.mark_asset").avatar = collection.name


def _attach_keys() -> None:
    config = bpy.context.window_manager.keyconfigs.addon if bpy.context.window_manager else None
    if config is None:  # background: there are no keys
        return
    for name in ("Object Mode", "Pose"):
        keymap = config.keymaps.new(name=name, space_type="EMPTY")
        item = keymap.keymap_items.new("wm.call_menu", KEY["type"], KEY["value"], ctrl=True, shift=True, alt=True)
        item.properties.name = "LOOKALIKE_MT_tools"
        _keys.append((keymap, item))
