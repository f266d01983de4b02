"""Flipping, copying and pasting faces; muting single controls; pictures of poses."""

from __future__ import annotations

import bpy
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def active(ada):
    bpy.context.view_layer.objects.active = ada.armature


@pytest.fixture
def clipboard(part, monkeypatch):
    """A clipboard of the test's own: background mode has none."""
    held = {"text": ""}
    api = part("api")

    class Manager:
        clipboard = property(lambda self: held["text"], lambda self, text: held.update(text=text))

    context = type("Context", (), {"window_manager": Manager(), "__getattr__": lambda self, name: getattr(bpy.context, name)})()
    monkeypatch.setattr(api, "bpy", type("Bpy", (), {"context": context, "types": bpy.types, "data": bpy.data, "path": bpy.path}))
    return held


def posed_points(ada, update) -> np.ndarray:
    head = ada.head.evaluated_get(update(ada.armature)).data
    points = np.empty((len(head.vertices), 3), np.float32)
    head.vertices.foreach_get("co", points.ravel())
    return points


def test_flip_swaps_sides_and_mirrors_head_and_gaze(ada, update):
    ada.face["mouthSmileLeft"], ada.face["browInnerUp"], ada.face["eyeBlink"] = 0.8, 0.5, 0.3
    ada.arkit["jawLeft"], ada.arkit["eyeLookOutLeft"] = 0.4, 0.6
    ada.bones["neck"].rotation_euler = (0.1, 0.3, 0.05)
    ada.bones["eye_left"].rotation_euler = (0.1, 0.0, 0.2)
    ada.bones["gaze"].location = (0.2, 0.1, 0.05)
    before = {name: np.array(ada.armature.evaluated_get(update(ada.armature)).pose.bones[name].matrix) for name in ("neck", "eye_left")}
    assert bpy.ops.lookalike.flip_face() == {"FINISHED"}
    assert (ada.face["mouthSmileLeft"], ada.face["mouthSmileRight"]) == (0, pytest.approx(0.8))
    assert (ada.face["browInnerUp"], ada.face["eyeBlink"]) == (pytest.approx(0.5), pytest.approx(0.3))
    assert (ada.arkit["jawRight"], ada.arkit["jawLeft"], ada.arkit["eyeLookOutRight"]) == (pytest.approx(0.4), 0, pytest.approx(0.6))
    after = ada.armature.evaluated_get(update(ada.armature)).pose.bones
    flip = np.diag([-1.0, 1.0, 1.0])
    looks = lambda matrix: np.array(matrix)[:3, 1]
    assert looks(after["neck"].matrix) == pytest.approx(flip @ before["neck"][:3, 1], abs=1e-5)
    assert looks(after["eye_right"].matrix) == pytest.approx(flip @ before["eye_left"][:3, 1], abs=1e-4)
    assert tuple(ada.bones["gaze"].location) == pytest.approx((-0.2, 0.1, 0.05), abs=1e-5)
    bpy.ops.lookalike.flip_face()
    assert ada.face["mouthSmileLeft"] == pytest.approx(0.8)
    assert tuple(ada.bones["neck"].rotation_euler) == pytest.approx((0.1, 0.3, 0.05), abs=1e-5)


def test_flip_of_one_group_leaves_the_rest(ada):
    ada.face["mouthSmileLeft"], ada.face["eyeBlinkLeft"] = 0.8, 0.6
    ada.bones["neck"].rotation_euler.y = 0.3
    bpy.ops.lookalike.flip_face(group="mouth")
    assert (ada.face["mouthSmileRight"], ada.face["eyeBlinkLeft"]) == (pytest.approx(0.8), pytest.approx(0.6))
    assert ada.bones["neck"].rotation_euler.y == pytest.approx(0.3)


def test_own_preset_can_be_taken_flipped(ada):
    ada.face["mouthSmileLeft"], ada.bones["neck"].rotation_euler.y = 0.8, 0.3
    bpy.ops.lookalike.save_preset(asset_name="Smirk")
    bpy.ops.lookalike.reset_pose()
    bpy.ops.lookalike.apply_own_preset(action="Smirk", flipped=True)
    assert (ada.face["mouthSmileLeft"], ada.face["mouthSmileRight"]) == (0, pytest.approx(0.8))
    assert ada.bones["neck"].rotation_euler.y == pytest.approx(-0.3, abs=1e-5)
    bpy.ops.lookalike.reset_pose()
    bpy.ops.lookalike.apply_own_preset(action="Smirk", flipped=True, strength=0.5)
    assert ada.face["mouthSmileRight"] == pytest.approx(0.4)
    assert ada.bones["neck"].rotation_euler.y == pytest.approx(-0.15, abs=1e-4)


def test_own_preset_is_saved_with_its_mirror_image(ada):
    """For the pose library, whose own Flip swaps bones but not the sides of sliders."""
    ada.face["mouthSmileLeft"], ada.bones["neck"].rotation_euler.y, ada.bones["eye_left"].rotation_euler.x = 0.8, 0.3, 0.1
    assert bpy.ops.lookalike.save_preset(asset_name="Smirk", mirrored=True) == {"FINISHED"}
    assert (ada.face["mouthSmileLeft"], ada.face["mouthSmileRight"]) == (pytest.approx(0.8), 0), "the face stands as before"
    assert ada.bones["neck"].rotation_euler.y == pytest.approx(0.3, abs=1e-5)
    bpy.ops.lookalike.reset_pose()
    action = bpy.data.actions["Smirk, mirrored"]
    assert action.asset_data is not None
    ada.armature.pose.apply_pose_from_action(action)  # as the pose library does
    assert (ada.face["mouthSmileLeft"], ada.face["mouthSmileRight"]) == (0, pytest.approx(0.8))
    assert ada.bones["neck"].rotation_euler.y == pytest.approx(-0.3, abs=1e-5)
    assert ada.bones["eye_right"].rotation_euler.x == pytest.approx(0.1, abs=1e-5)


def test_own_preset_has_a_picture_of_the_face(ada):
    ada.face["mouthSmileLeft"] = 0.8
    bpy.ops.lookalike.save_preset(asset_name="Smirk")
    preview = bpy.data.actions["Smirk"].preview
    assert tuple(preview.image_size) == (256, 256)
    pixels = np.empty(256 * 256 * 4, np.float32)
    preview.image_pixels_float.foreach_get(pixels)
    middle = pixels.reshape(256, 256, 4)[64:192, 64:192]
    assert middle[..., 3].mean() > 0.6  # the face fills it, as far as the synthetic head has splats


def test_copied_face_is_pasted_on_another_avatar(ada, part, arrays, clipboard):
    api, avatar = part("api"), part("avatar")
    ada.face["mouthSmileLeft"], ada.arkit["jawOpen"], ada.bones["jaw"].rotation_euler.x = 0.7, 0.3, 0.2
    api.copy_face(ada.collection)
    other = avatar.build_avatar(arrays, bpy.context.scene.collection, "Bob")
    avatar.add_controls(other.collection)
    face = other.armature.pose.bones["face"]
    face["browInnerUp"] = 0.9
    api.paste_face(other.collection)
    assert (face["mouthSmileLeft"], face["browInnerUp"]) == (pytest.approx(0.7), 0)
    assert other.armature.pose.bones["jaw"].rotation_euler.x == pytest.approx(0.2)
    api.paste_face(other.collection, flipped=True)
    assert (face["mouthSmileLeft"], face["mouthSmileRight"]) == (0, pytest.approx(0.7))


@pytest.mark.parametrize("text", ["", "[1]", '{"lookalike_face": 2}', '{"lookalike_face": 1, "controls": 3}', "[" * 5000])
def test_anything_else_on_the_clipboard_is_refused(ada, part, clipboard, text):
    clipboard["text"] = text
    ada.face["mouthSmileLeft"] = 0.7
    with pytest.raises(part("protocol").LookalikeError, match="no face on the clipboard"):
        part("api").paste_face(ada.collection)
    assert ada.face["mouthSmileLeft"] == 0.7


def test_one_control_is_muted_and_freed(ada):
    bpy.ops.lookalike.mute_controls(control="mouthSmile")
    assert [key.name for key in ada.keys if key.mute] == ["mouthSmileLeft", "mouthSmileRight"]
    bpy.ops.lookalike.mute_controls(control="browInnerUp")
    bpy.ops.lookalike.mute_controls(control="mouthSmile")
    assert [key.name for key in ada.keys if key.mute] == ["browInnerUp"]
