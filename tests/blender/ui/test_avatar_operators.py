"""Avatars through the operators, as menus, buttons and scripts call them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest

from backend.protocol import read_avatar


@pytest.fixture
def ada(addon: SimpleNamespace, avatar_file: Path) -> bpy.types.Collection:
    """An imported avatar, active."""
    assert bpy.ops.lookalike.import_avatar(filepath=str(avatar_file)) == {"FINISHED"}
    return addon.api.avatar()


def everything() -> dict[str, list[str]]:
    """Names of all data-blocks, for "nothing was changed"."""
    kinds = ("objects", "meshes", "collections", "node_groups")
    return {kind: sorted(block.name for block in getattr(bpy.data, kind)) for kind in kinds}


def test_import_selects_the_avatar(addon: SimpleNamespace, ada: bpy.types.Collection) -> None:
    assert ada.name == "synthetic"
    assert addon.api.active_avatar() == ada
    assert bpy.context.view_layer.objects.active.lookalike.role == "ARMATURE"


def test_import_of_several_dropped_files(addon: SimpleNamespace, avatar_file: Path) -> None:
    second = avatar_file.with_name("grace.lookalike")
    second.write_bytes(avatar_file.read_bytes())
    files = [{"name": avatar_file.name}, {"name": second.name}]
    assert bpy.ops.lookalike.import_avatar(directory=str(avatar_file.parent), files=files) == {"FINISHED"}
    first, other = (addon.part("avatar").armature_of(avatar) for avatar in addon.api.avatars())
    assert (first.location - other.location).length > 0.3, "one stands inside the other"


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "truncated", "flipped", "huge header"])
def test_bad_file_is_told_and_the_scene_untouched(
    addon: SimpleNamespace, ada: bpy.types.Collection, avatar_file: Path, damage: str
) -> None:
    data = bytearray(avatar_file.read_bytes())
    bad = avatar_file.with_name("bad.lookalike")
    contents = {
        "empty": b"",
        "text": b"not an avatar at all",
        "truncated": bytes(data[: len(data) // 2]),
        "flipped": bytes(data[:8]) + bytes(b ^ 0xFF for b in data[8:64]) + bytes(data[64:]),
        "huge header": b"\xff" * 8 + bytes(data[8:]),
    }
    if damage != "missing":
        bad.write_bytes(contents[damage])
    before = everything()
    with pytest.raises(RuntimeError, match=r"bad\.lookalike: "):
        bpy.ops.lookalike.import_avatar(filepath=str(bad))
    assert everything() == before
    assert addon.api.active_avatar() == ada


def test_export_and_import_give_the_same_avatar(ada: bpy.types.Collection, avatar_file: Path, tmp_path: Path) -> None:
    assert bpy.ops.lookalike.export_avatar(filepath=str(tmp_path / "copy"), avatar="synthetic") == {"FINISHED"}
    original, copy = read_avatar(avatar_file), read_avatar(tmp_path / "copy.lookalike")
    np.testing.assert_allclose(copy.rig.vertices, original.rig.vertices, atol=1e-6)
    np.testing.assert_allclose(copy.splats(2).position, original.splats(2).position, atol=1e-5)
    assert copy.provenance == original.provenance
    assert Path(bpy.path.abspath(ada.lookalike.source_path)) == tmp_path / "copy.lookalike"


def test_export_to_a_folder_that_is_not_there_is_told(ada: bpy.types.Collection, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="cannot be written"):
        bpy.ops.lookalike.export_avatar(filepath=str(tmp_path / "nowhere" / "copy.lookalike"))


def test_duplicate_and_delete(addon: SimpleNamespace, ada: bpy.types.Collection) -> None:
    assert bpy.ops.lookalike.duplicate_avatar() == {"FINISHED"}
    original, copy = addon.api.avatars()
    assert addon.api.active_avatar() == copy
    name = addon.part("avatar").expression_names(copy)[0]
    addon.api.set_expressions(copy, {name: 1.0})
    bpy.context.view_layer.update()
    assert addon.part("avatar").expression_keys(copy)[0].value == 1.0
    assert addon.part("avatar").expression_keys(original)[0].value == 0.0
    assert bpy.ops.lookalike.delete_avatar(avatar=copy.name) == {"FINISHED"}
    assert addon.api.avatars() == [original]
    assert bpy.ops.lookalike.delete_avatar() == {"FINISHED"}
    assert len(bpy.context.scene.objects) == 0
    assert not bpy.ops.lookalike.delete_avatar.poll()


def test_list_and_selection_follow_each_other(addon: SimpleNamespace, ada: bpy.types.Collection, avatar_file: Path) -> None:
    second = addon.api.import_avatar(avatar_file)
    session, collections = addon.session, list(bpy.data.collections)
    assert collections[session.avatar_index] == second
    session.avatar_index = collections.index(ada)
    assert addon.api.active_avatar() == ada
    bpy.context.view_layer.objects.active = addon.part("avatar").head_of(second)
    assert collections[session.avatar_index] == second
    bpy.ops.lookalike.select_avatar(avatar=ada.name)
    assert collections[session.avatar_index] == ada


def test_selecting_leaves_edit_mode(addon: SimpleNamespace, ada: bpy.types.Collection, avatar_file: Path) -> None:
    second = addon.api.import_avatar(avatar_file)
    bpy.ops.object.mode_set(mode="POSE")
    addon.api.select_avatar(ada)
    assert bpy.context.mode == "OBJECT"
    assert addon.api.active_avatar() == ada
    assert second in addon.api.avatars()


def test_reset_pose_returns_to_neutral(addon: SimpleNamespace, ada: bpy.types.Collection) -> None:
    avatar = addon.part("avatar")
    key = avatar.expression_keys(ada)[0]
    addon.api.set_expressions(ada, {key.name: 0.7})
    bpy.context.view_layer.update()
    assert key.value == pytest.approx(0.7)
    jaw = avatar.armature_of(ada).pose.bones["jaw"]
    jaw.rotation_euler.x = 0.3
    bpy.ops.lookalike.reset_pose(bones=False)
    bpy.context.view_layer.update()
    assert key.value == 0.0
    assert jaw.rotation_euler.x == pytest.approx(0.3)
    bpy.ops.lookalike.reset_pose()
    assert tuple(jaw.rotation_euler) == (0, 0, 0)


def test_level_of_detail(addon: SimpleNamespace, ada: bpy.types.Collection) -> None:
    splats = addon.part("avatar").splats_of(ada)
    bpy.ops.lookalike.set_lod(level="0")
    assert [obj.hide_viewport for obj in splats.values()] == [False, True, True]
    bpy.ops.lookalike.set_lod(level="AUTO")
    assert ada.lookalike.lod == "AUTO"


def test_demo_performance_keys_expressions_and_bones(addon: SimpleNamespace, ada: bpy.types.Collection) -> None:
    avatar = addon.part("avatar")
    assert bpy.ops.lookalike.key_performance(start=10, frames=60) == {"FINISHED"}
    assert bpy.context.scene.frame_end >= 69
    blink = avatar.head_of(ada).data.shape_keys.key_blocks["eyeBlinkLeft"]
    values = []
    for frame in range(10, 70):
        bpy.context.scene.frame_set(frame)
        values.append(blink.value)
    assert max(values) > 0.9


def test_operators_say_what_is_missing(addon: SimpleNamespace) -> None:
    for name in ("delete_avatar", "duplicate_avatar", "reset_pose", "key_performance", "export_avatar", "create", "clear_photos"):
        assert not getattr(bpy.ops.lookalike, name).poll(), name
    with pytest.raises(addon.protocol.AvatarFileError, match="nobody"):
        addon.api.avatar("nobody")


def test_photos_are_added_once_and_removed(addon: SimpleNamespace, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"x")
    files = [{"name": "a.jpg"}, {"name": "b.jpg"}]
    for _ in range(2):
        bpy.ops.lookalike.add_photos(directory=str(tmp_path), files=files)
    assert [photo.name for photo in addon.session.photos] == ["a.jpg", "b.jpg"]
    bpy.ops.lookalike.remove_photo(index=0)
    assert [photo.name for photo in addon.session.photos] == ["b.jpg"]
    bpy.ops.lookalike.remove_photo()
    assert not bpy.ops.lookalike.remove_photo.poll()
    assert bpy.ops.lookalike.add_photos(filepath=str(tmp_path / "none.jpg")) == {"CANCELLED"}


def test_dropping_takes_the_files_without_a_file_browser(addon: SimpleNamespace, avatar_file: Path) -> None:
    """Blender calls a drop's operator with INVOKE_DEFAULT, the folder and the files' names."""
    where = {"directory": str(avatar_file.parent), "files": [{"name": avatar_file.name}]}
    assert bpy.ops.lookalike.import_avatar("INVOKE_DEFAULT", **where) == {"FINISHED"}
    assert len(addon.api.avatars()) == 1
    assert bpy.ops.lookalike.add_photos("INVOKE_DEFAULT", **where) == {"FINISHED"}
    assert [photo.name for photo in addon.session.photos] == [avatar_file.name]


def test_nothing_of_the_panel_is_saved(addon: SimpleNamespace, tmp_path: Path) -> None:
    photo = addon.session.photos.add()
    photo.path = str(tmp_path / "private-person.jpg")
    addon.session.consent = "private consent"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"), compress=False)
    assert b"private" not in (tmp_path / "file.blend").read_bytes()


def test_files_dropped_on_a_viewport_are_taken(addon: SimpleNamespace) -> None:
    handlers = addon.part("ui.file_handlers")
    viewport, editor = (SimpleNamespace(area=SimpleNamespace(type=kind)) for kind in ("VIEW_3D", "TEXT_EDITOR"))
    for cls in (handlers.LOOKALIKE_FH_photos, handlers.LOOKALIKE_FH_avatar):
        assert cls.poll_drop(viewport)
        assert not cls.poll_drop(editor)
        assert not cls.poll_drop(SimpleNamespace(area=None))
        category, _, name = cls.bl_import_operator.partition(".")
        properties = getattr(getattr(bpy.ops, category), name).get_rna_type().properties
        assert {"directory", "files"} <= set(properties.keys())
    assert ".jpg" in handlers.LOOKALIKE_FH_photos.bl_file_extensions
