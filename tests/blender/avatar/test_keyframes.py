"""Keying: dense motion exactly, the demo performance as few editable keys, playback without Python."""

from __future__ import annotations

import importlib

import bpy
import numpy as np
import pytest

from tests.blender.avatar.reference import evaluated, expect_same, expected_splats


def curves(owner: bpy.types.ID) -> dict[tuple[str, int], bpy.types.FCurve]:
    """All F-curves of a data-block, whatever this Blender keeps them in."""
    data = owner.animation_data
    if hasattr(data.action, "layers"):
        bags = [bag for layer in data.action.layers for strip in layer.strips for bag in strip.channelbags]
        found = [curve for bag in bags if bag.slot == data.action_slot for curve in bag.fcurves]
    else:
        found = list(data.action.fcurves)
    return {(curve.data_path, curve.array_index): curve for curve in found}


def test_dense_motion_plays_exactly(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    rng = np.random.default_rng(2)
    frames = np.arange(10, 30)
    expressions = {name: rng.uniform(-0.5, 1, 20).astype(np.float32) for name in arrays.rig.expression_names}
    pose = np.cumsum(rng.normal(0, 0.1, (20, 5, 3)), 0).astype(np.float32)
    assert api.motion_to_keys(avatar, frames, expressions, pose) == []
    for i in (0, 7, 19):
        scene.frame_set(int(frames[i]))
        values = {name: float(track[i]) for name, track in expressions.items()}
        expect_same(evaluated(api, avatar.splats[2]), expected_splats(arrays, 2, values, pose[i]))


def test_large_turns_do_not_flip_between_frames(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    pose = np.zeros((61, 5, 3), np.float32)
    pose[:, 1, 1] = np.linspace(0, 2.9, 61)
    api.motion_to_keys(avatar, np.arange(1, 62), {}, pose)
    for (path, _), curve in curves(avatar.armature).items():
        assert curve.group.name in avatar.joint_names
        if '"neck"' in path:
            values = np.array([point.co[1] for point in curve.keyframe_points])
            assert np.abs(np.diff(values)).max() < 0.2


def test_new_motion_replaces_only_its_own_range(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    api.motion_to_keys(avatar, [1, 10, 20, 30], {"mouthSmile": np.float32([0.1, 0.2, 0.3, 0.4])})
    api.motion_to_keys(avatar, [10, 15, 25], {"mouthSmile": np.float32([0.6, 0.7, 0.8])})
    (curve,) = curves(avatar.head.data.shape_keys).values()
    keys = [(round(point.co[0]), round(point.co[1], 3)) for point in curve.keyframe_points]
    assert keys == [(1, 0.1), (10, 0.6), (15, 0.7), (25, 0.8), (30, 0.4)]


@pytest.mark.parametrize(
    ("frames", "values", "pose"),
    [
        ([], [], None),
        ([1, 1], [0, 1], None),
        ([1, 2], [0, np.nan], None),
        ([1, 2], [0], None),
        ([1, 2], [0, 1], np.zeros((2, 9, 3))),
        ([1, 2], [0, 1], np.zeros((3, 5, 3))),
    ],
)
def test_motion_that_does_not_fit_is_refused(api, scene, arrays, frames, values, pose):
    protocol = importlib.import_module(api.__name__.replace(".avatar", ".protocol"))
    avatar = api.build_avatar(arrays, scene.collection)
    with pytest.raises(protocol.LookalikeError):
        api.motion_to_keys(avatar, frames, {"mouthSmile": np.float32(values)}, pose)
    assert avatar.head.data.shape_keys.animation_data is None


def test_demo_performance_blinks_smiles_and_turns(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    assert api.key_demo_performance(avatar, frames=80) == (1, 80)
    blink, smile, turn, jaw = [], [], [], []
    keys = avatar.head.data.shape_keys.key_blocks
    bones = avatar.armature.pose.bones
    for frame in range(1, 81):
        scene.frame_set(frame)
        blink.append((keys["eyeBlinkLeft"].value, keys["eyeBlinkRight"].value))
        smile.append(keys["mouthSmile"].value)
        turn.append(bones["neck"].rotation_euler.y)
        jaw.append(bones["jaw"].rotation_euler.x)
    blink = np.array(blink)
    assert np.array_equal(blink[:, 0], blink[:, 1])
    assert blink.max() == pytest.approx(1)
    assert blink.min() >= 0
    assert max(smile) > 0.8
    assert max(turn) > np.radians(20)
    assert min(turn) < np.radians(-18)
    assert max(jaw) > np.radians(14)
    for track in (smile, turn, jaw):
        assert abs(track[0]) < 1e-6
        assert abs(track[-1]) < 1e-6
        assert np.abs(np.diff(track)).max() < 0.2  # eased, no jumps


def test_demo_performance_fits_any_length(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    for frames in (5, 24, 240):
        start, last = api.key_demo_performance(avatar, frames=frames, start=100)
        assert (start, last) == (100, 99 + frames)
    assert api.key_performance(avatar.collection, 10) == 89


def test_sliders_and_bones_take_keys_by_hand(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    key = api.expression_keys(avatar.collection)[0]
    for frame, value in ((1, 0.0), (21, 1.0)):
        key.value = value
        key.keyframe_insert("value", frame=frame)
        avatar.armature.pose.bones["neck"].rotation_euler.y = 0.5 * value
        avatar.armature.pose.bones["neck"].keyframe_insert("rotation_euler", frame=frame)
    scene.frame_set(21)
    pose = np.zeros((5, 3), np.float32)
    pose[1, 1] = 0.5
    expect_same(evaluated(api, avatar.splats[2]), expected_splats(arrays, 2, {key.name: 1.0}, pose))


def test_playback_needs_no_handlers(api, scene, arrays):
    """What the add-on itself registers does not take part in posing: evaluation is the same with every handler gone."""
    avatar = api.build_avatar(arrays, scene.collection)
    api.motion_to_keys(avatar, [1, 5], {"mouthSmile": np.float32([0, 1])})
    handlers = [getattr(bpy.app.handlers, name) for name in dir(bpy.app.handlers) if isinstance(getattr(bpy.app.handlers, name), list)]
    saved = [list(each) for each in handlers]
    for each in handlers:
        each.clear()
    try:
        scene.frame_set(5)
        expect_same(evaluated(api, avatar.splats[2]), expected_splats(arrays, 2, {"mouthSmile": 1.0}, np.zeros((5, 3))))
    finally:
        for each, functions in zip(handlers, saved, strict=True):
            each.extend(functions)
