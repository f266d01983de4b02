"""Blender's habits: entries in its menus and what F3 finds through them, drag and drop, undo, the key, Chinese, and a clean way out."""

from __future__ import annotations

import re
from types import SimpleNamespace

import bpy
import pytest

from tests.blender.ui.recorder import Recorder


def operators(addon) -> list[type]:
    return [cls for cls in addon.part("registration").CLASSES if issubclass(cls, bpy.types.Operator)]


def menu_texts(menu: type) -> str:
    """Modules of what add-ons drew into a menu."""
    return " ".join(f"{f.__module__}.{f.__name__}" for f in menu._dyn_ui_initialize())


def test_files_are_in_files_menus(addon) -> None:
    assert "interchange.operators.draw_import" in menu_texts(bpy.types.TOPBAR_MT_file_import)
    assert "interchange.operators.draw_export" in menu_texts(bpy.types.TOPBAR_MT_file_export)


@pytest.mark.parametrize(
    "name", ["VIEW3D_MT_object", "VIEW3D_MT_object_context_menu", "VIEW3D_MT_pose_context_menu", "OUTLINER_MT_collection"]
)
def test_menus_where_a_user_looks(addon, name) -> None:
    assert "integration" in menu_texts(getattr(bpy.types, name))


def test_dropped_splat_files_are_imported(addon) -> None:
    handler = bpy.types.LOOKALIKE_FH_splats
    assert handler.bl_import_operator == "lookalike.import_splats"
    assert set(handler.bl_file_extensions.split(";")) == {".ply", ".spz"}


def test_every_operator_that_changes_the_file_is_undone(addon) -> None:
    """Operators of editing and interchange say UNDO, exporters do not."""
    for cls in operators(addon):
        if ".editing." in cls.__module__ or cls.__name__.startswith(
            ("LOOKALIKE_OT_import_splats", "LOOKALIKE_OT_attach", "LOOKALIKE_OT_detach")
        ):
            assert {"REGISTER", "UNDO"} <= set(cls.bl_options), cls.__name__
        if cls.__name__.startswith("LOOKALIKE_OT_export"):
            assert "UNDO" not in cls.bl_options, cls.__name__


def reachable(addon) -> tuple[set[str], set[str]]:
    """Operators that the add-on's entries of Blender's menus lead to, through submenus, and the tools that they switch to."""
    found, seen, queue = Recorder(), set(), []
    for name in ("TOPBAR_MT_file_import", "TOPBAR_MT_file_export", "VIEW3D_MT_object", "VIEW3D_MT_pose"):
        entries = [draw for draw in getattr(bpy.types, name)._dyn_ui_initialize() if draw.__module__.startswith(addon.api.__package__)]
        assert entries, name
        for draw in entries:
            draw(SimpleNamespace(layout=found), bpy.context)
    while queue := [line.split()[1] for line in found.drawn if line.startswith("menu ") and line.split()[1] not in seen]:
        for name in set(queue):
            seen.add(name)
            menu = getattr(bpy.types, name)
            menu.draw(SimpleNamespace(layout=found), bpy.context)
    tools = {str(value) for operator, _, value in found.given if operator == "wm.tool_set_by_id"}
    return {line.split()[1] for line in found.drawn if line.startswith("operator ")}, tools


def test_every_operator_that_is_not_internal_is_in_a_menu(addon, avatar) -> None:
    """F3 searches Blender's menus, not operators. What a tool of the toolbar calls is found by the tool's name."""
    addon.api.save_preset(avatar, "Own Face")
    called, tools = reachable(addon)
    pairs = ("brush_splats", "brush"), ("trim_box", "box"), ("trim_lasso", "lasso")
    by_tools = {f"lookalike.{operator}": f"lookalike.{tool}" for operator, tool in pairs}
    wanted = {cls.bl_idname for cls in operators(addon) if "INTERNAL" not in getattr(cls, "bl_options", ())}
    assert len(wanted) > 40
    assert wanted - called == by_tools.keys()
    assert tools == set(by_tools.values())


def key_items() -> dict[str, list[bpy.types.KeyMapItem]]:
    """The add-on's keymap items by the mode that they work in."""
    maps = bpy.context.window_manager.keyconfigs.addon.keymaps
    found = {keymap.name: [item for item in keymap.keymap_items if "LOOKALIKE" in getattr(item.properties, "name", "")] for keymap in maps}
    return {mode: items for mode, items in found.items() if items}


def test_the_key_opens_the_menu_and_goes_with_the_addon(addon, lookalike) -> None:
    """One item each in Object and Pose Mode, as Preferences > Keymap lists them. Windows show that the key is free: tests/real_blender."""
    found = key_items()
    assert found.keys() == {"Object Mode", "Pose"}
    for items in found.values():
        [item] = items
        assert (item.idname, item.properties.name) == ("wm.call_menu", "LOOKALIKE_MT_tools")
        assert (item.type, item.value, item.ctrl, item.shift, item.alt, item.oskey) == ("L", "PRESS", True, True, True, False)
        assert item.active
    assert issubclass(bpy.types.LOOKALIKE_MT_tools, bpy.types.Menu)
    lookalike.unregister()
    try:
        assert key_items() == {}
    finally:
        lookalike.register()
    assert {mode: len(items) for mode, items in key_items().items()} == {"Object Mode": 1, "Pose": 1}


def test_chinese_is_shown_where_a_user_chose_it(addon) -> None:
    view = bpy.context.preferences.view
    if not addon.part("translations").table().keys() & {"zh_HANS"}:
        pytest.fail("there is no Chinese table")
    try:
        view.language = "zh_HANS"
    except TypeError:
        pytest.skip("this Blender was built without languages")
    try:
        view.use_translate_interface = view.use_translate_tooltips = True
        text = bpy.app.translations
        assert text.pgettext_iface("Edit Splats") == "编辑泼溅点"
        assert text.pgettext_iface("Brush Splats", "Operator") == "刷泼溅点"
        assert text.pgettext_tip("Radius of the brush") == "笔刷半径"
        assert text.pgettext_iface("something of nobody") == "something of nobody"
    finally:
        view.language = "DEFAULT"


def test_most_of_the_interface_is_translated(addon) -> None:
    """Labels of every operator, panel and menu of editing and interchange; and placeholders survive."""
    table = addon.part("translations.chinese")
    labels = {
        cls.bl_label
        for cls in addon.part("registration").CLASSES
        if ".editing." in cls.__module__ or ".interchange." in cls.__module__
        if hasattr(cls, "bl_label")
    }
    assert labels - set(table.LABELS) == set()
    for english, said in table.CHINESE.items():
        assert said.strip(), english
        assert sorted(re.findall(r"\{[^}]*\}|%\w", english)) == sorted(re.findall(r"\{[^}]*\}|%\w", said)), english
        assert not said.endswith("。"), "Blender's labels and tooltips end without a stop"


def test_no_tool_and_no_translation_stays_behind(addon, lookalike) -> None:
    from bl_ui.space_toolsystem_common import ToolSelectPanelHelper
    from bl_ui.space_toolsystem_toolbar import VIEW3D_PT_tools_active

    def tools() -> set[str]:
        return {item.idname for item in ToolSelectPanelHelper._tools_flatten(VIEW3D_PT_tools_active._tools["OBJECT"]) if item is not None}

    ours = {"lookalike.brush", "lookalike.box", "lookalike.lasso"}
    assert ours <= tools()
    lookalike.unregister()
    try:
        assert not ours & tools()
        assert not hasattr(bpy.types.WindowManager, "lookalike_edit")
        for name in ("VIEW3D_MT_object", "VIEW3D_MT_object_context_menu", "OUTLINER_MT_collection"):
            assert "lookalike" not in menu_texts(getattr(bpy.types, name))
    finally:
        lookalike.register()


def test_a_second_copy_says_which_one_is_in_the_way(addon, lookalike) -> None:
    """Registering again under another name raises before anything changes."""
    import importlib.util
    import sys

    spec = importlib.util.spec_from_file_location(
        "lookalike_second", lookalike.__file__, submodule_search_locations=list(lookalike.__path__)
    )
    second = importlib.util.module_from_spec(spec)
    sys.modules["lookalike_second"] = second
    spec.loader.exec_module(second)
    with pytest.raises(RuntimeError, match=f"enabled twice: disable “{lookalike.__name__}” first"):
        second.register()
    assert bpy.ops.lookalike.import_splats.get_rna_type().identifier == "LOOKALIKE_OT_import_splats"
    assert bpy.types.LOOKALIKE_PT_create.__module__.startswith(lookalike.__name__)
