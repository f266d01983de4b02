"""An avatar lives in the .blend: saved, reopened without the add-on, appended, linked, overridden."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest

from tests.blender.avatar.reference import evaluated, expect_same, expected_splats

POSE = np.array([[0, 0, 0], [0.1, 0.5, 0.15], [0.3, 0, 0], [0, 0.3, 0], [0, 0.3, 0]], np.float32)
EXPRESSION = {"mouthSmile": 0.8, "eyeBlinkLeft": 1.0}

READ_WITHOUT_ADDON = """
import json, sys
import bpy, numpy as np
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
assert not hasattr(bpy.types.Collection, "lookalike") and "zmq" not in sys.modules
frames = {}
for frame in json.loads(sys.argv[2]):
    bpy.context.scene.frame_set(frame)
    data = bpy.data.objects[sys.argv[3]].evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    out = {}
    for name, key, width in (("position", "vector", 3), ("rotation", "value", 4), ("scale", "vector", 3)):
        values = np.empty((len(data.attributes[name].data), width), np.float32)
        data.attributes[name].data.foreach_get(key, values.ravel())
        out[name] = values
    frames[str(frame)] = out
np.savez(sys.argv[4], **{f"{f}/{k}": v for f, out in frames.items() for k, v in out.items()})
"""


@pytest.fixture
def keyed(api, scene, arrays):
    """An avatar keyed from neutral at frame 1 to a strong pose at frame 11, shown at its highest level."""
    avatar = api.build_avatar(arrays, scene.collection)
    values = {name: np.array([0, value], np.float32) for name, value in EXPRESSION.items()}
    api.motion_to_keys(avatar, [1, 11], values, np.stack([np.zeros_like(POSE), POSE]))
    return avatar


def test_saved_file_plays_in_a_fresh_process_without_add_on_and_backend(api, keyed, arrays, tmp_path):
    blend, script, result = tmp_path / "saved.blend", tmp_path / "read.py", tmp_path / "read.npz"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    script.write_text(READ_WITHOUT_ADDON)
    subprocess.run([sys.executable, script, blend, json.dumps([1, 11]), keyed.splats[2].name, result], check=True, timeout=120)
    read = np.load(result)
    for frame, expression, pose in (("1", {}, np.zeros_like(POSE)), ("11", EXPRESSION, POSE)):
        got = {name: read[f"{frame}/{name}"] for name in ("position", "rotation", "scale")}
        expect_same(got, expected_splats(arrays, 2, expression, pose))


def test_reopened_file_still_knows_its_avatar(api, keyed, arrays, tmp_path):
    blend = tmp_path / "saved.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    (collection,) = api.find_avatars(bpy.context.scene)
    assert json.loads(collection.lookalike.provenance) == arrays.provenance
    assert list(api.splats_of(collection)) == [0, 1, 2]
    assert [key.name for key in api.expression_keys(collection)] == list(arrays.rig.expression_names)


def test_appended_avatar_brings_everything(api, keyed, arrays, tmp_path):
    blend = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    _load(blend, link=False)
    (collection,) = api.find_avatars(bpy.context.scene)
    bpy.context.scene.frame_set(11)
    assert all(o.library is None for o in collection.objects)
    expect_same(evaluated(api, api.splats_of(collection)[2]), expected_splats(arrays, 2, EXPRESSION, POSE))


def test_two_appended_copies_follow_their_own_rig(api, keyed, arrays, tmp_path):
    blend = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    _load(blend, link=False)
    _load(blend, link=False)
    first, second = api.find_avatars(bpy.context.scene)
    assert set(first.objects).isdisjoint(second.objects)
    for collection in (first, second):
        assert len(api.avatar_objects(collection)) == 5


def test_linked_avatar_plays(api, keyed, arrays, tmp_path):
    blend = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    collection = _load(blend, link=True)
    bpy.context.scene.frame_set(11)
    assert collection.library is not None
    assert api.find_avatars(bpy.context.scene) == [collection]
    expect_same(evaluated(api, api.splats_of(collection)[2]), expected_splats(arrays, 2, EXPRESSION, POSE))


def test_linked_avatar_is_found_through_its_instance(api, keyed, arrays, tmp_path):
    """File > Link adds an empty that instances the collection, not the collection itself."""
    blend = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.link(directory=f"{blend}/Collection/", filename=keyed_name(blend), instance_collections=True)
    (collection,) = api.find_avatars(bpy.context.scene)
    assert api.active_avatar(bpy.context) == collection
    bpy.context.scene.frame_set(11)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    shown = [i.object for i in depsgraph.object_instances if i.is_instance and i.object.original == api.splats_of(collection)[2]]
    assert len(shown) == 1
    read = {}
    for name, key, width in (("position", "vector", 3), ("rotation", "value", 4), ("scale", "vector", 3)):
        read[name] = np.empty((len(shown[0].data.vertices), width), np.float32)
        shown[0].data.attributes[name].data.foreach_get(key, read[name].ravel())
    expect_same(read, expected_splats(arrays, 2, EXPRESSION, POSE))


def test_library_override_is_posed_here_and_followed_by_its_splats(api, scene, arrays, tmp_path):
    api.build_avatar(arrays, scene.collection)
    blend = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    linked = _load(blend, link=True)
    local = linked.override_hierarchy_create(bpy.context.scene, bpy.context.view_layer, do_fully_editable=True)
    assert local.override_library is not None
    if linked.name in bpy.context.scene.collection.children:
        bpy.context.scene.collection.children.unlink(linked)
    (collection,) = api.find_avatars(bpy.context.scene)
    api.armature_of(collection).pose.bones["neck"].rotation_euler = (0, 0.5, 0)
    for key in api.expression_keys(collection):
        key.value = EXPRESSION.get(key.name, 0)
    pose = np.zeros_like(POSE)
    pose[1] = 0, 0.5, 0
    expect_same(evaluated(api, api.splats_of(collection)[2]), expected_splats(arrays, 2, EXPRESSION, pose))
    collection.lookalike.lod = "0"
    assert api.shown_level(collection) == 0


def test_source_path_is_relative_to_a_saved_file(api, scene, arrays, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    avatar = api.build_avatar(arrays, bpy.context.scene.collection, source_path=str(tmp_path / "people" / "ada.lookalike"))
    assert Path(avatar.collection.lookalike.source_path.replace("\\", "/")) == Path("//people/ada.lookalike")


def keyed_name(blend: Path) -> str:
    """The avatar's collection in a file."""
    with bpy.data.libraries.load(str(blend), link=True) as (source, _):
        return next(name for name in source.collections if name.startswith("synthetic"))


def _load(blend: Path, link: bool) -> bpy.types.Collection:
    with bpy.data.libraries.load(str(blend), link=link) as (source, target):
        target.collections = [name for name in source.collections if name.startswith("synthetic")]
    bpy.context.scene.collection.children.link(target.collections[0])
    return target.collections[0]
