"""A shot on a farm: listed, relative, native, rendered by a Blender that has no add-on, in any order of frames."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

from .conftest import close_up


@pytest.fixture
def shot(avatar, tmp_path: Path) -> Path:
    """A saved .blend with an avatar that opens its mouth, and a picture beside it."""
    jaw = avatar.armature.pose.bones["jaw"]
    for frame, angle in ((1, 0.0), (5, 0.6)):
        jaw.rotation_euler.x = angle
        jaw.keyframe_insert("rotation_euler", index=0, frame=frame)
    path = tmp_path / "shot" / "shot.blend"
    path.parent.mkdir()
    Image.new("RGB", (8, 8), "red").save(path.parent / "wall.png")
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    image = bpy.data.images.load(str(path.parent / "wall.png"))
    image.use_fake_user = True
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1, 5
    return path


def test_files_are_listed_and_paths_made_relative(shot, part, avatar) -> None:
    done = part("rendering.render_ready").make_render_ready(bpy.context, "FILE")
    assert done.blend == shot
    assert [path.name for path in done.files] == ["wall.png"]
    assert done.outside == ()
    assert bpy.data.images["wall.png"].filepath == "//wall.png"
    listed = bpy.data.texts[part("rendering.render_ready").LIST_NAME].as_string()
    assert str(shot) in listed
    assert str(shot.parent / "wall.png") in listed


def test_everything_that_frames_need_is_in_blend_paths(shot, part, avatar) -> None:
    """What Deadline Cloud's submitter asks Blender for."""
    done = part("rendering.render_ready").make_render_ready(bpy.context)
    assert {str(path) for path in done.files} <= set(bpy.utils.blend_paths(absolute=True))


def test_files_of_every_kind_are_listed_and_those_outside_named(shot, part, avatar, tmp_path) -> None:
    """A picture, a font and a library beside the shot, and a picture elsewhere."""
    library = shot.parent / "props.blend"
    bpy.data.libraries.write(str(library), {bpy.data.objects.new("prop", None)})
    with bpy.data.libraries.load(str(library), link=True) as (_, wanted):
        wanted.objects = ["prop"]
    bpy.context.scene.collection.objects.link(wanted.objects[0])
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "sky.png")
    bpy.data.images.load(str(tmp_path / "sky.png")).use_fake_user = True
    done = part("rendering.render_ready").make_render_ready(bpy.context)
    assert {path.name for path in done.files} == {"wall.png", "props.blend", "sky.png"}
    assert [path.name for path in done.outside] == ["sky.png"]
    assert bpy.data.libraries[0].filepath == "//props.blend"


CONTACT = {"socket.__new__", "socket.connect", "socket.bind", "subprocess.Popen", "os.posix_spawn", "os.exec"}
"""Audit events of Python that reach beyond the process."""


def test_rendering_opens_no_socket_and_starts_no_process(shot, part, avatar) -> None:
    """With the add-on on, as on an artist's machine: frames need no backend."""
    seen: list[str] = []
    watching = [True]
    sys.addaudithook(lambda event, _: seen.append(event) if watching[0] and event in CONTACT else None)
    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = 32
    scene.frame_end = 2
    scene.render.filepath = str(shot.parent / "out" / "####")
    bpy.ops.render.render(animation=True)
    watching[0] = False
    assert len(list((shot.parent / "out").glob("*.png"))) == 2
    assert not seen


def test_drivers_that_need_python_become_keys(shot, part, avatar) -> None:
    key = avatar.head.data.shape_keys.key_blocks["mouthSmile"]
    driver = key.driver_add("value").driver
    driver.expression = "[sin(frame) * 0.3 + 0.4][0]"
    done = part("rendering.render_ready").make_render_ready(bpy.context, "OPEN")
    assert done.baked == 1
    assert not [
        c for c in avatar.head.data.shape_keys.animation_data.drivers if not c.driver.is_simple_expression and c.driver.type == "SCRIPTED"
    ]
    for frame in (1, 3, 5):
        bpy.context.scene.frame_set(frame)
        assert key.value == pytest.approx(np.sin(frame) * 0.3 + 0.4, abs=1e-5)


@pytest.mark.parametrize(("bone", "control"), [("face", ""), ("gaze", "follow"), ("arkit", "")])
def test_scripted_drivers_of_the_face_board_become_its_keys(shot, part, avatar, bone, control) -> None:
    assert part("avatar.controls").add_controls(avatar.collection)
    board = avatar.armature.pose.bones[bone]
    control = control or next(key for key in board.keys() if isinstance(board[key], float))  # noqa: SIM118 - not a dict
    path = f'pose.bones["{bone}"]["{control}"]'
    before = set(avatar.armature.keys())
    avatar.armature.driver_add(path).driver.expression = "[sin(frame) * 0.3 + 0.4][0]"
    assert part("rendering.render_ready").make_render_ready(bpy.context, "OPEN").baked == 1
    assert set(avatar.armature.keys()) == before, "no property of another name was made"
    for frame in (1, 3, 5):
        bpy.context.scene.frame_set(frame)
        assert avatar.armature.path_resolve(path) == pytest.approx(np.sin(frame) * 0.3 + 0.4, abs=1e-5)


def test_scripted_driver_of_one_axis_of_a_bone_becomes_keys(shot, part, avatar) -> None:
    path = 'pose.bones["neck"].rotation_euler'
    avatar.armature.driver_add(path, 2).driver.expression = "[frame * 0.01][0]"
    assert part("rendering.render_ready").make_render_ready(bpy.context, "OPEN").baked == 1
    bpy.context.scene.frame_set(4)
    assert avatar.armature.path_resolve(path)[2] == pytest.approx(0.04, abs=1e-6)


def test_the_artists_file_and_drivers_stay_and_the_copy_has_keys(shot, part, avatar) -> None:
    """The neck has keys in an action and a scripted driver besides; the smile has a driver and no action."""
    armature, keys = avatar.armature, avatar.head.data.shape_keys
    armature.driver_add('pose.bones["neck"].rotation_euler', 2).driver.expression = "[frame * 0.01][0]"
    driver = keys.key_blocks["mouthSmile"].driver_add("value").driver
    driver.expression = "[s * 0.1 + 0.4][0]"
    variable = driver.variables.new()
    variable.name, variable.targets[0].id, variable.targets[0].data_path = "s", armature, "location.x"
    action = armature.animation_data.action
    curves, before = len(curves_of(armature)), shot.read_bytes()
    done = part("rendering.render_ready").make_render_ready(bpy.context)
    assert (done.blend, done.baked) == (shot.with_name("shot_render.blend"), 2)
    assert shot.read_bytes() == before, "the file on the disk"
    assert armature.animation_data.action == action
    assert len(curves_of(armature)) == curves
    assert keys.animation_data.action is None
    assert len(bpy.data.actions) == 1
    assert "lookalike.drivers" not in bpy.data.objects
    armature.location.x = 2.0
    bpy.context.scene.frame_set(4)
    assert armature.pose.bones["neck"].rotation_euler.z == pytest.approx(0.04, abs=1e-6), "drivers drive on"
    assert keys.key_blocks["mouthSmile"].value == pytest.approx(0.6, abs=1e-5), "by their variables"
    bpy.ops.wm.open_mainfile(filepath=str(done.blend))
    armature = next(o for o in bpy.data.objects if o.type == "ARMATURE")
    assert not [c for c in armature.animation_data.drivers if c.data_path.endswith("rotation_euler")]
    assert len(curves_of(armature)) == curves + 1


def curves_of(owner: bpy.types.ID) -> list[bpy.types.FCurve]:
    """F-curves of the action that an ID plays, in its own slot where actions have slots."""
    animation = owner.animation_data
    if not hasattr(animation, "action_slot"):
        return list(animation.action.fcurves)
    return list(animation.action.layers[0].strips[0].channelbag(animation.action_slot).fcurves)


def test_unsaved_file_says_so(avatar, part) -> None:
    error = part("protocol").LookalikeError
    with pytest.raises(error, match="save it first"):
        part("rendering.render_ready").make_render_ready(bpy.context)


def test_missing_file_is_named(shot, part, avatar) -> None:
    (shot.parent / "wall.png").unlink()
    with pytest.raises(part("protocol").LookalikeError, match=r"wall\.png"):
        part("rendering.render_ready").make_render_ready(bpy.context)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda scene, avatar: setattr(scene.render, "engine", "BLENDER_WORKBENCH"), "Workbench cannot render splats"),
        (lambda scene, avatar: setattr(scene, "camera", None), "no camera"),
        (lambda scene, avatar: avatar.head.data.vertices.add(3), "was edited"),
    ],
)
def test_what_would_render_wrong_is_refused_with_the_reason(shot, part, avatar, change, said) -> None:
    change(bpy.context.scene, avatar)
    bpy.context.view_layer.update()
    with pytest.raises(part("protocol").LookalikeError, match=said):
        part("rendering.render_ready").make_render_ready(bpy.context)


def test_modifier_that_only_renders_change_vertices_by_is_refused(shot, part, avatar) -> None:
    modifier = avatar.head.modifiers.new("Smoother", "SUBSURF")
    modifier.show_viewport, modifier.show_render = False, True
    with pytest.raises(part("protocol").LookalikeError, match="Smoother changes the vertices"):
        part("rendering.render_ready").make_render_ready(bpy.context)
    modifier.show_render = False
    part("rendering.render_ready").make_render_ready(bpy.context)


def test_empty_scene_says_so(part, empty_file, tmp_path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "empty.blend"))
    with pytest.raises(part("protocol").LookalikeError, match="shows no avatar"):
        part("rendering.render_ready").make_render_ready(bpy.context)


FARM = """
import sys, bpy
blend, folder, frames = sys.argv[1], sys.argv[2], [int(f) for f in sys.argv[3].split(",")]
bpy.ops.wm.open_mainfile(filepath=blend, use_scripts=False)
assert not hasattr(bpy.types.Object, "lookalike"), "no add-on here"
scene = bpy.context.scene
for frame in frames:
    scene.frame_set(frame)
    scene.render.filepath = f"{folder}/{frame}.png"
    bpy.ops.render.render(write_still=True)
"""


def test_node_without_add_on_renders_the_same_frames_in_any_order(shot, part, avatar, render, tmp_path) -> None:
    scene = bpy.context.scene
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    assert bpy.ops.lookalike.make_render_ready() == {"FINISHED"}
    here = {frame: render(str(frame), frame) for frame in (2, 5)}
    moved = tmp_path / "elsewhere"
    shot.parent.rename(moved)
    command = [sys.executable, "-c", FARM, str(moved / "shot_render.blend"), str(moved), "5,2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for frame, mine in here.items():
        theirs = np.asarray(Image.open(moved / f"{frame}.png"), np.float32) / 255
        theirs[..., :3] *= theirs[..., 3:]
        assert close_up(mine, theirs) > 50
    assert close_up(here[2], here[5]) < 40, "the mouth moved between them"
