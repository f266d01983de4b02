"""What an avatar looks like in the 3D view: shading modes, occlusion, cameras, several views, visibility."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bpy
from avatar_scene import empty_scene, hide_rig, import_avatar, look, part, settle, uploads, view_matrices
from driving import Steps, findings, region, region_box, save_array, screenshot, screenshot_when_still, space, start, view_area, window


def steps() -> Steps:
    empty_scene()
    avatar = import_avatar()
    avatar.lookalike.lod = "2"
    hide_rig(avatar)
    bpy.ops.object.select_all(action="DESELECT")
    look()
    yield from settle()
    findings["box"] = region_box()
    findings["matrices"] = view_matrices()
    screenshot("solid")
    avatar.hide_viewport = True
    yield from settle(0.3)
    screenshot("background")
    avatar.hide_viewport = False
    yield from settle(0.3)
    keep_offscreen_picture()
    yield from rig_lines()
    yield from shading_modes()
    yield from occlusion()
    yield from projections()
    yield from visibility(avatar)
    yield from several_views()
    findings["uploads"] = uploads()


def keep_offscreen_picture() -> None:
    """The same view drawn by the same shaders outside the window, for the reference; and the bare background."""
    from mathutils import Matrix

    here = findings["matrices"]
    depsgraph = bpy.context.evaluated_depsgraph_get()
    picture = part("viewport.picture").draw_picture(depsgraph, Matrix(here["view"]), Matrix(here["projection"]), tuple(here["size"]))
    save_array("offscreen", picture)


def rig_lines() -> Steps:
    """With bones and bounds shown, as the add-on leaves them."""
    space().overlay.show_bones = space().overlay.show_extras = True
    bpy.ops.object.select_all(action="DESELECT")
    yield from settle(0.3)
    screenshot("solid_with_rig")
    space().overlay.show_bones = space().overlay.show_extras = False


def shading_modes() -> Steps:
    shading, scene = space().shading, bpy.context.scene
    for kind in ("WIREFRAME", "MATERIAL", "RENDERED"):
        shading.type = kind
        # EEVEE compiles its shaders first, half a minute on software drivers.
        yield from screenshot_when_still(f"shading_{kind.lower()}")
    scene.render.engine = "CYCLES"
    scene.cycles.samples = scene.cycles.preview_samples = 1
    yield from screenshot_when_still("shading_cycles")
    shading.type = "SOLID"
    scene.view_settings.view_transform = "Standard"
    yield from settle(0.3)
    screenshot("solid_standard")
    scene.view_settings.view_transform = "AgX"
    shading.show_xray = True
    yield from settle(0.3)
    screenshot("solid_xray")
    shading.show_xray = False
    space().overlay.show_overlays = False
    yield from settle(0.3)
    screenshot("no_overlays")
    space().overlay.show_overlays = True


def occlusion() -> Steps:
    """One cube in front of the right half of the view, one behind the head, one that the head sits in."""
    look(turn=0.0, nod=1.5707963, distance=0.6, centre=(0, 0, 0))
    yield from settle(0.3)
    screenshot("front")
    for name, location, size in (("before", (0.06, -0.2, 0.0), 0.1), ("behind", (0.0, 0.3, 0.0), 0.3), ("around", (0, 0.1, -0.06), 0.2)):
        bpy.ops.mesh.primitive_cube_add(size=size, location=location)
        cube = bpy.context.object
        cube.select_set(False)
        yield from settle(0.3)
        screenshot(f"cube_{name}")
        bpy.data.objects.remove(cube)
    look()


def projections() -> Steps:
    region_3d = space().region_3d
    region_3d.view_perspective = "ORTHO"
    yield from settle()
    screenshot("orthographic")
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    camera.location, camera.rotation_euler = (0.05, -0.6, -0.03), (1.5707963, 0, 0)
    bpy.context.scene.render.resolution_x = bpy.context.scene.render.resolution_y = 800
    region_3d.view_perspective = "CAMERA"
    yield from settle()
    screenshot("camera")
    # Framed tightly: the passepartout crosses the head.
    camera.data.lens = 150
    region_3d.view_camera_zoom = -10
    yield from settle()
    screenshot("camera_passepartout")
    camera.data.passepartout_alpha = 0.0
    camera.data.shift_x, region_3d.view_camera_zoom = 0.2, 20
    yield from settle()
    screenshot("camera_shifted")
    bpy.data.objects.remove(camera)
    look()


def visibility(avatar: bpy.types.Collection) -> Steps:
    layer = bpy.context.view_layer.layer_collection.children[avatar.name]
    cube = bpy.data.objects.new("other", bpy.data.meshes.new("other"))
    bpy.context.scene.collection.objects.link(cube)
    layer.hide_viewport = True
    yield from settle(0.3)
    screenshot("hidden_collection")
    layer.hide_viewport = False
    yield from settle(0.3)
    screenshot("shown_again")
    bpy.ops.object.select_all(action="DESELECT")
    cube.select_set(True)
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        bpy.ops.view3d.localview(frame_selected=False)
        yield from settle(0.3)
        screenshot("local_view_of_another")
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        bpy.ops.view3d.localview(frame_selected=False)
    avatar_armature = next(o for o in avatar.objects if o.type == "ARMATURE")
    avatar_armature.location.x, avatar_armature.scale = 0.15, (0.5, 0.5, 0.5)
    yield from settle(0.3)
    screenshot("moved_and_scaled")
    avatar_armature.location.x, avatar_armature.scale = 0.0, (1, 1, 1)
    bpy.data.objects.remove(cube)


def several_views() -> Steps:
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        bpy.ops.screen.region_quadview()
    yield from settle()
    screenshot("quad_view")
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        bpy.ops.screen.region_quadview()
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        bpy.ops.screen.area_split(direction="VERTICAL", factor=0.5)
    yield 0.5
    look(turn=2.4)
    yield from settle()
    screenshot("two_views")
    bpy.ops.wm.window_new()
    yield from settle()
    screenshot("two_windows")
    findings["windows"] = len(bpy.context.window_manager.windows)


start(steps)
