"""What the face panels' buttons do, as the user presses them."""

from __future__ import annotations

from dataclasses import replace

import bpy
import numpy as np
import pytest

from tests.blender.animation import motion_files as files


@pytest.fixture(autouse=True)
def active(ada):
    bpy.context.view_layer.objects.active = ada.armature


def test_emotions_visemes_and_blink(ada, part, update):
    assert bpy.ops.lookalike.apply_preset(preset="emotion_joy", strength=0.5) == {"FINISHED"}
    update(ada.armature)
    assert ada.keys["mouthSmileLeft"].value == ada.keys["mouthSmileRight"].value == pytest.approx(0.425)
    bpy.ops.lookalike.apply_preset(preset="lids_blink")
    bpy.ops.lookalike.apply_preset(preset="viseme_ou")
    update(ada.armature)
    assert ada.keys["eyeBlinkLeft"].value == pytest.approx(1)
    assert ada.keys["mouthSmileLeft"].value == 0  # the mouth is the viseme's
    assert ada.keys["mouthPucker"].value == pytest.approx(0.75)
    assert ada.bones["jaw"].rotation_euler.x == pytest.approx(0.12 * 0.36, abs=1e-4)
    for preset in part("motion.visemes").PRESETS:
        assert bpy.ops.lookalike.apply_preset(preset=preset) == {"FINISHED"}
        update(ada.armature)
        assert all(-1 <= key.value <= 1.5 for key in ada.keys), preset  # within the sliders' range


def test_preset_that_means_nothing_to_a_rig_is_told(part, arrays):
    handle = part("avatar").build_avatar(
        replace(arrays, rig=replace(arrays.rig, expressions=arrays.rig.expressions[-1:], expression_names=("lipsParted",))),
        bpy.context.scene.collection,
    )
    bpy.context.view_layer.objects.active = handle.armature
    with pytest.raises(RuntimeError, match="none of the expressions of “Blink”"):
        bpy.ops.lookalike.apply_preset(preset="lids_blink", avatar=handle.collection.name)


def test_preset_keys_what_it_sets(ada, part):
    bpy.context.scene.frame_set(12)
    bpy.ops.lookalike.apply_preset(preset="emotion_surprise", key=True)
    curves = part("avatar.keyframes").action_curves(ada.armature)
    paths = {curve.data_path for curve in curves}
    assert 'pose.bones["face"]["browInnerUp"]' in paths
    assert 'pose.bones["jaw"].rotation_euler' in paths
    assert all(point.co[0] == 12 for curve in curves for point in curve.keyframe_points)


def test_own_preset_is_a_pose_asset_that_poses(ada, update):
    ada.face["browInnerUp"], ada.arkit["jawOpen"] = 0.8, 0.4
    ada.bones["neck"].rotation_euler.y = 0.3
    assert bpy.ops.lookalike.save_preset(asset_name="Doubt") == {"FINISHED"}
    action = bpy.data.actions["Doubt"]
    assert action.asset_data is not None
    assert ada.armature.animation_data.action is None
    bpy.ops.lookalike.reset_pose()
    assert bpy.ops.lookalike.apply_own_preset(action="Doubt") == {"FINISHED"}
    update(ada.armature)
    assert ada.keys["browInnerUp"].value == pytest.approx(0.8)
    assert ada.arkit["jawOpen"] == pytest.approx(0.4)
    assert ada.bones["neck"].rotation_euler.y == pytest.approx(0.3)
    bpy.ops.lookalike.reset_pose()
    bpy.ops.lookalike.apply_own_preset(action="Doubt", strength=0.5)
    assert ada.face["browInnerUp"] == pytest.approx(0.4)
    with pytest.raises(RuntimeError, match="no pose called"):
        bpy.ops.lookalike.apply_own_preset(action="Gone")


def test_groups_are_keyed_reset_and_muted(ada, part, update):
    ada.face["browInnerUp"], ada.face["mouthSmile"] = 0.5, 0.5
    bpy.ops.lookalike.key_controls(group="brows")
    assert [curve.data_path for curve in part("avatar.keyframes").action_curves(ada.armature)] == ['pose.bones["face"]["browInnerUp"]']
    bpy.ops.lookalike.reset_controls(group="brows")
    assert (ada.face["browInnerUp"], ada.face["mouthSmile"]) == (0, 0.5)
    bpy.ops.lookalike.mute_controls(group="mouth")
    assert [key.name for key in ada.keys if key.mute] == ["mouthSmileLeft", "mouthSmileRight"]
    bpy.ops.lookalike.mute_controls(group="mouth")
    assert not any(key.mute for key in ada.keys)
    bpy.ops.lookalike.key_controls(layer="arkit")
    assert len(part("avatar.keyframes").action_curves(ada.armature)) == 53


def test_bones_are_selected_by_their_button(ada):
    holder = lambda bone: bone if hasattr(bone, "select") else bone.bone
    assert {bone.name for bone in ada.bones if not holder(bone).select} == {"arkit_jaw", "arkit_eye_left", "arkit_eye_right"}
    for name in ("jaw", "face", "gaze"):
        assert bpy.ops.lookalike.select_bone(bone=name) == {"FINISHED"}
        assert bpy.context.mode == "POSE"
        assert bpy.context.active_pose_bone.name == name
        assert [bone.name for bone in bpy.context.selected_pose_bones] == [name]
    bpy.ops.lookalike.select_bone(bone="jaw", extend=True)
    assert {bone.name for bone in bpy.context.selected_pose_bones} == {"jaw", "gaze"}
    bpy.ops.object.mode_set(mode="OBJECT")
    with pytest.raises(RuntimeError, match="no bone called"):
        bpy.ops.lookalike.select_bone(bone="tail")


def test_motion_is_imported_with_its_report(ada, tmp_path):
    path = files.arkit_json(tmp_path / "take.json", ["jawOpen", "browInnerUp", "tongueOut"], np.linspace(0, 1, 90).reshape(30, 3))
    assert bpy.ops.lookalike.import_motion(filepath=str(path), start=11, smoothing=0.2) == {"FINISHED"}
    assert ada.armature.animation_data.action.name == "Ada take"
    bpy.context.scene.frame_set(30)
    assert ada.keys["browInnerUp"].value > 0.5


def test_dropped_file_is_imported(ada, tmp_path):
    files.live_link(tmp_path / "take.csv", np.ones((9, 12)))
    directory = {"directory": str(tmp_path), "files": [{"name": "take.csv"}]}
    assert bpy.ops.lookalike.import_motion("INVOKE_DEFAULT", **directory) == {"FINISHED"}
    assert ada.armature.animation_data.action.name == "Ada take"


def test_bad_motion_is_told_and_nothing_is_changed(ada, tmp_path):
    ada.face["browInnerUp"] = 0.4
    ada.face.keyframe_insert('["browInnerUp"]', frame=3)
    before, actions = ada.armature.animation_data.action, len(bpy.data.actions)
    (tmp_path / "list.csv").write_text("eggs,milk\n1,2\n")
    with pytest.raises(RuntimeError, match=r"list\.csv: not a motion"):
        bpy.ops.lookalike.import_motion(filepath=str(tmp_path / "list.csv"))
    with pytest.raises(RuntimeError, match="cannot be read"):
        bpy.ops.lookalike.import_motion(filepath=str(tmp_path / "gone.csv"))
    assert ada.armature.animation_data.action == before
    assert len(bpy.data.actions) == actions
    assert [bone.name for bone in ada.bones] == [bone.name for bone in ada.armature.pose.bones]


def test_old_avatar_gets_controls_by_the_button(part, arrays):
    avatar = part("avatar")
    handle = avatar.build_avatar(arrays, bpy.context.scene.collection, "Old")
    assert bpy.ops.lookalike.add_controls(avatar="Old") == {"FINISHED"}
    assert "face" in handle.armature.pose.bones
    assert bpy.ops.lookalike.add_controls(avatar="Old") == {"CANCELLED"}
