"""Takes on avatars: what plays is what was captured, within the stated error, and nothing that was there is lost."""

from __future__ import annotations

from dataclasses import replace

import bpy
import numpy as np
import pytest

from tests.blender.animation import motion_files as files


@pytest.fixture
def take(part):
    """A take of ARKit's shapes from arrays, at 30 frames a second."""
    Take = part("motion.take").Take

    def make(arkit=None, count=31, fps=30.0, **more):
        return Take("test", "take.csv", np.arange(count) / fps, fps, arkit=arkit or {}, **more)

    return make


def played(ada, frames, *names):
    """[T, N] shape key values at frames."""
    rows = []
    for frame in frames:
        bpy.context.scene.frame_set(int(np.floor(frame)), subframe=float(frame % 1))
        rows.append([ada.keys[name].value for name in names])
    return np.array(rows)


def test_frames_are_converted_to_the_scenes_rate(ada, part, take):
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = 24, 1.0
    wave = 0.5 + 0.5 * np.sin(np.arange(61) / 60 * 4)
    report = part("avatar").apply_take(ada.handle, take({"browInnerUp": wave}, 61, 60.0), part("avatar").TakeOptions(start=10, tolerance=0))
    assert (report.first, report.last) == (10, 34)
    seen = played(ada, range(10, 35), "browInnerUp")[:, 0]
    assert seen == pytest.approx(0.5 + 0.5 * np.sin(np.arange(25) / 24 * 4), abs=0.01)


def test_error_of_left_out_keys_is_as_stated(ada, part, take):
    rng = np.random.default_rng(1)
    track = np.clip(np.cumsum(rng.normal(0, 0.04, 400)) + 0.4, 0, 1)
    bpy.context.scene.render.fps = 30
    report = part("avatar").apply_take(ada.handle, take({"browInnerUp": track}, 400), part("avatar").TakeOptions(tolerance=0.02))
    assert report.keys < report.frames / 2
    seen = played(ada, range(1, 401), "browInnerUp")[:, 0]
    worst = np.abs(seen - track).max()
    assert worst == pytest.approx(report.error, abs=1e-5)
    assert worst <= 0.02 + 1e-6


def test_arkit_layer_leaves_the_face_layer_to_the_animator(ada, part, take):
    bpy.context.scene.render.fps = 30
    part("avatar").apply_take(ada.handle, take({"browInnerUp": np.full(31, 0.3), "mouthSmileLeft": np.linspace(0, 1, 31)}))
    ada.face["browInnerUp"] = 0.25
    ada.armature.update_tag()
    assert played(ada, [1], "browInnerUp")[0, 0] == pytest.approx(0.55)


def test_without_the_layer_arkit_moves_expressions_jaw_and_eyes(ada, part, take):
    bpy.context.scene.render.fps = 30
    ramp = np.linspace(0, 1, 31)
    source = take({"browInnerUp": ramp, "jawOpen": ramp, "eyeLookUpLeft": ramp, "eyeLookOutRight": ramp})
    part("avatar").apply_take(ada.handle, source, part("avatar").TakeOptions(arkit_layer=False, tolerance=0, angle_tolerance=0))
    bpy.context.scene.frame_set(31)
    assert ada.keys["browInnerUp"].value == pytest.approx(1)
    assert ada.face["browInnerUp"] == pytest.approx(1)
    assert ada.bones["jaw"].rotation_euler.x == pytest.approx(0.36, abs=1e-4)
    assert ada.bones["eye_left"].rotation_euler.x == pytest.approx(np.radians(27), abs=1e-4)
    assert ada.bones["eye_right"].rotation_euler.z == pytest.approx(-np.radians(35), abs=1e-4)


def test_both_ways_pose_the_same_face(ada, part, take, update):
    """The ARKit layer's drivers and the keys on expressions and bones are the same mapping."""
    bpy.context.scene.render.fps = 30
    rng = np.random.default_rng(4)
    names = part("motion.arkit").ARKIT_NAMES
    source = take({name: np.full(2, rng.uniform(0, 0.6)) for name in names}, 2)
    seen = []
    for layer in (True, False):
        part("avatar").reset_pose(ada.collection)
        part("avatar").apply_take(ada.handle, source, part("avatar").TakeOptions(arkit_layer=layer, tolerance=0, angle_tolerance=0))
        bpy.context.scene.frame_set(1)
        posed = ada.armature.evaluated_get(update(ada.armature)).pose.bones
        seen.append(([key.value for key in ada.keys[1:]], [np.array(posed[n].matrix) for n in ("jaw", "eye_left", "eye_right")]))
    assert seen[0][0] == pytest.approx(seen[1][0], abs=1e-6)
    for driven, keyed in zip(seen[0][1], seen[1][1], strict=True):
        assert np.abs(driven - keyed).max() < 0.03  # two small rotations after one another, and as one axis-angle


def test_action_before_is_kept(ada, part, take):
    ada.face["lipsParted"] = 0.7
    ada.face.keyframe_insert('["lipsParted"]', frame=1)
    before = ada.armature.animation_data.action
    report = part("avatar").apply_take(ada.handle, take({"browInnerUp": np.ones(31)}))
    assert ada.armature.animation_data.action.name == report.action != before.name
    assert before.use_fake_user
    if hasattr(before, "slots"):
        assert ada.armature.animation_data.action_slot.target_id_type == "OBJECT"


def test_as_a_strip_the_active_action_stays(ada, part, take):
    bpy.context.scene.render.fps = 30
    ada.face["lipsParted"] = 0.7
    ada.face.keyframe_insert('["lipsParted"]', frame=1)
    before = ada.armature.animation_data.action
    options = part("avatar").TakeOptions(start=5, strip=True)
    part("avatar").apply_take(ada.handle, take({"browInnerUp": np.linspace(0, 1, 31)}), options)
    data = ada.armature.animation_data
    assert data.action == before
    assert [strip.frame_start for track in data.nla_tracks for strip in track.strips] == [5]
    assert played(ada, [20], "browInnerUp", "lipsParted")[0] == pytest.approx([0.5, 0.7], abs=0.01)


def test_what_has_no_place_is_named_with_its_share(ada, part, take):
    report = part("avatar").apply_take(ada.handle, take({"browInnerUp": np.full(31, 0.6), "tongueOut": np.full(31, 0.2)}))
    assert report.missed == {"tongueOut": pytest.approx(0.25)}
    assert "tongueOut (25.0% of the motion)" in report.summary()


def test_flame_coefficients_need_a_flame_rig(ada, part, arrays, take):
    avatar, error = part("avatar"), part("motion.take").MotionError
    flame = take(None, 31, expressions={f"expr{i:03d}": np.linspace(0, 1, 31) for i in range(3)})
    with pytest.raises(error, match="FLAME's coefficients"):
        avatar.apply_take(ada.handle, flame)
    assert ada.armature.animation_data.action is None
    report = avatar.apply_take(ada.handle, replace(flame, pose={"jaw": np.zeros((31, 3))}))
    assert any("jaw, eyes and neck are used" in note for note in report.warnings)
    rig = replace(arrays.rig, expressions=arrays.rig.expressions[:3], expression_names=("expr000", "expr001", "expr002"))
    handle = avatar.build_avatar(replace(arrays, rig=rig), bpy.context.scene.collection)
    report = avatar.apply_take(handle, flame)
    bpy.context.scene.frame_set(report.last)
    assert handle.head.data.shape_keys.key_blocks["expr001"].value == pytest.approx(1, abs=1e-5)
    assert report.missed == {}


def test_names_of_other_conventions_find_their_place(ada, part, take):
    source = take(None, 31, expressions={"Lips_Parted": np.full(31, 0.5), "mouthSmile_L": np.full(31, 0.4)})
    part("avatar").apply_take(ada.handle, source)
    assert played(ada, [3], "lipsParted", "mouthSmileLeft")[0] == pytest.approx([0.5, 0.4])


def test_gain_percent_and_limits(ada, part, take):
    bpy.context.scene.render.fps = 30
    avatar = part("avatar")
    report = avatar.apply_take(ada.handle, take({"browInnerUp": np.full(31, 60.0)}), avatar.TakeOptions(gain=0.5))
    assert played(ada, [3], "browInnerUp")[0, 0] == pytest.approx(0.3)
    assert any("taken as percent" in note for note in report.warnings)
    report = avatar.apply_take(ada.handle, take({"browInnerUp": np.full(31, 1.0)}), avatar.TakeOptions(gain=2))
    assert played(ada, [3], "browInnerUp")[0, 0] == pytest.approx(1.5)
    assert any("cut there" in note for note in report.warnings)


def test_smoothing_removes_noise_and_keeps_a_blink(part, take):
    resampling = part("motion.resampling")
    rng = np.random.default_rng(0)
    clean = np.exp(-(((np.arange(120) - 60) / 4) ** 2))
    noisy = take({"eyeBlinkLeft": clean + rng.normal(0, 0.03, 120)}, 120)
    smooth = resampling.smoothed(noisy, 0.2).arkit["eyeBlinkLeft"]
    assert np.std(smooth[:40]) < 0.7 * np.std(noisy.arkit["eyeBlinkLeft"][:40])
    assert smooth.max() > 0.9
    assert smooth.argmax() in (59, 60, 61)
    parabola = take({"jawOpen": np.arange(40.0) ** 2}, 40)
    assert resampling.smoothed(parabola, 0.4).arkit["jawOpen"] == pytest.approx(np.arange(40.0) ** 2, abs=1e-6)


def test_one_frame_and_two_frames(ada, part, take):
    for count in (1, 2):
        report = part("avatar").apply_take(
            ada.handle, take({"browInnerUp": np.ones(count)}, count), part("avatar").TakeOptions(smoothing=1)
        )
        assert report.keys >= 1


def test_ten_thousand_frames_of_everything(ada, part, take):
    rng = np.random.default_rng(0)
    smooth = lambda: np.clip(np.cumsum(rng.normal(0, 0.02, 10_000)) % 2 - 0.5, 0, 1)
    source = take({name: smooth() for name in part("motion.arkit").ARKIT_NAMES}, 10_000)
    report = part("avatar").apply_take(ada.handle, source, part("avatar").TakeOptions(smoothing=0.2, tolerance=0.02))
    assert report.error <= 0.02 + 1e-9
    assert report.last - report.first + 1 == 8000  # 30 to 24 frames a second


def test_linked_avatars_say_what_to_do(ada, part, take, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "ada.blend"))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "ada.blend"), link=True) as (_, wanted):
        wanted.collections = ["Ada"]
    collection = wanted.collections[0]
    bpy.context.scene.collection.children.link(collection)
    handle = part("avatar").BlenderAvatar(collection.session_uid)
    with pytest.raises(part("protocol").LookalikeError, match="library override"):
        part("avatar").apply_take(handle, take({"browInnerUp": np.ones(31)}))


def test_every_format_drives_the_avatar(ada, part, tmp_path):
    """From the file to a moved shape key or bone, by the one function that scripts and the panel call."""
    api = part("api")
    ramp = np.tile(np.linspace(0, 1, 25)[:, None], (1, 12))
    chosen = [
        files.live_link(tmp_path / "a.csv", ramp),
        files.arkit_json(tmp_path / "b.json", ["browInnerUp", "jawOpen", "tongueOut"], ramp[:, :3]),
    ]
    chosen += [
        files.gagavatar_pickle(tmp_path / "c.pkl", 25),
        files.vhap_folder(tmp_path / "seq", 25),
        files.tracked(tmp_path / "d.motion", 25),
    ]
    np.savez(tmp_path / "e.npz", **files.flame(25))
    for path in [*chosen, tmp_path / "e.npz"]:
        part("avatar").reset_pose(ada.collection)
        report = api.import_motion(path, ada.collection, start=100)
        assert report.first == 100
        bpy.context.scene.frame_set(report.last - 3)
        depsgraph = bpy.context.evaluated_depsgraph_get()
        jaw = ada.armature.evaluated_get(depsgraph).pose.bones["jaw"]
        assert (jaw.matrix_channel.to_quaternion().angle > 0.01) or any(key.value > 0.1 for key in ada.keys[1:]), path


def test_flame_map_puts_flames_expressions_on_any_rig(ada, part, tmp_path):
    """A map as `lookalike flame-map` writes it, of three coefficients and two expressions; see tests/tracking/test_flame_map.py."""
    import json

    rng = np.random.default_rng(0)
    target = rng.standard_normal((70, 3, 2)) * 3e-3
    source = np.einsum("lie,ec->lic", target, [[1.0, 0, 0.5], [0, 0.5, 0]])
    facts = {"format": 1, "expression_names": ["mouthSmileLeft", "browInnerUp"], "rig_id": "synthetic", "flame_id": "flame-2023"}
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    np.savez(tmp_path / "map.npz", flame_map=text, source=source, target=target, prior=np.full(2, 2.0), one_sided=np.ones(2, bool))
    np.savez(tmp_path / "take.npz", expr=np.tile([0.4, 1.2, -0.4], (9, 1)))
    report = part("api").import_motion(tmp_path / "take.npz", ada.collection, flame_map=tmp_path / "map.npz")
    assert report.missed == {}
    assert any("is left" in note for note in report.warnings)
    assert played(ada, [2], "mouthSmileLeft", "browInnerUp")[0] == pytest.approx([0.2, 0.6], abs=0.02)
