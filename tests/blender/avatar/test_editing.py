"""What users do with avatars: undo, duplicate, Shift-D, delete, rename, select; several in one scene; names of any kind."""

from __future__ import annotations

from dataclasses import replace

import bpy
import numpy as np
import pytest

from tests.blender.avatar.reference import evaluated, expect_same, expected_splats

POSE = np.array([[0, 0, 0], [0.1, 0.5, 0.15], [0.3, 0, 0], [0, 0.3, 0], [0, 0.3, 0]], np.float32)
REST = np.zeros_like(POSE)
SMILE = {"mouthSmile": 0.8}


def test_two_avatars_do_not_disturb_each_other(api, scene, arrays):
    first, second = (api.build_avatar(arrays, scene.collection) for _ in range(2))
    api.pose_avatar(first, SMILE, POSE)
    expect_same(evaluated(api, first.splats[2]), expected_splats(arrays, 2, SMILE, POSE))
    expect_same(evaluated(api, second.splats[2]), expected_splats(arrays, 2, {}, REST))
    assert api.find_avatars(scene) == [first.collection, second.collection]
    assert len({first.name, second.name, first.armature.name, second.armature.name}) == 2  # collection and armature share a name


def test_duplicate_follows_its_own_rig_and_keeps_pose_and_keys(api, scene, arrays):
    original = api.build_avatar(arrays, scene.collection)
    api.motion_to_keys(original, [1, 11], {"mouthSmile": np.float32([0, 0.8])}, np.stack([REST, POSE]))
    copy = api.duplicate_avatar(original.collection)
    scene.frame_set(11)
    assert set(copy.collection.objects).isdisjoint(original.collection.objects)
    expect_same(evaluated(api, copy.splats[2]), expected_splats(arrays, 2, SMILE, POSE))
    for owner in ("armature", "head"):
        block = getattr(copy, owner) if owner == "armature" else copy.head.data.shape_keys
        source = getattr(original, owner) if owner == "armature" else original.head.data.shape_keys
        assert block.animation_data.action != source.animation_data.action
    copy.armature.animation_data_clear()
    copy.head.data.shape_keys.animation_data_clear()
    api.pose_avatar(copy, {}, REST)
    expect_same(evaluated(api, copy.splats[2]), expected_splats(arrays, 2, {}, REST))
    expect_same(evaluated(api, original.splats[2]), expected_splats(arrays, 2, SMILE, POSE))
    assert copy.collection.lookalike.provenance == original.collection.lookalike.provenance


def test_duplicate_takes_drivers_constraints_and_props_along(api, scene, arrays):
    original = api.build_avatar(arrays, scene.collection)
    hat = bpy.data.objects.new("hat", None)
    original.collection.objects.link(hat)
    constraint = hat.constraints.new("COPY_LOCATION")
    constraint.target = original.armature
    key = api.expression_keys(original.collection)[0]
    variable = key.driver_add("value").driver.variables.new()
    variable.type, variable.targets[0].id = "TRANSFORMS", original.armature
    copy = api.duplicate_avatar(original.collection)
    (new_hat,) = [o for o in copy.collection.objects if o.name.startswith("hat")]
    assert new_hat.constraints[0].target == copy.armature
    (curve,) = copy.head.data.shape_keys.animation_data.drivers
    assert curve.driver.variables[0].targets[0].id == copy.armature


def test_shift_d_of_all_parts_follows_its_own_rig_and_can_be_adopted(api, scene, arrays):
    original = api.build_avatar(arrays, scene.collection)
    for obj in original.collection.objects:
        obj.hide_viewport = False
        obj.select_set(True)
    bpy.ops.object.duplicate()
    (adopted,) = api.adopt_copies(scene)
    assert api.adopt_copies(scene) == []
    assert len(api.avatar_objects(adopted.collection)) == len(api.avatar_objects(original.collection)) == 5
    api.pose_avatar(adopted, SMILE, POSE)
    expect_same(evaluated(api, adopted.splats[2]), expected_splats(arrays, 2, SMILE, POSE))
    expect_same(evaluated(api, original.splats[2]), expected_splats(arrays, 2, {}, REST))


def test_delete_leaves_nothing_behind_and_spares_others(api, scene, arrays):
    kept = api.build_avatar(arrays, scene.collection)
    before = {kind: set(getattr(bpy.data, kind).keys()) for kind in ("objects", "meshes", "armatures", "collections", "shape_keys")}
    gone = api.build_avatar(arrays, scene.collection)
    api.delete_avatar(gone.collection)
    assert {kind: set(getattr(bpy.data, kind).keys()) for kind in before} == before
    with pytest.raises(LookupError):
        gone.collection  # noqa: B018
    api.pose_avatar(kept, SMILE, POSE)
    expect_same(evaluated(api, kept.splats[2]), expected_splats(arrays, 2, SMILE, POSE))


def test_undo_and_redo_of_a_build(api, scene, arrays):
    bpy.ops.ed.undo_push(message="before")
    avatar = api.build_avatar(arrays, scene.collection)
    name = avatar.name
    bpy.ops.ed.undo_push(message="built")
    api.pose_avatar(avatar, SMILE, POSE)
    bpy.ops.ed.undo_push(message="posed")
    bpy.ops.ed.undo()
    expect_same(evaluated(api, avatar.splats[2]), expected_splats(arrays, 2, {}, REST))
    bpy.ops.ed.undo()
    assert api.find_avatars(bpy.context.scene) == []
    bpy.ops.ed.redo()
    bpy.ops.ed.redo()
    (collection,) = api.find_avatars(bpy.context.scene)
    assert collection.name == name
    expect_same(evaluated(api, api.splats_of(collection)[2]), expected_splats(arrays, 2, SMILE, POSE))


@pytest.mark.parametrize(
    "name",
    ["Zoë 北京 😀", 'quote"d\\path/..', "x" * 200, "   ", "né" * 40, "Camera", "a.b.splats.lod0"],
)
def test_names_of_any_kind(api, scene, arrays, name):
    avatar = api.build_avatar(arrays, scene.collection, name)
    api.key_demo_performance(avatar)
    api.motion_to_keys(avatar, [1, 11], {"mouthSmile": np.float32([0, 0.8])}, np.stack([REST, POSE]))
    scene.frame_set(11)
    got = evaluated(api, avatar.splats[2])
    assert np.linalg.norm(got["position"] - expected_splats(arrays, 2, {}, REST)[0], axis=1).max() > 0.02
    assert avatar.splats[2].name.endswith(".splats.lod2")


def test_expression_names_of_any_kind_can_be_keyed(api, scene, arrays):
    odd = ('say "cheese"', "back\\slash", "眨眼")
    avatar = api.build_avatar(replace(arrays, rig=replace(arrays.rig, expression_names=odd)), scene.collection)
    missing = api.motion_to_keys(avatar, [1, 2], {name: np.float32([0, 1]) for name in (*odd, "absent")})
    scene.frame_set(2)
    assert missing == ["absent"]
    assert [key.value for key in api.expression_keys(avatar.collection)] == [1, 1, 1]


def test_rename_renames_parts(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    api.rename_avatar(avatar.collection, "Grace")
    assert [obj.name for obj in api.avatar_objects(avatar.collection)] == [
        "Grace",
        "Grace.head",
        *(f"Grace.splats.lod{i}" for i in range(3)),
    ]


def test_renaming_in_the_panels_list_renames_parts_and_an_empty_name_nothing(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    avatar.collection.lookalike.shown_name = "Grace"
    assert avatar.collection.lookalike.shown_name == avatar.collection.name == avatar.armature.name == "Grace"
    assert avatar.head.name == avatar.head.data.name == "Grace.head"
    avatar.collection.lookalike.shown_name = "  "
    assert avatar.collection.name == "Grace"
    long = "Grace Brewster Murray Hopper, rear admiral, computer scientist, mathematician"
    avatar.collection.lookalike.shown_name = long
    assert avatar.splats[2].name.endswith(".splats.lod2")
    assert avatar.collection.lookalike.label == long


def test_copies_share_what_hides_the_rig_mesh(api, scene, arrays):
    first, second = (api.build_avatar(arrays, scene.collection) for _ in range(2))
    copy = api.duplicate_avatar(first.collection)
    settings = {avatar.head.particle_systems[0].settings for avatar in (first, second, copy)}
    assert len(settings) == len(bpy.data.particles) == 1
    assert not any(avatar.head.show_instancer_for_viewport for avatar in (first, second, copy))


def test_panel_follows_the_selection(api, scene, arrays):
    first, second = (api.build_avatar(arrays, scene.collection) for _ in range(2))
    api.select_avatar(bpy.context, first.collection)
    assert api.active_avatar(bpy.context) == first.collection
    assert bpy.context.view_layer.objects.active == first.armature
    bpy.context.view_layer.objects.active = second.head
    assert api.active_avatar(bpy.context) == second.collection
    assert [obj.name for obj in bpy.context.selected_objects] == [first.armature.name, first.head.name]


def test_building_leaves_mode_selection_and_scenes_alone(api, scene, arrays):
    mesh = bpy.data.objects.new("mine", bpy.data.meshes.new("mine"))
    scene.collection.objects.link(mesh)
    mesh.select_set(True)
    bpy.context.view_layer.objects.active = mesh
    bpy.ops.object.mode_set(mode="EDIT")
    api.build_avatar(arrays, scene.collection)
    assert mesh.mode == "EDIT"
    assert bpy.context.view_layer.objects.active == mesh
    assert bpy.context.selected_objects == [mesh]
    assert len(bpy.data.scenes) == 1
    bpy.ops.object.mode_set(mode="OBJECT")


def test_frame_counts_no_viewport_in_background(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    windows = bpy.context.window_manager.windows
    views = sum(area.type == "VIEW_3D" for window in windows for area in window.screen.areas)
    assert api.frame_avatar(bpy.context, avatar.collection) == views
