"""Numbered splat files as one object that plays by frame: natively, out and in again, in final frames, with gaps and other counts."""

from __future__ import annotations

import threading
import types

import bpy
import numpy as np
import pytest


@pytest.fixture
def take(addon, avatar, tmp_path):
    """Three files of a smile, at frames 1, 3 and 5, as we export them; and the avatar is gone again."""
    addon.avatar.key_expression(addon.avatar.BlenderAvatar(avatar.session_uid), "mouthSmile", np.array([1, 5]), np.float32([0, 1]))
    paths = addon.api.export_sequence(avatar, tmp_path / "take.ply", 1, 5, 2, level=0)
    addon.api.delete_avatar(avatar)
    return paths


def shown(addon, obj, frame, subframe=0.0):
    bpy.context.scene.frame_set(frame, subframe=subframe)
    return addon.avatar.read_evaluated(obj, bpy.context.evaluated_depsgraph_get())


def in_file(addon, path):
    cloud = addon.part("protocol.interchange").read_cloud(path)
    return addon.part("avatar.frames").points_to_blender(cloud.position)


def choose(paths, **options):
    files = [{"name": path.name} for path in paths]
    return bpy.ops.lookalike.import_splats(directory=str(paths[0].parent), files=files, **options)


def test_each_frame_shows_its_file_and_gaps_hold_the_one_before(addon, take):
    assert choose(take) == {"FINISHED"}
    obj = bpy.context.active_object
    assert [o.name for o in bpy.context.scene.objects] == ["take"]
    for frame, path in ((1, take[0]), (2, take[0]), (3, take[1]), (4, take[1]), (5, take[2]), (0, take[0]), (9, take[2])):
        assert np.allclose(shown(addon, obj, frame)["position"], in_file(addon, path), atol=1e-7), frame
    assert np.allclose(shown(addon, obj, 2, 0.99)["position"], in_file(addon, take[0]), atol=1e-7), "a subframe too"


def test_it_is_written_again_as_it_was(addon, take, tmp_path):
    assert choose(take) == {"FINISHED"}
    assert bpy.ops.lookalike.export_splats(filepath=str(tmp_path / "again.ply"), animation=True, first=1, last=5, step=2) == {"FINISHED"}
    read = addon.part("protocol.interchange").read_cloud
    for first, second in zip(take, sorted(tmp_path.glob("again_*.ply")), strict=True):
        before, after = read(first), read(second)
        sign = np.sign((before.rotation * after.rotation).sum(1, keepdims=True))  # q and -q are one rotation
        for one, other in zip(before, after._replace(rotation=sign * after.rotation), strict=True):
            assert np.allclose(one, other, atol=2e-6)


def test_start_rate_and_cycle(addon, take):
    scene = bpy.context.scene
    scene.render.fps = 24
    done = addon.api.import_sequence(take[1], start=101, fps=48, cyclic=True)
    assert (done.first, done.last, done.frames, done.missing) == (101, 103, 3, ())
    for frame, path in ((101, take[0]), (102, take[1]), (103, take[2]), (104, take[0]), (100, take[2])):
        assert np.allclose(shown(addon, done.obj, frame)["position"], in_file(addon, path), atol=1e-7), frame
    modifier = done.obj.modifiers["Lookalike Sequence"]
    addon.part("avatar.binding_nodes").set_input(modifier, "Start", 103.0)
    done.obj.update_tag()
    assert np.allclose(shown(addon, done.obj, 103)["position"], in_file(addon, take[0]), atol=1e-7)


def test_another_sequence_of_the_folder_is_no_obstacle(addon, take):
    for name in ("other_1.ply", "other_01.ply", "far_1.ply", "far_900000.ply"):
        (take[0].parent / name).write_bytes(b"ply\n")
    assert addon.api.import_sequence(take[0]).frames == 3


def test_it_plays_from_a_saved_file_where_the_files_are_gone(addon, take, tmp_path):
    last = in_file(addon, take[2])
    assert choose(take) == {"FINISHED"}
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    for path in take:
        path.unlink()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    assert np.allclose(shown(addon, bpy.data.objects["take"], 5)["position"], last, atol=1e-7)


def test_missing_frames_and_other_counts_are_told(addon, arrays, tmp_path, capfd):
    protocol = addon.part("protocol.interchange")
    cloud = protocol.SplatCloud.of(arrays.lods[0])
    sizes = {7: 300, 8: 200, 10: 400}
    for number, count in sizes.items():
        (tmp_path / f"a_{number}.ply").write_bytes(protocol.encode_ply(cloud.take(np.arange(count))))
    assert choose(sorted(tmp_path.glob("a_*.ply"))) == {"FINISHED"}
    told = capfd.readouterr().out
    assert "Info: a: 3 files play from frame 7 to 10, 200 to 400 splats, 0 MB in memory and in the .blend\n" in told
    assert "Warning: a: no file for 9; the one before is shown\n" in told
    obj = bpy.context.active_object
    assert [len(shown(addon, obj, frame)["position"]) for frame in (7, 8, 9, 10)] == [300, 200, 200, 400]
    assert [len(shown(addon, obj, frame)["rgb"]) for frame in (7, 8, 9, 10)] == [300, 200, 200, 400]


def test_bad_sequences_leave_nothing_behind(addon, take):
    error = addon.part("protocol").AvatarFileError
    meshes = len(bpy.data.meshes)
    with pytest.raises(error, match="GB of memory for 3 files"):
        addon.api.import_sequence(take[0], memory=1e-6)
    take[2].write_bytes(b"ply\n")
    with pytest.raises(RuntimeError, match="take_0005"):
        choose(take)
    with pytest.raises(error, match="not one of several numbered"):
        addon.api.import_sequence(take[0].with_name("take.ply"))
    (take[0].parent / "take_1.ply").write_bytes(take[0].read_bytes())
    with pytest.raises(error, match="same number"):
        addon.api.import_sequence(take[0])
    take[1].rename(take[1].with_name("take_900000.ply"))
    with pytest.raises(RuntimeError, match="of at most 10000"):
        choose([take[0], take[1].with_name("take_900000.ply"), take[2]])
    assert len(bpy.data.meshes) == meshes
    assert not bpy.context.scene.objects


def test_a_step_never_waits_and_what_is_stopped_leaves_nothing_behind(addon, take, monkeypatch):
    sequences, files = addon.part("interchange.sequences"), addon.part("interchange.numbered_files").sequence_beside(take[0])
    allowed, threads, read = threading.Event(), set(), sequences.read_cloud

    def slow(path, axes):
        threads.add(threading.current_thread())
        assert allowed.wait(10)
        return read(path, axes)

    monkeypatch.setattr(sequences, "read_cloud", slow)
    before = len(bpy.data.meshes), len(bpy.data.objects)
    steps = sequences.import_steps(files, wait=False)
    assert [next(steps) for _ in range(5)] == [0] * 5, "the first file is still being read"
    allowed.set()
    assert next(count for count in steps if count == 2)
    steps.close()
    assert (len(bpy.data.meshes), len(bpy.data.objects)) == before
    assert len(threads) == 1
    assert threading.main_thread() not in threads


def test_a_failure_after_reading_leaves_nothing_behind(addon, take, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    before = len(bpy.data.meshes), len(bpy.data.objects)
    monkeypatch.setattr(addon.part("interchange.sequences"), "place_object", fail)
    with pytest.raises(KeyboardInterrupt):
        addon.api.import_sequence(take[0])
    assert (len(bpy.data.meshes), len(bpy.data.objects)) == before


class Asked:
    """What Blender hands to the operator's `modal`: without a window there is no handler, so events come from here."""

    def __init__(self, kind, sequences):
        self._some_are_in, self._left, self.told = False, sequences, []
        self.tell = lambda text, level="INFO", **told: self.told.append((level, text.format(**told)))
        for name in ("_begin", "_stop", "_tell_sequence"):
            setattr(self, name, types.MethodType(getattr(kind, name), self))
        manager = types.SimpleNamespace(event_timer_add=lambda *_, **__: 1, event_timer_remove=self.count("removed"))
        manager.progress_begin, manager.progress_update, manager.progress_end = (lambda *_: None,) * 3
        workspace = types.SimpleNamespace(status_text_set=lambda text: setattr(self, "status", text))
        self.context = types.SimpleNamespace(window_manager=manager, workspace=workspace, window=None)
        self.event = lambda event: kind.modal(self, self.context, types.SimpleNamespace(type=event))

    def count(self, name):
        setattr(self, name, 0)
        return lambda *_: setattr(self, name, getattr(self, name) + 1)

    def _options(self):
        return None


@pytest.fixture
def asked(addon, take):
    kind = addon.part("interchange.operators").LOOKALIKE_OT_import_splats
    operator = Asked(kind, [addon.part("interchange.numbered_files").sequence_beside(take[0])])
    assert operator._begin(operator.context) == {"RUNNING_MODAL"}
    return operator


def test_the_operator_takes_a_file_a_tick(asked):
    while (ended := asked.event("TIMER")) == {"RUNNING_MODAL"}:
        assert "take" in asked.status
        assert not bpy.context.scene.objects
        assert asked.event("MOUSEMOVE") == {"RUNNING_MODAL"}
    assert ended == {"FINISHED"}
    assert [o.name for o in bpy.context.scene.objects] == ["take"]
    assert asked.told[0][1].startswith("take: 3 files play from frame 1 to 5")
    assert (asked.removed, asked.status) == (1, None)


def test_escape_stops_the_operator(asked):
    meshes = len(bpy.data.meshes)
    while "2 of 3" not in (getattr(asked, "status", None) or ""):
        assert asked.event("TIMER") == {"RUNNING_MODAL"}
    assert asked.event("ESC") == {"CANCELLED"}
    assert asked.told == [("WARNING", "Stopped: take was not imported")]
    assert (len(bpy.data.meshes), len(bpy.context.scene.objects), asked.removed, asked.status) == (meshes, 0, 1, None)


def test_detection_can_be_off_and_leaves_single_files_alone(addon, take):
    assert choose(take, use_sequence_detection=False) == {"FINISHED"}
    assert len(bpy.context.scene.objects) == 3
    assert not any(addon.part("avatar.frame_sequence").plays(obj) for obj in bpy.context.scene.objects)
    assert choose(take[:1]) == {"FINISHED"}
    assert not addon.part("avatar.frame_sequence").plays(bpy.context.active_object)


def test_a_sequence_is_not_edited_by_strokes(addon, take):
    obj = addon.api.import_sequence(take[0]).obj
    with pytest.raises(addon.part("protocol").AvatarFileError, match="is a sequence"):
        addon.editing.targets_of(obj)


def test_final_frames_have_the_quads_of_their_frame_only(addon, take):
    """What a render evaluates: one quad a splat, where the splats of that frame are, in the fitted colours."""
    obj = addon.api.import_sequence(take[0]).obj
    scene = bpy.context.scene
    scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(scene.camera)
    scene.camera.location = (0, -0.6, 0)
    scene.camera.rotation_euler = (np.pi / 2, 0, 0)
    modifier = obj.modifiers["Lookalike Render"]
    modifier.show_viewport = True  # as a render evaluates it
    places = {}
    for frame, path in ((1, take[0]), (5, take[2])):
        scene.frame_set(frame)
        mesh = obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
        corners = np.empty((len(mesh.vertices), 3), np.float32)
        mesh.vertices.foreach_get("co", corners.ravel())
        places[frame] = corners
        count = len(in_file(addon, path))
        assert 0.5 * count < len(mesh.polygons) <= count
        light = mesh.attributes["lookalike_light"]
        assert len(light.data) in {len(mesh.polygons), len(mesh.vertices)}
    assert places[1].shape == places[5].shape, "the same splats are seen in both"
    assert np.abs(places[1] - places[5]).max() > 0.003, "the smile moves"
