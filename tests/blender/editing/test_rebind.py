"""A rig mesh that a user edited, modifiers in any order, files that are gone: told, mended, nothing destroyed."""

from __future__ import annotations

import bpy  # before bmesh, which is a part of it
import numpy as np
import pytest

bmesh = pytest.importorskip("bmesh")


def edit(head, change) -> None:
    made = bmesh.new()
    made.from_mesh(head.data)
    change(made)
    made.to_mesh(head.data)
    made.free()
    head.data.update()
    bpy.context.view_layer.update()


def subdivide(made) -> None:
    bmesh.ops.subdivide_edges(made, edges=list(made.edges)[:200], cuts=1)


def remove_some(made) -> None:
    bmesh.ops.delete(made, geom=[v for v in made.verts if v.co.z > 0.1], context="VERTS")


def placed(addon, avatar, level=2):
    splats = addon.avatar.splats_of(avatar)
    for each, obj in splats.items():
        obj.hide_viewport = each != level
    bpy.context.view_layer.update()
    return addon.avatar.read_evaluated(splats[level], bpy.context.evaluated_depsgraph_get())


def kinds(addon, avatar):
    return [problem.kind for problem in addon.editing.problems(avatar)]


@pytest.mark.parametrize("change", [subdivide, remove_some])
def test_an_edited_rig_mesh_is_noticed_and_rebound(addon, avatar, change):
    assert kinds(addon, avatar) == []
    rest = placed(addon, avatar)
    head = addon.avatar.head_of(avatar)
    edit(head, change)
    assert kinds(addon, avatar) == ["edited"]
    assert np.allclose(placed(addon, avatar)["position"], rest["position"], atol=1e-6), "until then the splats stand where they were"
    assert bpy.ops.lookalike.rebind() == {"FINISHED"}
    assert kinds(addon, avatar) == []
    bound = placed(addon, avatar)
    assert np.abs(bound["position"] - rest["position"]).max() < 1e-5
    assert np.abs(bound["scale"] / rest["scale"] - 1).max() < 1e-3
    handle = addon.avatar.BlenderAvatar(avatar.session_uid)
    pose = np.zeros((5, 3), np.float32)
    pose[1, 1] = 0.5
    addon.avatar.pose_avatar(handle, {"mouthSmile": 1.0}, pose)
    moved = np.linalg.norm(placed(addon, avatar)["position"] - rest["position"], axis=1)
    count = len(moved) - addon.avatar.splats_of(avatar)[2].lookalike.shoulders
    assert moved[:count].max() > 0.01, "they follow the rig again"
    assert moved[count:].max() < 1e-4, "the shoulders stay"


def test_a_rebound_avatar_can_be_exported(addon, avatar, tmp_path):
    edit(addon.avatar.head_of(avatar), subdivide)
    assert bpy.ops.lookalike.rebind() == {"FINISHED"}
    protocol = addon.part("protocol")
    addon.api.export_avatar(avatar, tmp_path / "a.lookalike")
    back = protocol.read_avatar(tmp_path / "a.lookalike")
    assert len(back.rig.vertices) == len(addon.avatar.head_of(avatar).data.vertices)


def test_quads_are_triangulated(addon, avatar):
    head = addon.avatar.head_of(avatar)
    edit(head, lambda made: bmesh.ops.join_triangles(made, faces=made.faces, angle_face_threshold=3, angle_shape_threshold=3))
    assert any(len(p.vertices) > 3 for p in head.data.polygons)
    assert bpy.ops.lookalike.rebind() == {"FINISHED"}
    assert all(len(p.vertices) == 3 for p in head.data.polygons)
    assert kinds(addon, avatar) == []


def test_undo_brings_the_old_binding_back(addon, avatar):
    name = avatar.name
    bpy.ops.ed.undo_push(message="before")
    faces = len(addon.avatar.head_of(avatar).data.polygons)
    edit(addon.avatar.head_of(avatar), subdivide)
    bpy.ops.ed.undo_push(message="subdivided")
    bpy.ops.lookalike.rebind("EXEC_DEFAULT", True)
    bpy.ops.ed.undo()
    bpy.ops.ed.undo()
    avatar = bpy.data.collections[name]
    assert len(addon.avatar.head_of(avatar).data.polygons) == faces
    assert kinds(addon, avatar) == []


def test_a_modifier_that_changes_vertices_is_named(addon, avatar):
    head = addon.avatar.head_of(avatar)
    rest = placed(addon, avatar)["position"]
    modifier = head.modifiers.new("Smoother", "SUBSURF")
    bpy.context.view_layer.update()
    found = addon.editing.problems(avatar)
    assert [p.kind for p in found] == ["modifier"]
    assert "Smoother" in found[0].text
    assert np.allclose(placed(addon, avatar)["position"], rest, atol=1e-6)
    with pytest.raises(addon.part("protocol").AvatarFileError, match="a modifier changes its vertices"):
        addon.interchange.posed_cloud(avatar, bpy.context.evaluated_depsgraph_get())
    modifier.show_viewport = False
    assert kinds(addon, avatar) == []


def test_deforming_modifiers_work_in_any_order(addon, avatar):
    """A cast modifier above and below the armature: the splats follow the mesh either way."""
    head = addon.avatar.head_of(avatar)
    cast = head.modifiers.new("Cast", "CAST")
    cast.factor = 0.3
    posed = addon.part("interchange.posed")
    for index in (0, len(head.modifiers) - 1):
        head.modifiers.move(head.modifiers.find("Cast"), index)
        bpy.context.view_layer.update()
        native = placed(addon, avatar)["position"]
        depsgraph = bpy.context.evaluated_depsgraph_get()
        ours = posed.posed_splats(addon.avatar.splats_of(avatar)[2], head, posed.evaluated_vertices(head, depsgraph)).position
        assert np.abs(native - ours).max() < 2e-5
    assert kinds(addon, avatar) == []


def test_a_missing_avatar_file_is_told_and_harmless(addon, avatar, tmp_path):
    path = addon.api.export_avatar(avatar, tmp_path / "ada.lookalike")
    assert kinds(addon, avatar) == []
    path.unlink()
    addon.part("editing.health")._files.clear()
    found = addon.editing.problems(avatar)
    assert [p.kind for p in found] == ["file"]
    assert found[0].operator == "lookalike.export_avatar"
    assert len(placed(addon, avatar)["position"]) > 0


def test_a_file_of_a_newer_add_on_is_told(addon, avatar):
    avatar.lookalike.format_version = 99
    assert kinds(addon, avatar) == ["newer"]
    assert len(placed(addon, avatar)["position"]) > 0


def test_splats_of_an_older_blender_are_told_where_this_one_has_its_own(addon, avatar, monkeypatch):
    monkeypatch.setattr(addon.part("avatar.native"), "available", lambda: True)
    assert kinds(addon, avatar) == ["older"]


def test_a_deleted_rig_is_told(addon, avatar):
    bpy.data.objects.remove(addon.avatar.head_of(avatar))
    assert kinds(addon, avatar) == ["rig"]
    with pytest.raises(RuntimeError, match="lost its rig"):
        bpy.ops.lookalike.rebind()


def test_a_second_copy_of_the_add_on_is_refused(addon, lookalike):
    """Enabling another copy raises before anything is registered; the first goes on working."""
    integration = addon.part("integration")
    assert integration.other_copy(lookalike.__name__) == ""
    assert integration.other_copy("bl_ext.other.lookalike") == lookalike.__name__
