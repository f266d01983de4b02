"""Building: whole, level by level as the wire brings them, from files; bad avatars leave the file as it was."""

from __future__ import annotations

import importlib
import threading
from dataclasses import replace

import bpy
import numpy as np
import pytest

from backend.protocol import encode_avatar
from tests.blender.avatar.reference import evaluated, expect_same, expected_splats

REST = np.zeros((5, 3), np.float32)
KINDS = ("objects", "meshes", "armatures", "collections", "node_groups", "scenes", "shape_keys", "pointclouds")


def contents() -> dict[str, list[str]]:
    return {kind: sorted(getattr(bpy.data, kind).keys()) for kind in KINDS}


def test_collection_holds_armature_head_and_levels(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection, "Ada")
    assert sorted(obj.name for obj in avatar.collection.objects) == [
        "Ada", "Ada.head", "Ada.shadow", "Ada.splats.lod0", "Ada.splats.lod1", "Ada.splats.lod2"
    ]  # fmt: skip
    assert avatar.armature.data.bones[0].name == "root"
    assert {bone.name for bone in avatar.armature.data.bones} == {"root", "neck", "jaw", "eye_left", "eye_right"}
    assert all(key.slider_min <= 0 and key.slider_max >= 1 for key in api.expression_keys(avatar.collection))
    assert avatar.head.hide_render


def test_eye_bones_look_forward_and_jaw_opens_by_positive_x(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    bones = avatar.armature.data.bones
    for name in ("eye_left", "eye_right"):
        assert np.allclose((bones[name].tail_local - bones[name].head_local).normalized(), (0, -1, 0), atol=1e-6)
    chin = np.argmax(arrays.rig.weights[:, 2])
    avatar.armature.pose.bones["jaw"].rotation_euler.x = 0.3
    bpy.context.view_layer.update()
    mesh = avatar.head.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    assert mesh.vertices[chin].co.z < avatar.head.data.vertices[chin].co.z - 0.005


def test_jaw_opens_by_positive_x_where_its_joint_is_far_above_the_chin(api, scene, arrays):
    joints = arrays.rig.joints + np.float32([[0, 0, 0], [0, 0, 0], [0, 0.06, 0.05], [0, 0, 0], [0, 0, 0]])
    avatar = api.build_avatar(replace(arrays, rig=replace(arrays.rig, joints=joints)), scene.collection)
    bone = avatar.armature.data.bones["jaw"]
    along = bone.tail_local - bone.head_local
    assert abs(along.z) > abs(along.y)  # a steep one
    assert np.allclose(bone.matrix_local.col[0][:3], (1, 0, 0), atol=1e-5)


def test_bone_controls_name_what_a_bone_does(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    controls = {heading: [label for _, _, label in axes] for heading, axes in api.bone_controls(avatar.collection)}
    assert controls["Neck"] == ["Nod", "Turn", "Tilt"]
    assert controls["Jaw"] == ["Open", "Sideways"]
    avatar.armature.pose.bones["neck"].rotation_euler.y = 1
    api.expression_keys(avatar.collection)[0].value = 1
    api.reset_pose(avatar.collection)
    expect_same(evaluated(api, avatar.splats[2]), expected_splats(arrays, 2, {}, REST))


def test_levels_arrive_one_after_another(api, scene, arrays):
    avatar = api.begin_avatar(arrays.rig, scene.collection, "Ada")
    assert avatar.splats == {}
    for level in (0, 1, 2):
        avatar.add_lod(level, arrays.lods[level], arrays.shoulders)
        assert api.shown_level(avatar.collection) == level  # the finest so far
        expect_same(evaluated(api, avatar.splats[level]), expected_splats(arrays, level, {}, REST))
    api.set_facts(avatar, arrays.provenance, arrays.drivers)
    assert avatar.collection.lookalike.label == "synthetic"


def test_levels_may_arrive_after_the_artist_posed_and_undid(api, scene, arrays):
    avatar = api.begin_avatar(arrays.rig, scene.collection, "Ada")
    avatar.add_lod(0, arrays.lods[0], arrays.shoulders)
    bpy.ops.ed.undo_push(message="LOD 0")
    api.pose_avatar(avatar, {"mouthSmile": 1.0}, REST)
    bpy.ops.ed.undo_push(message="posed")
    bpy.ops.ed.undo()
    api.pose_avatar(avatar, {"mouthSmile": 0.5}, REST)
    avatar.add_lod(1, arrays.lods[1], arrays.shoulders)
    expect_same(evaluated(api, avatar.splats[1]), expected_splats(arrays, 1, {"mouthSmile": 0.5}, REST))


def test_a_level_can_be_replaced_and_prepared_in_a_thread(api, scene, arrays):
    avatar = api.begin_avatar(arrays.rig, scene.collection, "Ada")
    avatar.add_lod(0, arrays.lods[1])
    rest, prepared = api.rest_mesh(avatar.head), []
    worker = threading.Thread(target=lambda: prepared.append(api.prepare_lod(*rest, 0, arrays.lods[0], arrays.shoulders)))
    worker.start()
    worker.join()
    meshes = len(bpy.data.meshes)
    api.place_lod(avatar, 0, prepared[0], len(arrays.shoulders))
    assert len(bpy.data.meshes) == meshes
    assert list(avatar.splats) == [0]
    expect_same(evaluated(api, avatar.splats[0]), expected_splats(arrays, 0, {}, REST))


def test_missing_levels_show_the_nearest(api, scene, arrays):
    avatar = api.begin_avatar(arrays.rig, scene.collection, "Ada")
    assert api.show_level(avatar.collection, 2) is None
    avatar.add_lod(0, arrays.lods[0])
    avatar.collection.lookalike.lod = "2"
    assert api.shown_level(avatar.collection) == 0
    assert not avatar.splats[0].hide_render
    avatar.add_lod(2, arrays.lods[2])
    assert api.shown_level(avatar.collection) == 2
    assert (avatar.splats[0].hide_render, avatar.splats[2].hide_render) == (True, False)
    avatar.collection.lookalike.render_lod = "1"
    assert (avatar.splats[0].hide_render, avatar.splats[2].hide_render) == (False, True)


def test_hidden_levels_are_not_evaluated(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    avatar.collection.lookalike.lod = "0"
    evaluated(api, avatar.splats[0])
    for level in (1, 2):
        with pytest.raises(LookupError, match="not evaluated"):
            evaluated(api, avatar.splats[level])


def test_splat_objects_are_found_among_others(api, scene, arrays):
    scene.collection.objects.link(bpy.data.objects.new("empty", None))
    avatar = api.build_avatar(arrays, scene.collection)
    assert set(api.splat_objects(scene.objects)) == set(avatar.splats.values())


def test_avatar_that_is_gone_says_so(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with pytest.raises(LookupError, match="no longer"):
        avatar.add_lod(0, arrays.lods[0])


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-4],
        lambda data: b"\xff" * 100,
        lambda data: data.replace(b'"lod0/face"', b'"lod0/fake"'),
        lambda data: b"\xff\xff\xff\xff\xff\xff\xff\x7f" + data[8:],
    ],
    ids=["empty", "half", "short", "noise", "array missing", "huge header"],
)
def test_corrupt_file_is_refused_and_changes_nothing(api, scene, arrays, tmp_path, damage):
    protocol = importlib.import_module(api.__name__.replace(".avatar", ".protocol"))
    path = tmp_path / "bad.lookalike"
    path.write_bytes(damage(encode_avatar(arrays)))
    before = contents()
    with pytest.raises(protocol.AvatarFileError, match=r"bad\.lookalike"):
        api.build_avatar(protocol.read_avatar(path), scene.collection)
    assert contents() == before


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("face", lambda a: replace(a, lods=(replace(a.lods[0], face=a.lods[0].face + 10**6),))),
        ("joint", lambda a: replace(a, rig=replace(a.rig, joint_names=("root", "neck", "chin", "eye_left", "eye_right")))),
        ("weights", lambda a: replace(a, rig=replace(a.rig, weights=a.rig.weights[:-1]))),
        ("scale", lambda a: replace(a, lods=(replace(a.lods[0], scale=-a.lods[0].scale),))),
    ],
)
def test_inconsistent_arrays_are_refused_before_anything_is_made(api, scene, arrays, what, change):
    protocol = importlib.import_module(api.__name__.replace(".avatar", ".protocol"))
    before = contents()
    with pytest.raises(protocol.AvatarFileError, match=what):
        api.build_avatar(change(arrays), scene.collection)
    assert contents() == before


def test_portrait_pose_can_be_applied(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    driver = replace(arrays.drivers[0], pose=np.full((5, 3), 0.1, np.float32))
    api.apply_driver(avatar, driver)
    expect_same(evaluated(api, avatar.splats[2]), expected_splats(arrays, 2, driver.expression, driver.pose))


def test_every_public_name_is_there(api):
    for name in api.__all__:
        assert callable(getattr(api, name)), name
