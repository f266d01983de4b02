"""Final frames look like the viewport: engines, view transforms, cameras, occlusion, motion, shadows."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from mathutils import Vector
from mathutils.bvhtree import BVHTree

from tests.synthetic import portrait_avatar

from .conftest import AREA, EEVEE, FINEST, build_shot, close_up, over_grey


def test_cycles_renders_what_the_viewport_shows(avatar, render, expected) -> None:
    final, viewport = render(), expected(avatar)
    assert viewport[..., 3].mean() > 0.1, "the avatar is in the picture"
    assert close_up(final, viewport) > 26


def test_eevee_renders_what_the_viewport_shows(avatar, render, expected) -> None:
    scene = bpy.context.scene
    scene.render.engine, scene.eevee.taa_render_samples = EEVEE, 32
    assert close_up(render(), expected(avatar)) > 26


@pytest.mark.parametrize("transform", ["AgX", "Filmic"])
def test_view_transform_does_not_change_the_avatar(avatar, part, render, expected, transform) -> None:
    scene = bpy.context.scene
    scene.view_settings.view_transform = transform
    untouched = render("untouched")
    part("rendering.preparation").prepare_scenes()
    fitted, viewport = render("fitted"), expected(avatar)
    assert close_up(fitted, viewport) > 23
    assert close_up(fitted, viewport) > close_up(untouched, viewport) + 2


@pytest.mark.parametrize("transform", ["Standard", "AgX", "Filmic"])
def test_portrait_looks_as_in_the_viewport(part, render, expected, transform) -> None:
    """In the colours of people, which every view transform can show; pure hues, as the other tests have, cost decibels under AgX."""
    avatar = build_shot(part, made=portrait_avatar)
    bpy.context.scene.view_settings.view_transform = transform
    part("rendering.preparation").prepare_scenes()
    assert close_up(render(), expected(avatar)) > 35


def test_exposure_of_the_scene_is_taken_back(avatar, render, expected) -> None:
    bpy.context.scene.view_settings.exposure = 1.5
    assert close_up(render(), expected(avatar)) > 26


@pytest.mark.parametrize("kind", ["orthographic", "shifted", "vertical sensor", "half size"])
def test_every_camera(avatar, render, expected, kind) -> None:
    scene = bpy.context.scene
    camera = scene.camera.data
    if kind == "orthographic":
        camera.type, camera.ortho_scale = "ORTHO", 0.35
    elif kind == "shifted":
        camera.shift_x, camera.shift_y = 0.15, -0.1
    elif kind == "vertical sensor":
        camera.sensor_fit, camera.sensor_height = "VERTICAL", 30
    else:
        scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 240, 192, 50
    bpy.context.view_layer.update()
    assert close_up(render(), expected(avatar)) > 25


def test_panoramic_camera_that_looks_past_the_avatar(avatar, render, expected) -> None:
    """60 degrees off the camera's direction: each splat faces the camera's place, and its size is right there."""
    scene = bpy.context.scene
    camera = scene.camera
    camera.location.z = 0.0
    towards = Vector((0, 0, 0)) - camera.location
    camera.rotation_euler = towards.to_track_quat("-Z", "Y").to_euler()
    camera.data.lens = 45
    bpy.context.view_layer.update()
    straight = expected(avatar, size=(240, 192))
    half = np.tan(camera.data.angle_x / 2)
    camera.rotation_euler.z += np.radians(60)  # to the left: the avatar is on the right
    camera.data.type = "PANO"
    settings = camera.data if hasattr(camera.data, "panorama_type") else camera.data.cycles
    settings.panorama_type = "EQUIRECTANGULAR"
    settings.longitude_min, settings.longitude_max = np.radians([45, 75])
    settings.latitude_min, settings.latitude_max = np.radians([-12, 12])
    final = render()
    height, width = final.shape[:2]
    along = np.radians(45 + 30 * (np.arange(width) + 0.5) / width - 60)[None]
    above = np.radians(12 - 24 * (np.arange(height) + 0.5) / height)[:, None]
    column = (np.tan(along) / half / 2 + 0.5) * 240 + 0 * above
    row = 96 - np.tan(above) / np.cos(along) / half / 2 * 240
    seen = straight[row.astype(int), column.astype(int)]
    assert (seen[..., 3] > 0.9).mean() > 0.2
    assert close_up(final, seen.astype(np.float32)) > 25


@pytest.mark.parametrize("colour", ["MATERIAL", "OBJECT", "VERTEX"])
def test_workbench_leaves_the_avatar_out_and_says_so(avatar, render, capfd, colour) -> None:
    """Never a silhouette: it knows no opacity within a face."""
    scene = bpy.context.scene
    scene.render.engine, scene.display.shading.color_type = "BLENDER_WORKBENCH", colour
    assert render()[..., 3].max() == 0
    assert "Workbench cannot render splats and leaves avatars out" in capfd.readouterr().out


def test_size_of_a_pixel_is_the_cameras(avatar, part) -> None:
    scene, get = bpy.context.scene, part("avatar.binding_nodes").get_input
    obj = avatar.splats[FINEST]

    def pixel() -> float:
        bpy.context.view_layer.update()
        evaluated = obj.evaluated_get(bpy.context.evaluated_depsgraph_get())
        return get(evaluated.modifiers[part("rendering.modifier").MODIFIER_NAME], "Pixel")

    def from_projection() -> float:
        size = scene.render.resolution_x, scene.render.resolution_y
        return 2 / scene.camera.calc_matrix_camera(bpy.context.evaluated_depsgraph_get(), x=size[0], y=size[1])[0][0] / size[0]

    assert pixel() == pytest.approx(from_projection(), rel=1e-4)
    scene.render.resolution_x, scene.render.resolution_y = 100, 300
    assert pixel() == pytest.approx(from_projection(), rel=1e-4)
    scene.camera.data.sensor_fit = "VERTICAL"
    assert pixel() == pytest.approx(from_projection(), rel=1e-4)
    scene.camera.data.lens = 85
    assert pixel() == pytest.approx(from_projection(), rel=1e-4)


def test_drivers_need_no_python(avatar) -> None:
    """A farm that forbids scripts in files evaluates them all the same."""
    drivers = [curve.driver for obj in avatar.splats.values() for curve in obj.animation_data.drivers]
    assert drivers
    assert all(driver.is_valid for driver in drivers)
    assert all(driver.is_simple_expression for driver in drivers if driver.type == "SCRIPTED")


def test_viewport_pays_nothing(avatar, part) -> None:
    """The quads exist in final frames only: what the viewport evaluates are points."""
    obj = avatar.splats[FINEST]
    evaluated = obj.evaluated_get(bpy.context.evaluated_depsgraph_get())
    assert len(evaluated.data.polygons) == 0
    assert len(evaluated.data.vertices) == len(obj.data.vertices)


def cube(location: tuple[float, float, float], size: float) -> bpy.types.Object:
    bpy.ops.mesh.primitive_cube_add(size=size, location=location)
    made = bpy.context.object
    material = bpy.data.materials.new("grey")
    made.data.materials.append(material)
    return made


def test_meshes_hide_the_avatar_and_are_hidden_by_it(avatar, render) -> None:
    world = bpy.data.worlds.new("white")
    world.color = (1, 1, 1)
    bpy.context.scene.world = world
    alone = render("alone")
    before = cube((0.12, -0.2, 0.05), 0.05)
    hidden = render("before")
    bpy.data.objects.remove(before)
    cube((-0.2, 0.38, -0.08), 0.3)
    behind = render("behind")
    solid = alone[..., 3] > 0.97
    covered = solid & (np.abs(over_grey(hidden) - over_grey(alone)).max(-1) > 0.15)
    assert 0.02 * solid.sum() < covered.sum() < 0.6 * solid.sum(), "the near cube covers a part of the face"
    through = solid & (np.abs(over_grey(behind) - over_grey(alone)).max(-1) > 0.15)
    assert through.sum() < 0.02 * solid.sum(), "the far cube is hidden by it"
    assert (behind[..., 3] > alone[..., 3] + 0.9).sum() > 0.0156 * AREA, "and seen beside it"


def test_edges_are_anti_aliased(avatar, render) -> None:
    cube((0.12, -0.2, 0.05), 0.05)
    alpha = render()[..., 3]
    assert ((alpha > 0.1) & (alpha < 0.9)).sum() > 0.00156 * AREA


def test_avatar_throws_a_shadow(avatar, part, render) -> None:
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_plane_add(size=4, location=(0, 0.3, 0), rotation=(1.5708, 0, 0))
    bpy.context.object.data.materials.append(bpy.data.materials.new("wall"))
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.data.energy, sun.rotation_euler = 3.0, (0.9, 0.3, 0.6)
    scene.collection.objects.link(sun)
    caster = part("rendering.shadow").caster_of(avatar.collection)
    shadow = render("shadow")
    caster.hide_render = True
    none = render("none")
    darker = (over_grey(none) - over_grey(shadow)).max(-1) > 0.2
    assert darker.sum() > 0.00625 * AREA
    caster.hide_render = False
    bpy.data.objects["Plane"].is_shadow_catcher = True
    caught = render("caught")
    shaded = caught[..., 3][darker & (shadow[..., 3] > 0.99)]
    assert np.median(shaded) > 0.2, "caught for compositing, too"
    assert np.median(caught[..., 3][(none[..., 3] > 0.99) & ~darker]) < 0.9
    bpy.data.objects["Plane"].is_shadow_catcher = False
    avatar.collection.hide_render = True
    bare = render("bare")
    assert close_up(bare, none) < 30, "the caster itself is never seen, the avatar is"


@pytest.mark.parametrize("thickness", [1.0, 0.06])
def test_what_casts_the_shadow_lies_under_the_skin(avatar, part, thickness) -> None:
    """Else relit splats lie in it: of a part as thin as an ear, or a cheek over the mouth's inside, one side came out at the other."""
    caster = part("rendering.shadow").caster_of(avatar.collection)
    caster.hide_viewport = False
    for vertex in avatar.head.data.shape_keys.key_blocks["Basis"].data if avatar.head.data.shape_keys else avatar.head.data.vertices:
        vertex.co.y *= thickness
    avatar.head.data.update()
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    skin = BVHTree.FromObject(avatar.head, depsgraph)
    mesh = caster.evaluated_get(depsgraph).data
    shoulders = len(caster.data.vertices) * 8  # a box each
    surface = [vertex.co for vertex in mesh.vertices][: len(mesh.vertices) - shoulders]
    distances = np.array([skin.find_nearest(co)[3] for co in surface])
    whole = len(avatar.head.data.vertices)
    assert len(surface) == whole if thickness == 1 else 0 < len(surface) < whole
    assert distances.min() > 0.0034


def test_shoulders_and_hair_cast_shadows_and_follow_the_rig(avatar, part) -> None:
    caster = part("rendering.shadow").caster_of(avatar.collection)
    caster.hide_viewport = False

    def corners() -> np.ndarray:
        evaluated = caster.evaluated_get(bpy.context.evaluated_depsgraph_get())
        return np.array([evaluated.matrix_world @ v.co for v in evaluated.data.vertices])

    still = corners()
    beside = np.abs(still[:, 0]) > 0.1  # the rig ends before
    assert beside.sum() > 8 * 50
    assert still[beside, 2].max() < -0.1
    avatar.armature.location.x = 0.5
    bpy.context.view_layer.update()
    np.testing.assert_allclose(corners(), still + np.float64([0.5, 0, 0]), atol=1e-4)


def test_motion_blur_follows_the_head(avatar, render) -> None:
    scene = bpy.context.scene
    for frame, place in ((1, -0.05), (3, 0.05)):
        avatar.armature.location.x = place
        avatar.armature.keyframe_insert("location", index=0, frame=frame)
    sharp = render("sharp", 2)
    scene.render.use_motion_blur, scene.render.motion_blur_shutter = True, 1.0
    blurred = render("blurred", 2)
    partial = lambda picture: ((picture[..., 3] > 0.05) & (picture[..., 3] < 0.95)).sum()
    assert partial(blurred) > 2 * partial(sharp)
    columns = lambda picture: (picture[..., 3] * np.arange(picture.shape[1])).sum() / picture[..., 3].sum()
    assert abs(columns(blurred) - columns(sharp)) < 2.0, "about the frame's own place"


def test_motion_blur_follows_the_jaw_too(avatar, render) -> None:
    """Deformation, not only movement of the object."""
    jaw = avatar.armature.pose.bones["jaw"]
    for frame, angle in ((1, 0.0), (3, 2.0)):
        jaw.rotation_euler.x = angle
        jaw.keyframe_insert("rotation_euler", index=0, frame=frame)
    sharp = render("sharp", 2)
    bpy.context.scene.render.use_motion_blur = True
    bpy.context.scene.render.motion_blur_shutter = 1.0
    blurred = render("blurred", 2)
    for obj in avatar.splats.values():
        obj.cycles.use_deform_motion = False
    assert close_up(blurred, sharp) < close_up(render("stiff", 2), sharp) - 3


def test_frames_do_not_depend_on_their_order(avatar, render) -> None:
    key = avatar.head.data.shape_keys.key_blocks["mouthSmile"]
    for frame, value in ((1, 0.0), (5, 1.0)):
        key.value = value
        key.keyframe_insert("value", frame=frame)
    first = render("a", 3)
    render("b", 5)
    render("c", 1)
    assert np.array_equal(render("d", 3), first)


def test_camera_of_a_marker_is_the_one_that_splats_face(avatar, render, expected) -> None:
    scene = bpy.context.scene
    other = bpy.data.objects.new("other", scene.camera.data.copy())
    other.matrix_world = scene.camera.matrix_world.copy()
    other.location.x = -0.4
    other.rotation_euler.z *= -1
    scene.collection.objects.link(other)
    for frame, camera in ((1, scene.camera), (10, other)):
        scene.timeline_markers.new(camera.name, frame=frame).camera = camera
    final = render("other", 10)
    assert scene.camera == other
    assert close_up(final, expected(avatar)) > 25
