"""Splats out of the scene and in again, as files of other programs; attaching what came in to a head."""

from __future__ import annotations

import bpy
import numpy as np
import pytest


def rotations(addon, quaternion):
    return addon.part("protocol.binding").rotation_matrices(np.asarray(quaternion, np.float64))


def pose(addon, avatar, neck=0.3):
    angles = np.zeros((5, 3), np.float32)
    angles[1, 1] = neck
    addon.avatar.pose_avatar(addon.avatar.BlenderAvatar(avatar.session_uid), {"mouthSmile": 1.0}, angles)
    bpy.context.view_layer.update()


def shown(addon, avatar, level):
    splats = addon.avatar.splats_of(avatar)
    for each, obj in splats.items():
        obj.hide_viewport = each != level
    bpy.context.view_layer.update()
    return addon.avatar.read_evaluated(splats[level], bpy.context.evaluated_depsgraph_get())


@pytest.mark.parametrize("level", [0, 2])
def test_posed_cloud_is_what_blender_evaluates_also_for_hidden_levels(addon, avatar, level):
    pose(addon, avatar)
    native = shown(addon, avatar, level)
    for obj in addon.avatar.splats_of(avatar).values():
        obj.hide_viewport = True
    cloud = addon.interchange.posed_cloud(avatar, bpy.context.evaluated_depsgraph_get(), level)
    frames = addon.part("avatar.frames")
    assert np.abs(frames.points_to_blender(cloud.position) - native["position"]).max() < 2e-5
    assert np.abs(cloud.scale / native["scale"] - 1).max() < 1e-3
    assert np.allclose(cloud.opacity, native["opacity"], atol=1e-6)


def test_ply_holds_the_pose_about_the_avatars_own_origin(addon, avatar, tmp_path):
    pose(addon, avatar)
    armature = addon.avatar.armature_of(avatar)
    armature.location, armature.rotation_euler, armature.scale = (1, 2, 3), (0.1, 0.2, 0.3), (2, 2, 2)
    bpy.context.view_layer.update()
    path = addon.interchange.export_splats(avatar, tmp_path / "a.ply", level=1)
    back = addon.part("protocol.interchange").read_cloud(path)
    armature.location, armature.rotation_euler, armature.scale = (0, 0, 0), (0, 0, 0), (1, 1, 1)
    native = shown(addon, avatar, 1)
    assert np.abs(addon.part("avatar.frames").points_to_blender(back.position) - native["position"]).max() < 2e-5
    world = addon.interchange.export_splats(avatar, tmp_path / "w.ply", level=1, local=False)
    assert world.stat().st_size == path.stat().st_size


def test_world_export_holds_the_place_in_the_scene(addon, avatar, tmp_path):
    armature = addon.avatar.armature_of(avatar)
    armature.location = (1, 2, 3)
    bpy.context.view_layer.update()
    cloud = addon.part("protocol.interchange").read_cloud(addon.interchange.export_splats(avatar, tmp_path / "a.spz", local=False))
    assert np.allclose(np.median(cloud.position, 0), [1, 3, -2], atol=0.03)


def test_hidden_splats_are_not_written(addon, avatar, tmp_path):
    whole = addon.interchange.export_splats(avatar, tmp_path / "a.ply").stat().st_size
    addon.editing.hide_region(avatar, "SHOULDERS")
    assert addon.interchange.export_splats(avatar, tmp_path / "a.ply").stat().st_size < whole


def test_sequence_writes_each_frame_and_puts_the_frame_back(addon, avatar, tmp_path):
    handle = addon.avatar.BlenderAvatar(avatar.session_uid)
    addon.avatar.key_expression(handle, "mouthSmile", np.array([1, 5]), np.float32([0, 1]))
    bpy.context.scene.frame_set(3)
    paths = list(addon.interchange.export_sequence(avatar, tmp_path / "take.ply", 1, 5, 2, level=0))
    assert [path.name for path in paths] == ["take_0001.ply", "take_0003.ply", "take_0005.ply"]
    assert bpy.context.scene.frame_current == 3
    read = addon.part("protocol.interchange").read_cloud
    first, last = read(paths[0]).position, read(paths[2]).position
    assert np.abs(first - last).max() > 0.003
    frames = addon.interchange.export_sequence(avatar, tmp_path / "take.ply", 1, 5)
    next(frames)
    frames.close()
    assert bpy.context.scene.frame_current == 3, "also where it is stopped"
    with pytest.raises(addon.part("protocol").AvatarFileError, match="are none"):
        next(addon.interchange.export_sequence(avatar, tmp_path / "take.ply", 5, 1))


def test_glb_at_rest_comes_back_as_an_avatar(addon, avatar, tmp_path):
    pose(addon, avatar)
    path = addon.interchange.export_glb(avatar, tmp_path / "ada.glb", level=1)
    assert bpy.ops.lookalike.import_splats(filepath=str(path)) == {"FINISHED"}
    copy = next(c for c in addon.avatar.find_avatars(bpy.context.scene) if c != avatar)
    assert [k.name for k in addon.avatar.expression_keys(copy)] == [k.name for k in addon.avatar.expression_keys(avatar)]
    given, got = addon.avatar.avatar_arrays(avatar), addon.avatar.avatar_arrays(copy)
    assert np.allclose(got.rig.vertices, given.rig.vertices, atol=1e-6)
    assert np.allclose(got.lods[0].position, given.splats(1).position, atol=1e-5)


def test_posed_glb_stands_as_the_scene_does(addon, avatar, tmp_path):
    pose(addon, avatar)
    cloud = addon.part("protocol.interchange").read_cloud(addon.interchange.export_glb(avatar, tmp_path / "p.glb", level=1, posed=True))
    expected = addon.interchange.posed_cloud(avatar, bpy.context.evaluated_depsgraph_get(), 1)
    assert np.abs(cloud.position - expected.position).max() < 2e-5
    reader = addon.part("protocol.interchange.gltf_container").Glb((tmp_path / "p.glb").read_bytes(), "p")
    neck = next(node for node in reader.document["nodes"] if node.get("name") == "neck")
    assert np.allclose(neck["rotation"], [0, np.sin(0.15), 0, np.cos(0.15)], atol=1e-4), "turned about Y by 0.3, as glTF has it"


def test_lam_zip_is_written(addon, avatar, tmp_path):
    path = addon.interchange.export_lam(avatar, tmp_path / "ada.zip")
    assert bpy.ops.lookalike.import_splats(filepath=str(path)) == {"FINISHED"}
    assert bpy.context.active_object.lookalike.role == "CLOUD"


@pytest.mark.parametrize("suffix", [".ply", ".spz"])
def test_imported_splats_stand_upright_and_face_the_front(addon, avatar, tmp_path, suffix):
    path = addon.interchange.export_splats(avatar, tmp_path / f"a{suffix}", level=0)
    addon.api.delete_avatar(avatar)
    assert bpy.ops.lookalike.import_splats(filepath=str(path)) == {"FINISHED"}
    obj = bpy.context.active_object
    bpy.context.view_layer.update()
    drawn = addon.avatar.read_evaluated(obj, bpy.context.evaluated_depsgraph_get())
    place = drawn["position"]
    assert obj.lookalike.role == "CLOUD"
    assert place[:, 2].max() > 0.1, "the crown is up"
    front = place[:, 1] < -0.08
    assert front.any()
    assert (drawn["rgb"][front, 2] > 0.7).mean() > 0.8, "the nose, which is blue in this head, looks along -Y"
    assert len(addon.avatar.splat_objects(bpy.context.scene.objects)) == 1, "the viewport and the renderer find it"


def test_a_camera_frame_ply_of_another_program_stands_upright_too(addon, arrays, tmp_path):
    protocol = addon.part("protocol.interchange")
    data = protocol.encode_ply(protocol.SplatCloud.of(arrays.lods[0]), "rdf").replace(b"comment axes rdf\n", b"")
    (tmp_path / "foreign.ply").write_bytes(data)
    obj = addon.interchange.import_splats(tmp_path / "foreign.ply", scale=2.0)
    place = addon.part("avatar.host").read_attribute(obj.data, "position")
    expected = addon.part("avatar.frames").points_to_blender(arrays.lods[0].position)
    assert np.allclose(place, 2 * expected, atol=1e-5)


def test_bad_files_are_told_and_the_scene_untouched(addon, avatar, tmp_path):
    (tmp_path / "mesh.ply").write_bytes(b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nend_header\n\0\0\0\0")
    (tmp_path / "cut.spz").write_bytes(b"\x1f\x8b\x08")
    (tmp_path / "empty.glb").write_bytes(b"glTF")
    (tmp_path / "a.zip").write_bytes(b"PK")
    before = set(bpy.data.objects)
    for name, says in (
        ("mesh.ply", "not a Gaussian splat"),
        ("cut.spz", "not a .spz"),
        ("empty.glb", "binary glTF"),
        ("a.zip", "zip"),
        ("no.ply", "cannot be read"),
    ):
        with pytest.raises(RuntimeError, match=says):
            bpy.ops.lookalike.import_splats(filepath=str(tmp_path / name))
    assert set(bpy.data.objects) == before


def test_export_operators_write_what_their_names_say(addon, avatar, tmp_path):
    assert bpy.ops.lookalike.export_splats(filepath=str(tmp_path / "a.ply"), kind=".spz") == {"FINISHED"}
    assert (tmp_path / "a.spz").read_bytes()[:2] == b"\x1f\x8b"
    assert bpy.ops.lookalike.export_splats(filepath=str(tmp_path / "b.ply"), animation=True, first=1, last=3) == {"FINISHED"}
    assert sorted(p.name for p in tmp_path.glob("b_*.ply")) == ["b_0001.ply", "b_0002.ply", "b_0003.ply"]
    assert bpy.ops.lookalike.export_gltf(filepath=str(tmp_path / "a.glb")) == {"FINISHED"}
    assert bpy.ops.lookalike.export_lam(filepath=str(tmp_path / "a.zip")) == {"FINISHED"}
    with pytest.raises(RuntimeError, match="cannot be written"):
        bpy.ops.lookalike.export_gltf(filepath=str(tmp_path / "nowhere" / "a.glb"))


def test_swapped_hair_follows_the_head(addon, avatar, arrays):
    protocol = addon.part("protocol.interchange")
    hair = addon.part("interchange.cloud_objects").cloud_object("hair", protocol.SplatCloud.of(arrays.lods[0]))
    bpy.context.scene.collection.objects.link(hair)
    hair.location = (0.01, 0, 0.02)
    bpy.context.view_layer.update()
    before = hair.matrix_world.copy()
    addon.interchange.attach_to_head(hair, avatar)
    bpy.context.view_layer.update()
    assert np.allclose(hair.matrix_world, before, atol=1e-6), "it stays where it stood"
    assert hair.name in avatar.objects
    pose(addon, avatar, 0.5)
    turned = hair.matrix_world @ before.inverted()
    assert abs(turned.to_euler().z - 0.5) < 1e-3, "and turns with the neck"
    whole = addon.interchange.posed_cloud(avatar, bpy.context.evaluated_depsgraph_get(), 0)
    assert len(whole.position) == 2 * len(arrays.lods[0]) + len(arrays.shoulders), "it is exported with the avatar"
    addon.interchange.detach(hair, bpy.context.scene)
    bpy.context.view_layer.update()
    assert hair.parent is None
    assert hair.name not in avatar.objects


def test_attach_operator_takes_what_is_selected(addon, avatar):
    bpy.ops.mesh.primitive_cube_add(size=0.1, location=(0, 0, 0.2))
    cube = bpy.context.active_object
    assert bpy.ops.lookalike.attach_to_head(hide_hair=True) == {"FINISHED"}
    assert cube.parent_bone == "neck"
    obj = addon.avatar.splats_of(avatar)[2]
    assert (addon.part("avatar.host").read_attribute(obj.data, "radiance:base")[:, 3] == 0).any(), "its own hair is hidden"
    assert bpy.ops.lookalike.detach_from_head() == {"FINISHED"}
    assert cube.parent is None
    with pytest.raises(addon.part("protocol").AvatarFileError, match="part of an avatar"):
        addon.interchange.attach_to_head(addon.avatar.head_of(avatar), avatar)


def test_an_asset_has_a_picture_of_the_head(addon, avatar):
    assert bpy.ops.lookalike.mark_asset() == {"FINISHED"}
    assert avatar.asset_data is not None
    pixels = np.empty(256 * 256 * 4, np.float32)
    avatar.preview.image_pixels_float.foreach_get(pixels)
    picture = pixels.reshape(256, 256, 4)
    covered = picture[..., 3] > 0.5
    assert 0.1 < covered.mean() < 0.9
    assert picture[covered][:, :3].std() > 0.05
    assert covered[128, 128]
    assert not covered[2, 128] or not covered[253, 2]


def test_blenders_own_importer_reads_our_glb(addon, avatar, arrays, tmp_path):
    """A foreign reader: mesh, skin and morph targets with ARKit's names come out as they went in."""
    addon_utils = pytest.importorskip("addon_utils")
    path = addon.interchange.export_glb(avatar, tmp_path / "ada.glb", level=0)
    addon_utils.enable("io_scene_gltf2", default_set=False)
    before = set(bpy.data.objects)
    assert bpy.ops.import_scene.gltf(filepath=str(path)) == {"FINISHED"}
    made = [obj for obj in set(bpy.data.objects) - before if obj.type == "MESH" and obj.data.shape_keys]
    assert len(made) == 1
    head = made[0]
    names = [key.name for key in head.data.shape_keys.key_blocks][1:]
    assert names[: len(arrays.rig.expression_names)] == list(arrays.rig.expression_names)
    assert "jawOpen" in names
    assert {group.name for group in head.vertex_groups} == set(arrays.rig.joint_names)
    place = np.empty((len(head.data.vertices), 3), np.float32)
    head.data.vertices.foreach_get("co", place.ravel())
    expected = addon.part("avatar.frames").points_to_blender(arrays.rig.vertices)
    distance = np.linalg.norm(place[:, None] - expected[None], axis=2).min(1)
    assert distance.max() < 1e-6
    blink = np.empty_like(place)
    head.data.shape_keys.key_blocks["eyeBlinkLeft"].data.foreach_get("co", blink.ravel())
    assert np.abs(np.linalg.norm(blink - place, axis=1).max() - np.linalg.norm(arrays.rig.expressions[1], axis=1).max()) < 1e-6


def test_an_imported_cloud_is_made_renderable_like_an_avatar(addon, arrays, tmp_path):
    """Final frames below 5.3: the same quads, colours and no complaint that it follows no rig."""
    protocol = addon.part("protocol.interchange")
    (tmp_path / "hair.ply").write_bytes(protocol.encode_ply(protocol.SplatCloud.of(arrays.lods[0])))
    obj = addon.interchange.import_splats(tmp_path / "hair.ply")
    addon.part("rendering.preparation").prepare_scenes()
    quads = obj.modifiers[addon.part("rendering.modifier").MODIFIER_NAME]
    assert quads.show_render
    assert not quads.show_viewport, "the viewport draws splats itself"
    assert addon.part("rendering.support").unbound(obj) == ""
