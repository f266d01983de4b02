"""The face board: what its controls move, that they key, and that older avatars get one without losing a thing."""

from __future__ import annotations

import math

import bpy
import numpy as np
import pytest


def matrix(ada, bone: str, depsgraph) -> np.ndarray:
    """The posed bone [3, 3] relative to its rest, in the armature's space."""
    posed = ada.armature.evaluated_get(depsgraph).pose.bones[bone]
    return np.array((posed.matrix @ posed.bone.matrix_local.inverted()).to_3x3())


def test_sides_both_and_arkit_add_up(ada, update):
    ada.face["mouthSmile"], ada.face["mouthSmileLeft"] = 0.5, 0.2
    ada.arkit["mouthSmileRight"], ada.arkit["weight"] = 0.4, 0.5
    update(ada.armature)
    assert ada.keys["mouthSmileLeft"].value == pytest.approx(0.7)
    assert ada.keys["mouthSmileRight"].value == pytest.approx(0.7)
    ada.arkit["weight"] = 0.0
    update(ada.armature)
    assert ada.keys["mouthSmileRight"].value == pytest.approx(0.5)


def test_sliders_start_empty_and_take_typed_values_beyond(ada):
    shown = ada.face.id_properties_ui("browInnerUp").as_dict()
    assert (shown["soft_min"], shown["soft_max"]) == (0, 1)
    assert shown["min"] == ada.keys["browInnerUp"].slider_min < 0
    assert shown["max"] == ada.keys["browInnerUp"].slider_max > 1
    assert shown["default"] == ada.face["browInnerUp"] == 0


def test_arkit_jaw_adds_to_the_bones_own_rotation(ada, update):
    ada.bones["jaw"].rotation_euler.x = 0.1
    ada.arkit["jawOpen"] = 0.5
    turned = matrix(ada, "jaw", update(ada.armature))
    assert math.atan2(turned[2, 1], turned[1, 1]) == pytest.approx(0.1 + 0.18, abs=1e-5)


@pytest.mark.parametrize(
    ("eye", "shape", "toward"),
    [
        ("eye_left", "eyeLookUpLeft", (0, 0, 1)),
        ("eye_left", "eyeLookDownLeft", (0, 0, -1)),
        ("eye_left", "eyeLookOutLeft", (1, 0, 0)),
        ("eye_left", "eyeLookInLeft", (-1, 0, 0)),
        ("eye_right", "eyeLookUpRight", (0, 0, 1)),
        ("eye_right", "eyeLookOutRight", (-1, 0, 0)),
        ("eye_right", "eyeLookInRight", (1, 0, 0)),
    ],
)
def test_arkit_turns_the_eyes(ada, update, eye, shape, toward):
    """Blender's frame: the subject's left is +X, the face looks along -Y."""
    ada.arkit[shape] = 1.0
    looks = matrix(ada, eye, update(ada.armature)) @ (0, -1, 0)
    assert looks @ toward > 0.4
    assert np.dot(np.cross(looks, (0, -1, 0)), toward) == pytest.approx(0, abs=1e-5)


def test_eyes_follow_the_gaze_target_as_much_as_is_asked(ada, update):
    gaze = ada.bones["gaze"]
    gaze.location = (0.3, 0, 0)  # the bone's own X lies across the head
    still = matrix(ada, "eye_left", update(ada.armature)) @ (0, -1, 0)
    assert still == pytest.approx((0, -1, 0), abs=1e-5)
    gaze["follow"] = 1.0
    depsgraph = update(ada.armature)
    posed = ada.armature.evaluated_get(depsgraph).pose.bones
    for eye, target in (("eye_left", "gaze_left"), ("eye_right", "gaze_right")):
        wanted = posed[target].head - posed[eye].head
        along = posed[eye].y_axis
        assert along.angle(wanted) < 1e-4
    gaze["follow"] = 0.5
    half = matrix(ada, "eye_left", update(ada.armature)) @ (0, -1, 0)
    whole = np.arcsin(np.linalg.norm(np.cross(np.array(wanted.normalized()), (0, -1, 0))))
    assert math.asin(abs(half[0])) == pytest.approx(whole / 2, abs=2e-2)


def test_every_control_takes_keys_into_one_action(ada, part):
    for name in ("mouthSmile", "browInnerUp", "lipsParted"):
        ada.face[name] = 1.0
        assert ada.face.keyframe_insert(f'["{name}"]', frame=5)
    assert ada.arkit.keyframe_insert('["jawOpen"]', frame=5)
    for bone in ("jaw", "neck", "eye_left", "eye_right"):
        assert ada.bones[bone].keyframe_insert("rotation_euler", frame=5)
    assert ada.bones["gaze"].keyframe_insert("location", frame=5)
    assert ada.bones["gaze"].keyframe_insert('["follow"]', frame=5)
    curves = part("avatar.keyframes").action_curves(ada.armature)
    assert {curve.data_path.split('"')[1] for curve in curves} == {"face", "arkit", "jaw", "neck", "eye_left", "eye_right", "gaze"}
    assert ada.keys.id_data.animation_data.action is None


def test_drivers_need_no_python(ada):
    """With scripts forbidden, as on a farm, a simple expression still runs: nothing may be in need of more."""
    drivers = [*ada.keys.id_data.animation_data.drivers, *ada.armature.animation_data.drivers]
    assert len(drivers) == len(ada.keys) - 1 + 5 + 2
    assert all(curve.driver.is_valid for curve in drivers)
    assert all(curve.driver.is_simple_expression for curve in drivers)


def test_avatar_without_controls_keeps_its_values_and_keys(part, arrays, update):
    avatar = part("avatar")
    handle = avatar.build_avatar(arrays, bpy.context.scene.collection)
    keys = handle.head.data.shape_keys.key_blocks
    keys["lipsParted"].value = 0.3
    frames = np.arange(1, 11)
    avatar.motion_to_keys(handle, frames, {"mouthSmileLeft": np.linspace(0, 1, 10, dtype=np.float32)})
    kept = handle.head.data.shape_keys.animation_data.action
    assert avatar.add_controls(handle.collection)
    assert not avatar.add_controls(handle.collection)
    for frame, value in ((1, 0.0), (4, 1 / 3), (10, 1.0)):
        bpy.context.scene.frame_set(frame)
        assert keys["mouthSmileLeft"].value == pytest.approx(value, abs=1e-6)
        assert keys["lipsParted"].value == pytest.approx(0.3)
    assert kept.use_fake_user
    assert handle.head.data.shape_keys.animation_data.action is None


def test_a_users_own_driver_stays(part, arrays):
    avatar = part("avatar")
    handle = avatar.build_avatar(arrays, bpy.context.scene.collection)
    curve = handle.head.data.shape_keys.key_blocks["browInnerUp"].driver_add("value")
    curve.driver.expression = "0.25"
    avatar.add_controls(handle.collection)
    found = [c for c in handle.head.data.shape_keys.animation_data.drivers if "browInnerUp" in c.data_path]
    assert [c.driver.expression for c in found] == ["0.25"]


def test_a_bone_of_ours_that_exists_is_told_and_nothing_is_changed(part, arrays):
    avatar = part("avatar")
    handle = avatar.build_avatar(arrays, bpy.context.scene.collection)
    with part("avatar.rig_objects").editing_bones(handle.armature) as bones:
        bones.new("gaze").tail = (0, 0, 1)
    before = set(handle.armature.data.bones.keys())
    with pytest.raises(part("protocol").LookalikeError, match="gaze"):
        avatar.add_controls(handle.collection)
    assert set(handle.armature.data.bones.keys()) == before
    assert handle.head.data.shape_keys.animation_data is None


def test_copies_have_controls_of_their_own(ada, part, update):
    avatar = part("avatar")
    copy = avatar.duplicate_avatar(ada.collection)
    copy.armature.pose.bones["face"]["browInnerUp"] = 1.0
    copy.armature.pose.bones["gaze"]["follow"] = 1.0
    copy.armature.pose.bones["gaze"].location.x = 0.3
    depsgraph = update(copy.armature, ada.armature)
    assert copy.head.data.shape_keys.key_blocks["browInnerUp"].value == 1
    assert ada.keys["browInnerUp"].value == 0
    assert ada.armature.evaluated_get(depsgraph).pose.bones["eye_left"].y_axis.x == pytest.approx(0, abs=1e-6)
    assert abs(copy.armature.evaluated_get(depsgraph).pose.bones["eye_left"].y_axis.x) > 0.1


def test_shift_d_copies_have_controls_of_their_own(ada, update):
    for obj in ada.collection.objects:
        obj.select_set(True)
    bpy.context.view_layer.objects.active = ada.armature
    bpy.ops.object.duplicate()
    armature = next(o for o in bpy.context.selected_objects if o.type == "ARMATURE")
    head = next(o for o in bpy.context.selected_objects if o.lookalike.role == "HEAD")
    armature.pose.bones["face"]["browInnerUp"] = 1.0
    update(armature)
    assert head.data.shape_keys.key_blocks["browInnerUp"].value == 1
    assert ada.keys["browInnerUp"].value == 0


def test_posing_and_resetting_go_through_the_controls(ada, part, update):
    avatar = part("avatar")
    avatar.pose_avatar(ada.handle, {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6, "eyeBlinkLeft": 1.0})
    update(ada.armature)
    assert ada.face["mouthSmile"] == pytest.approx(0.6)
    assert [ada.keys[n].value for n in ("mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight")] == pytest.approx(
        [0.6, 0.6, 1, 0]
    )
    ada.arkit["jawOpen"] = 1.0
    avatar.reset_pose(ada.collection)
    update(ada.armature)
    assert all(key.value == 0 for key in avatar.expression_keys(ada.collection))
    assert ada.arkit["jawOpen"] == 0
    assert ada.arkit["weight"] == 1


def test_saved_file_keeps_its_controls(ada, tmp_path):
    ada.face["browInnerUp"] = 0.8
    ada.face.keyframe_insert('["browInnerUp"]', frame=1)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "ada.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "ada.blend"), use_scripts=False)
    bpy.context.scene.frame_set(1)
    head = next(o for o in bpy.data.objects if o.lookalike.role == "HEAD")
    assert head.data.shape_keys.key_blocks["browInnerUp"].value == pytest.approx(0.8)


def test_library_override_is_posed_and_keyed(ada, part, tmp_path, update):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "ada.blend"))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "ada.blend"), link=True) as (_, wanted):
        wanted.collections = ["Ada"]
    linked = wanted.collections[0]
    bpy.context.scene.collection.children.link(linked)
    own = linked.override_hierarchy_create(bpy.context.scene, bpy.context.view_layer, do_fully_editable=True)
    avatar = part("avatar")
    face = avatar.armature_of(own).pose.bones["face"]
    face["browInnerUp"] = 0.7
    assert face.keyframe_insert('["browInnerUp"]', frame=1)
    update(avatar.armature_of(own))
    assert avatar.head_of(own).data.shape_keys.key_blocks["browInnerUp"].value == pytest.approx(0.7)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    kept = next(o for o in bpy.data.objects if o.lookalike.role == "ARMATURE" and o.override_library)
    assert kept.pose.bones["face"]["browInnerUp"] == pytest.approx(0.7)


def test_names_and_angles_are_the_contracts(part):
    """The panels need them before numpy may be loaded, so they are written down twice."""
    light, names, targets = part("motion.arkit"), part("protocol.interchange.arkit_names"), part("protocol.interchange.arkit_targets")
    assert light.ARKIT_NAMES == names.ARKIT_NAMES
    for angle in ("JAW_OPEN_ANGLE", "LOOK_UP_ANGLE", "LOOK_DOWN_ANGLE", "LOOK_IN_ANGLE", "LOOK_OUT_ANGLE"):
        assert getattr(light, angle) == pytest.approx(getattr(targets, angle), abs=1e-6)
