"""What the sidebar and the menu show of editing and of an avatar that needs attention."""

from __future__ import annotations

import bpy

from tests.blender.ui.recorder import Recorder


def drawn_by(cls: type, context=None) -> list[str]:
    layout = Recorder()
    shown = type(cls.__name__, (), {"layout": layout, "draw": cls.draw})()
    shown.draw(context or bpy.context)
    return layout.drawn


def test_edit_panel_offers_tools_regions_and_ways_back(addon, avatar) -> None:
    lines = drawn_by(addon.part("editing.panels").LOOKALIKE_PT_edit)
    for operator in ("hide_region", "show_hidden", "remove_hidden", "reset_edits", "mirror_repair", "attach_to_head", "detach_from_head"):
        assert any(f"lookalike.{operator}" in line for line in lines), operator
    assert sum("wm.tool_set_by_id" in line for line in lines) == 3


def test_menu_holds_files_assets_and_a_submenu_for_each_kind_of_work(addon, avatar) -> None:
    lines = drawn_by(addon.part("ui.menus").LOOKALIKE_MT_tools)
    for operator in ("export_splats", "export_gltf", "export_lam", "mark_asset", "select_avatar"):
        assert any(f"lookalike.{operator}" in line for line in lines), operator
    assert [line for line in lines if line.startswith("menu ")] == [
        f"menu LOOKALIKE_MT_{name}" for name in ("face", "motion", "personalize", "splats", "render", "avatar")
    ]


def test_what_is_wrong_stands_under_the_list_with_its_remedy(addon, avatar, tmp_path) -> None:
    panels = addon.part("editing.panels")
    layout = Recorder()
    panels.draw_problems(layout, bpy.context, avatar)
    assert layout.drawn == []
    addon.avatar.head_of(avatar).data.vertices.add(1)
    avatar.lookalike.source_path = str(tmp_path / "gone.lookalike")
    panels.draw_problems(layout, bpy.context, avatar)
    text = " ".join(line.removeprefix("label ") for line in layout.drawn if line.startswith("label"))
    assert "added or removed" in text
    assert "gone.lookalike is gone" in text
    assert [line.split()[1] for line in layout.drawn if line.startswith("operator")] == ["lookalike.rebind", "lookalike.export_avatar"]


def test_a_lone_cloud_can_be_edited_without_any_avatar(addon, arrays) -> None:
    protocol = addon.part("protocol.interchange")
    source = addon.part("interchange.source")
    assert not source.has_source(bpy.context)
    obj = addon.part("interchange.cloud_objects").cloud_object("hat", protocol.SplatCloud.of(arrays.lods[0]))
    bpy.context.scene.collection.objects.link(obj)
    bpy.context.view_layer.update()
    bpy.context.view_layer.objects.active = obj
    obj.select_set(True)
    assert source.has_source(bpy.context)
    assert source.splat_source(bpy.context) == obj
    assert bpy.ops.lookalike.show_hidden() == {"FINISHED"}
