"""Handlers come and go whole, and do nothing expensive."""

from __future__ import annotations

import bpy


def functions() -> dict[str, int]:
    on = bpy.app.handlers
    return {name: len(getattr(on, name)) for name in ("depsgraph_update_post", "frame_change_post", "undo_post", "redo_post", "load_pre")}


def test_register_and_unregister_leave_no_trace(part) -> None:
    viewport = part("viewport")
    before = functions()
    for _ in range(3):
        viewport.register()
        assert functions() == {name: count + 1 for name, count in before.items()}
        viewport.unregister()
        assert functions() == before


def test_marks_follow_the_rig_but_not_the_rest_of_the_scene(part, avatar) -> None:
    handlers = part("viewport.handlers")
    depsgraph = bpy.context.evaluated_depsgraph_get()
    obj = avatar.splats[2]
    _, cloud = handlers._drawer.clouds.get(obj, depsgraph)
    other = bpy.data.objects.new("lamp", bpy.data.lights.new("lamp", "POINT"))
    bpy.context.scene.collection.objects.link(other)
    bpy.context.view_layer.update()
    handlers.register()
    try:
        cloud.dirty = False
        other.location.x = 1.0
        bpy.context.view_layer.update()
        assert not cloud.dirty
        avatar.head.data.shape_keys.key_blocks["mouthSmile"].value = 0.4
        bpy.context.view_layer.update()
        assert cloud.dirty
        cloud.dirty = False
        key = avatar.head.data.shape_keys.key_blocks["mouthSmile"]
        key.value = 0.0
        key.keyframe_insert("value", frame=1)
        key.value = 1.0
        key.keyframe_insert("value", frame=10)
        bpy.context.view_layer.update()
        cloud.dirty = False
        bpy.context.scene.frame_set(5)
        assert cloud.dirty
    finally:
        handlers.unregister()


def test_a_removed_avatar_is_noticed(part, avatar) -> None:
    index = part("viewport.placement").SceneIndex()
    assert len(list(index.splats())) == 3
    scans = index.scans
    assert len(list(index.splats())) == 3
    assert index.scans == scans, "nothing changed, nothing scanned"
    bpy.data.objects.remove(avatar.splats[2])
    assert len(list(index.splats())) == 2
    assert index.scans == scans + 1


def test_textures_of_removed_objects_are_freed(part, avatar) -> None:
    clouds = part("viewport.clouds").Clouds()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    for obj in avatar.splats.values():
        clouds.get(obj, depsgraph)
    clouds.keep({avatar.splats[0].session_uid})
    assert len(clouds) == 1
