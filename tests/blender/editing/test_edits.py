"""Hiding, brushing and repairing splats: what a user relies on when an avatar is trimmed."""

from __future__ import annotations

import bpy
import numpy as np
import pytest


def opacity(addon, obj):
    return addon.part("avatar.host").read_attribute(obj.data, "radiance:base")[:, 3]


def scale(addon, obj):
    return addon.part("avatar.host").read_attribute(obj.data, "scale")


def position(addon, obj):
    return addon.part("avatar.host").read_attribute(obj.data, "position")


def evaluated(addon, obj):
    for other in bpy.context.scene.objects:
        if other.lookalike.role == "SPLATS":
            other.hide_viewport = other != obj
    bpy.context.view_layer.update()
    return addon.avatar.read_evaluated(obj, bpy.context.evaluated_depsgraph_get())


def test_box_hides_the_same_place_on_every_level(addon, avatar, front):
    """The box covers x > 0.05 m of the front view: 200 + 1000 * 0.05 pixels."""
    changed = addon.editing.choose_box(avatar, front, (250, 0), (400, 400))
    assert changed > 100
    for obj in addon.avatar.splats_of(avatar).values():
        inside = position(addon, obj)[:, 0] > 0.05
        assert inside.any()
        assert (opacity(addon, obj)[inside] == 0).all()
        assert (opacity(addon, obj)[~inside] > 0).all()


def test_hidden_splats_keep_following_the_rig(addon, avatar, front, arrays):
    obj = addon.avatar.splats_of(avatar)[1]
    before = evaluated(addon, obj)["position"]
    addon.editing.choose_box(avatar, front, (250, 0), (400, 400))
    assert np.array_equal(evaluated(addon, obj)["position"], before)
    addon.avatar.pose_avatar(addon.avatar.BlenderAvatar(avatar.session_uid), {"mouthSmile": 1.0}, np.full((5, 3), 0.1, np.float32))
    moved = evaluated(addon, obj)["position"]
    assert np.abs(moved - before).max() > 0.005
    addon.editing.show_all([obj])
    assert np.allclose(evaluated(addon, obj)["position"], moved), "and are in the right place when they are shown again"


def test_a_surface_stroke_leaves_the_back_of_the_head(addon, avatar, front):
    stroke = addon.editing.Stroke(np.float32([[200, 200]]), 60, 1.0)
    addon.editing.brush(avatar, front, stroke, "HIDE")
    obj = addon.avatar.splats_of(avatar)[2]
    hidden, place = opacity(addon, obj) == 0, position(addon, obj)
    assert hidden.sum() > 50
    assert (place[hidden, 1] < 0).all(), "only what is seen from the front"
    options = addon.part("editing.picking").Options(through=True)
    addon.editing.brush(avatar, front, stroke, "HIDE", options=options)
    assert (position(addon, obj)[opacity(addon, obj) == 0, 1] > 0.05).any(), "through the head, where that is asked for"


def test_strokes_are_painted_where_the_posed_head_is(addon, avatar, front):
    """The head is moved by 0.1 m; the stroke stays on the middle of the picture."""
    addon.avatar.armature_of(avatar).location.x = 0.1
    bpy.context.view_layer.update()
    addon.editing.brush(avatar, front, addon.editing.Stroke(np.float32([[200, 200]]), 40, 1.0), "HIDE")
    obj = addon.avatar.splats_of(avatar)[2]
    hidden = position(addon, obj)[opacity(addon, obj) == 0]
    assert abs(hidden[:, 0].mean() + 0.06) < 0.02, "the person's right cheek, at rest at -0.06 m"


def test_lasso_hides_inside_its_outline(addon, avatar, front):
    triangle = np.float32([[200, 350], [120, 150], [280, 150]])
    addon.editing.choose_lasso(avatar, front, triangle)
    obj = addon.avatar.splats_of(avatar)[2]
    hidden = position(addon, obj)[opacity(addon, obj) == 0]
    x, z = hidden[:, 0] * 1000 + 200, hidden[:, 2] * 1000 + 200
    assert len(hidden) > 100
    assert (z >= 149).all()
    assert (np.abs(x - 200) <= (350 - z) * 0.4 + 1).all()


def test_fade_and_strengthen_change_opacity_by_weight(addon, avatar, front):
    obj = addon.avatar.splats_of(avatar)[2]
    before = opacity(addon, obj)
    stroke = addon.editing.Stroke(np.float32([[200, 200]]), 60, 0.0)
    addon.editing.brush(avatar, front, stroke, "FADE", 0.5)
    faded = opacity(addon, obj)
    ratio = (faded / before)[faded < before]
    assert 0.5 <= ratio.min() < 0.6
    assert ratio.max() > 0.9, "a soft edge"
    addon.editing.brush(avatar, front, stroke, "STRENGTHEN", 1.0)
    assert opacity(addon, obj).max() <= 1
    assert (opacity(addon, obj) >= faded - 1e-6).all()


def test_size_brush_scales_what_is_evaluated(addon, avatar, front):
    obj = addon.avatar.splats_of(avatar)[2]
    before = evaluated(addon, obj)["scale"]
    addon.editing.brush(avatar, front, addon.editing.Stroke(np.float32([[200, 200]]), 60, 1.0), "GROW", 1.0)
    after = evaluated(addon, obj)["scale"]
    factor = (after / before).max(1)
    assert np.isclose(factor.max(), 2, atol=0.01)
    assert np.isclose(np.median(factor), 1)
    addon.editing.reset_edits([obj])
    assert np.allclose(evaluated(addon, obj)["scale"], before, rtol=1e-4)


def test_reset_takes_all_edits_back(addon, avatar, front):
    objects = list(addon.avatar.splats_of(avatar).values())
    before = [(opacity(addon, o), scale(addon, o)) for o in objects]
    for mode in ("HIDE", "FADE", "STRENGTHEN", "SHRINK", "GROW"):
        addon.editing.brush(avatar, front, addon.editing.Stroke(np.float32([[180, 220], [220, 180]]), 30), mode, 0.7)
    assert any(not np.array_equal(opacity(addon, o), b[0]) for o, b in zip(objects, before, strict=True))
    addon.editing.reset_edits(objects)
    for obj, (opaque, size) in zip(objects, before, strict=True):
        assert np.allclose(opacity(addon, obj), opaque, atol=1e-6)
        assert np.allclose(scale(addon, obj), size, rtol=1e-4)


def test_mirrored_stroke_does_both_sides(addon, avatar, front):
    options = addon.part("editing.picking").Options(mirror=True)
    addon.editing.brush(avatar, front, addon.editing.Stroke(np.float32([[250, 200]]), 25, 1.0), "HIDE", options=options)
    obj = addon.avatar.splats_of(avatar)[2]
    hidden = position(addon, obj)[opacity(addon, obj) == 0]
    left, right = hidden[hidden[:, 0] > 0], hidden[hidden[:, 0] < 0]
    assert len(left) > 20
    assert abs(len(left) - len(right)) < 0.2 * len(left)


def test_similar_colour_spares_other_colours(addon, avatar, front):
    """The synthetic head is coloured by place: its colour changes across the stroke."""
    options = addon.part("editing.picking").Options(similar=0.06)
    stroke = addon.editing.Stroke(np.float32([[200, 260], [200, 140]]), 20, 1.0)
    obj = addon.avatar.splats_of(avatar)[2]
    addon.editing.brush(avatar, front, stroke, "HIDE", options=options)
    some = (opacity(addon, obj) == 0).sum()
    addon.editing.brush(avatar, front, stroke, "HIDE")
    assert 0 < some < 0.7 * (opacity(addon, obj) == 0).sum()


def test_removed_splats_are_gone_and_the_rest_still_bound(addon, avatar, front):
    obj = addon.avatar.splats_of(avatar)[2]
    shoulders = obj.lookalike.shoulders
    place = evaluated(addon, obj)["position"]
    addon.editing.choose_box(avatar, front, (0, 0), (400, 60))
    hidden = opacity(addon, obj) == 0
    assert hidden[-shoulders:].any(), "some shoulders are trimmed"
    removed = addon.editing.remove_hidden(addon.avatar.splats_of(avatar).values())
    assert removed >= hidden.sum()
    assert np.allclose(evaluated(addon, obj)["position"], place[~hidden], atol=1e-6)
    assert obj.lookalike.shoulders == (~hidden)[-shoulders:].sum()
    back = addon.avatar.avatar_arrays(avatar)
    assert len(back.lods[2]) + len(back.shoulders) == (~hidden).sum(), "and the avatar still exports"


def test_everything_hidden_cannot_be_removed(addon, avatar, front):
    protocol = addon.part("protocol")
    addon.editing.choose_box(avatar, front, (-1000, -1000), (2000, 2000))
    count = len(position(addon, addon.avatar.splats_of(avatar)[0]))
    with pytest.raises(protocol.AvatarFileError, match="all its splats are hidden"):
        addon.editing.remove_hidden(addon.avatar.splats_of(avatar).values())
    assert len(position(addon, addon.avatar.splats_of(avatar)[0])) == count


def test_repair_puts_the_good_side_onto_the_bad_one(addon, avatar):
    """The left side is painted red first; after the repair from it, so is the right."""
    host = addon.part("avatar.host")
    obj = addon.avatar.splats_of(avatar)[2]
    radiance = host.read_attribute(obj.data, "radiance:base")
    left = position(addon, obj)[:, 0] > 0
    radiance[left, :3] = (1.5, -1.5, -1.5)
    radiance[~left, :3] = (-1.5, 1.5, -1.5)
    kind = obj.data.attributes["radiance:base"].data_type
    host.write_attribute(obj.data, "radiance:base", kind, radiance)
    put = addon.editing.mirror_repair(avatar, "LEFT")
    shoulders = obj.lookalike.shoulders
    head = position(addon, obj)[:-shoulders]
    red = host.read_attribute(obj.data, "radiance:base")[:-shoulders, 0] > 0
    assert put > 1000
    assert red[np.abs(head[:, 0]) > 0.003].all()
    ours, theirs = head[head[:, 0] > 0.003], head[head[:, 0] < -0.003] * [-1, 1, 1]
    assert np.allclose(np.sort(ours, 0), np.sort(theirs, 0), atol=1e-4), "a mirror image, splat by splat"


def test_repaired_splats_follow_their_own_side(addon, avatar):
    """After repair, the right lid's splats follow the right blink, as mirrored ones of the left follow the left."""
    addon.editing.mirror_repair(avatar, "LEFT")
    obj, handle = addon.avatar.splats_of(avatar)[2], addon.avatar.BlenderAvatar(avatar.session_uid)
    rest = evaluated(addon, obj)["position"]
    addon.avatar.pose_avatar(handle, {"eyeBlinkRight": 1.0})
    moved = np.abs(evaluated(addon, obj)["position"] - rest).max(1) > 5e-4
    assert moved.sum() > 5
    assert (rest[moved, 0] < 0).all()


def test_regions_are_what_they_are_called(addon, avatar):
    obj = addon.avatar.splats_of(avatar)[2]
    shoulders = np.arange(len(position(addon, obj))) >= len(position(addon, obj)) - obj.lookalike.shoulders
    addon.editing.hide_region(avatar, "SHOULDERS")
    assert np.array_equal(opacity(addon, obj) == 0, shoulders)
    addon.editing.hide_region(avatar, "SHOULDERS", hide=False)
    assert (opacity(addon, obj) > 0).all()
    addon.editing.hide_region(avatar, "FACE")
    assert (position(addon, obj)[opacity(addon, obj) == 0, 1] < 0.02).all(), "the face is in front"
    addon.editing.reset_edits([obj])
    group = addon.avatar.head_of(avatar).vertex_groups.new(name="scar")
    group.add([0, 1, 2, 3, 4, 5], 1.0, "REPLACE")
    assert "scar" in addon.editing.region_names(avatar)
    assert addon.editing.hide_region(avatar, "scar") > 0
    with pytest.raises(addon.part("protocol").AvatarFileError, match="no region"):
        addon.editing.hide_region(avatar, "tail")


def test_each_operator_is_one_undo_step(addon, avatar, front):
    """Brush, then undo: the file is as before, as Ctrl-Z makes it."""
    bpy.ops.ed.undo_push(message="before")
    name = avatar.name
    before = opacity(addon, addon.avatar.splats_of(avatar)[2])
    view = {"view": front.view.ravel().tolist(), "window": front.window.ravel().tolist(), "region": front.size}
    points = [{"name": "", "mouse": (200 + i, 200)} for i in range(5)]
    assert bpy.ops.lookalike.brush_splats("EXEC_DEFAULT", True, mode="HIDE", radius=40, points=points, **view) == {"FINISHED"}
    assert (opacity(addon, addon.avatar.splats_of(bpy.data.collections[name])[2]) == 0).sum() > 20
    bpy.ops.ed.undo()
    assert np.array_equal(opacity(addon, addon.avatar.splats_of(bpy.data.collections[name])[2]), before)


def test_operators_say_why_they_cannot(addon, avatar, tmp_path):
    """A linked avatar is not edited; nothing is changed, and the message names the file."""
    path = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with bpy.data.libraries.load(str(path), link=True) as (source, target):
        target.collections = [name for name in source.collections if name == "synthetic"]
    bpy.context.scene.collection.children.link(target.collections[0])
    with pytest.raises(RuntimeError, match=r"linked from library\.blend"):
        bpy.ops.lookalike.hide_region(region="SHOULDERS")


def test_a_cloud_is_edited_like_an_avatar(addon, front, arrays):
    protocol = addon.part("protocol.interchange")
    obj = addon.part("interchange.cloud_objects").cloud_object("hat", protocol.SplatCloud.of(arrays.lods[1]))
    bpy.context.scene.collection.objects.link(obj)
    bpy.context.view_layer.update()
    before, count = scale(addon, obj), len(position(addon, obj))
    assert addon.editing.choose_box(obj, front, (250, 0), (400, 400)) > 50
    addon.editing.brush(obj, front, addon.editing.Stroke(np.float32([[200, 200]]), 40, 1.0), "GROW", 1.0)
    assert (scale(addon, obj) > 1.5 * before).any()
    removed = addon.editing.remove_hidden([obj])
    assert len(position(addon, obj)) == count - removed


@pytest.fixture
def point_clouds(addon, monkeypatch):
    """Splats are stored as point clouds, as on 5.3, where this Blender can fill them (5.2)."""
    types = {item.identifier for item in bpy.types.Attribute.bl_rna.properties["data_type"].enum_items}
    if "resize" not in bpy.types.PointCloud.bl_rna.functions or "FLOAT4" not in types:
        pytest.skip("this Blender cannot fill point clouds from Python")
    monkeypatch.setattr(addon.part("avatar.native"), "available", lambda: True)


def test_native_point_clouds_are_edited_alike(addon, arrays, front, point_clouds):
    """On 5.3's data: hide, size, remove and repair."""
    avatar = addon.avatar.build_avatar(arrays, bpy.context.scene.collection).collection
    obj = addon.avatar.splats_of(avatar)[2]
    assert obj.type == "POINTCLOUD"
    before, count = scale(addon, obj), len(position(addon, obj))
    assert addon.editing.choose_box(avatar, front, (250, 0), (400, 400)) > 100
    addon.editing.brush(avatar, front, addon.editing.Stroke(np.float32([[200, 200]]), 40, 1.0), "GROW", 1.0)
    assert (scale(addon, obj) > 1.5 * before).any()
    removed = addon.editing.remove_hidden([obj])
    assert len(position(addon, obj)) == count - removed > 0
    assert addon.editing.mirror_repair(avatar, "RIGHT") > 1000
    assert len(evaluated(addon, obj)["position"]) == len(position(addon, obj))
    cloud = addon.part("interchange.cloud_objects").cloud_object(
        "hat", addon.interchange.posed_cloud(avatar, bpy.context.evaluated_depsgraph_get())
    )
    assert cloud.type == "POINTCLOUD"
