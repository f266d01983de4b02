"""Performances out as .motion, refined frames in: what the backend reads and writes, and a camera that sees what it says."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

SIZE = (64, 48)


@pytest.fixture
def addon(lookalike, empty_file):
    return importlib.import_module(f"{lookalike.__name__}.api")


@pytest.fixture
def avatar(addon, lookalike):
    import bpy

    from tests.synthetic import synthetic_avatar

    building = importlib.import_module(f"{lookalike.__name__}.avatar")
    return building.build_avatar(synthetic_avatar(), bpy.context.scene.collection, "Ada")


@pytest.fixture
def sequence(tmp_path):
    """Two pictures and their note, as `lookalike render` writes them; the camera is turned, shifted and of unlike focal lengths' centre."""
    import bpy

    for number, shade in ((5, 0.2), (6, 0.8)):
        image = bpy.data.images.new("made", *SIZE, alpha=True)
        image.pixels.foreach_set(np.tile(np.float32([shade, shade, shade, 1]), SIZE[0] * SIZE[1]))
        image.filepath_raw, image.file_format = str(tmp_path / f"ada_{number:04d}.png"), "PNG"
        image.save()
        bpy.data.images.remove(image)
    turn = np.deg2rad(20)
    view = np.eye(4)
    view[:3, :3] = np.diag([1.0, -1, -1]) @ [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    view[:3, 3] = [0.01, -0.02, 0.9]
    note = {
        "lookalike_sequence": 1,
        "stem": "ada",
        "first": 5,
        "count": 2,
        "fps": 24.0,
        "size": SIZE,
        "world_to_camera": view.tolist(),
        "intrinsics": [[150.0, 0, 30.0], [0, 150.0, 27.0], [0, 0, 1]],
        "transparent": True,
    }
    path = tmp_path / "ada.sequence.json"
    path.write_text(json.dumps(note))
    return path, note


def test_the_camera_sees_points_where_the_note_says(addon, avatar, sequence):
    import bpy
    from bpy_extras.object_utils import world_to_camera_view
    from mathutils import Vector

    path, note = sequence
    avatar.armature.location = (1.0, -2.0, 0.3)
    avatar.armature.rotation_euler = (0.1, 0.2, 0.9)
    camera = addon.import_refined(path, avatar.collection, start=10, plane=True)
    scene = bpy.context.scene
    bpy.context.view_layer.update()
    assert scene.camera == camera
    assert (scene.render.resolution_x, scene.render.resolution_y) == SIZE
    points = np.float32([[0, 0, 0.09], [0.07, 0.05, 0.02], [-0.06, -0.1, 0.05]])  # the avatar's frame: +Y up, face along +Z
    seen = points @ np.array(note["world_to_camera"])[:3, :3].T + np.array(note["world_to_camera"])[:3, 3]
    lens = np.array(note["intrinsics"])
    wanted = (seen @ lens.T)[:, :2] / seen[:, 2:]
    for point, (x, y) in zip(points, wanted, strict=True):
        world = avatar.armature.matrix_world @ Vector((point[0], -point[2], point[1]))
        there = world_to_camera_view(scene, camera, world)
        np.testing.assert_allclose([there.x * SIZE[0], (1 - there.y) * SIZE[1]], [x, y], atol=0.02)


def test_pictures_play_before_the_camera_and_on_the_plane(addon, avatar, sequence):
    import bpy
    from bpy_extras.object_utils import world_to_camera_view

    camera = addon.import_refined(sequence[0], avatar.collection, start=10, plane=True)
    bpy.context.view_layer.update()
    background = camera.data.background_images[0]
    assert camera.data.show_background_images
    assert background.image.source == "SEQUENCE"
    user = background.image_user
    assert (user.frame_start, user.frame_duration, user.frame_offset) == (10, 2, 4)
    plane = camera.children[0]
    corners = [world_to_camera_view(bpy.context.scene, camera, plane.matrix_world @ v.co) for v in plane.data.vertices]
    np.testing.assert_allclose([[c.x, c.y] for c in corners], [[0, 0], [1, 0], [1, 1], [0, 1]], atol=1e-3)
    assert abs(corners[0].z - 0.9) < 0.05  # through the middle of the head


def test_the_plane_renders_the_frame_of_its_turn(addon, avatar, sequence, tmp_path):
    import bpy

    scene = bpy.context.scene
    scene.view_settings.view_transform = "Standard"
    addon.import_refined(sequence[0], avatar.collection, start=10, plane=True)
    for obj in avatar.splats.values():
        obj.hide_render = True
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.cycles.use_denoising = False
    scene.render.image_settings.file_format = "PNG"
    for frame, shade in ((10, 0.2), (11, 0.8)):
        scene.frame_set(frame)
        scene.render.filepath = str(tmp_path / f"frame{frame}.png")
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(scene.render.filepath)
        pixels = np.empty(SIZE[0] * SIZE[1] * 4, np.float32)
        image.pixels.foreach_get(pixels)
        middle = pixels.reshape(SIZE[1], SIZE[0], 4)[10:-10, 10:-10, :3]
        assert abs(middle.mean() - shade) < 0.03


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"stem": "../ada"}, "no note of refined frames"),
        ({"lookalike_sequence": 2}, "no note of refined frames"),
        ({"intrinsics": [[0, 0, 0]] * 3}, "no note of refined frames"),
        ({"world_to_camera": [[float("nan")] * 4] * 4}, "no note of refined frames"),
        ({"first": 7}, "no such file"),
        ({"first": 10**300}, "no note of refined frames"),
        ({"first": 1e300}, "no note of refined frames"),
        ({"count": 10**12}, "no note of refined frames"),
        ({"size": [10**12, 8]}, "no note of refined frames"),
        ({"stem": "x" * 300}, "no note of refined frames"),
        ({"stem": "\u5b57" * 100}, "no note of refined frames"),
        ({"stem": "a\0da"}, "no note of refined frames"),
        ({"intrinsics": [[150.0, 0, 30], [0, 0, 27], [0, 0, 1]]}, "no note of refined frames"),
        ({"intrinsics": [[1e300, 0, 30], [0, 150.0, 27], [0, 0, 1]]}, "no note of refined frames"),
        ({"more": "x" * (1 << 16)}, "no note of refined frames"),
    ],
)
def test_a_wrong_note_changes_nothing(addon, lookalike, avatar, sequence, change, told):

    errors = importlib.import_module(f"{lookalike.__name__}.protocol")
    path, note = sequence
    path.write_text(json.dumps(note | change))
    before = data_blocks()
    with pytest.raises(errors.AvatarFileError, match=told):
        addon.import_refined(path, avatar.collection, plane=True)
    assert data_blocks() == before


def data_blocks():
    import bpy

    kinds = (bpy.data.objects, bpy.data.cameras, bpy.data.images, bpy.data.meshes, bpy.data.materials)
    return [sorted(block.name for block in kind) for kind in kinds]


def test_what_fails_half_way_leaves_nothing_behind(addon, avatar, sequence):
    import bpy

    before = data_blocks(), bpy.context.scene.camera
    with pytest.raises((OverflowError, ValueError, TypeError)):
        addon.import_refined(sequence[0], avatar.collection, start=1 << 40, plane=True)
    assert (data_blocks(), bpy.context.scene.camera) == before


def test_a_performance_goes_out_and_comes_in_again(addon, lookalike, avatar, tmp_path):
    """Layers, muted keys and the frame where the user was: what shows is what is written."""
    import bpy

    building = importlib.import_module(f"{lookalike.__name__}.avatar")
    building.add_controls(avatar.collection)
    frames = np.arange(1, 9)
    pose = np.zeros((8, 5, 3), np.float32)
    pose[:, 2, 0] = np.linspace(0, 0.3, 8)
    pose[:, 1, 1] = np.linspace(-0.2, 0.2, 8)
    smile = np.linspace(0, 1, 8).astype(np.float32)
    building.motion_to_keys(avatar, frames, {"mouthSmile": smile}, pose)
    scene = bpy.context.scene
    scene.frame_set(3)
    path = addon.export_motion(tmp_path / "take.motion", avatar.collection, 1, 8)
    assert scene.frame_current == 3
    reading = importlib.import_module(f"{lookalike.__name__}.motion.read_file")
    take = reading.read_motion(path)
    np.testing.assert_allclose(take.expressions["mouthSmile"], smile, atol=1e-5)
    from safetensors.numpy import load

    arrays = load(path.read_bytes())
    np.testing.assert_allclose(arrays["pose"], pose, atol=1e-4)
    assert arrays["pose"].dtype == np.float32
    errors = importlib.import_module(f"{lookalike.__name__}.protocol")
    with pytest.raises(errors.AvatarFileError, match="frames 5 to 4"):
        addon.export_motion(tmp_path / "none.motion", avatar.collection, 5, 4)


def test_a_take_with_a_number_keeps_its_name(addon, avatar, tmp_path):
    (tmp_path / "shot.motion").write_bytes(b"another take")
    assert addon.export_motion(tmp_path / "shot.010", avatar.collection, 1, 2).name == "shot.010.motion"
    assert addon.export_motion(tmp_path / "b.MOTION", avatar.collection, 1, 2).name == "b.MOTION"
    assert (tmp_path / "shot.motion").read_bytes() == b"another take"


def test_operators_do_it_too(addon, lookalike, avatar, sequence, tmp_path):
    import bpy

    bpy.context.view_layer.objects.active = avatar.armature
    bpy.context.scene.frame_end = 4
    assert bpy.ops.lookalike.export_motion(filepath=str(tmp_path / "scene.motion")) == {"FINISHED"}
    assert (tmp_path / "scene.motion").exists()
    assert bpy.ops.lookalike.import_refined(filepath=str(sequence[0])) == {"FINISHED"}
    assert bpy.context.scene.camera.name == "Ada.refined"
