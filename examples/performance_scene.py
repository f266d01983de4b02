"""A .blend from an avatar file: rig, levels of detail, an 80-frame performance, camera, light; in any Blender or bpy.

    blender -b --python examples/performance_scene.py -- ada.lookalike ada.blend --extension dist/lookalike-....zip

`--extension` installs the zip first, for a Blender that does not have the add-on yet; without it the installed one is used.
"""

import argparse
import math
import os
import sys
from pathlib import Path

import bpy
from mathutils import Euler, Vector


def installed_api(extension: Path | None):
    """The add-on's API, after installing the zip where one is given."""
    if extension:
        if "bl_pkg" not in bpy.context.preferences.addons:
            bpy.ops.preferences.addon_enable(module="bl_pkg")
        bpy.ops.extensions.package_install_files(filepath=str(extension), repo="user_default", enable_on_install=True)
    try:
        from bl_ext.user_default.lookalike import api
    except ImportError as error:
        raise SystemExit(f"the Lookalike extension is not installed in this Blender ({error}); give --extension ZIP") from error
    return api


def look_at(camera: bpy.types.Object, target: Vector) -> None:
    camera.rotation_euler = (target - camera.location).to_track_quat("-Z", "Y").to_euler()


def stage_scene(avatar: bpy.types.Collection) -> None:
    """Camera at portrait distance, soft key light, grey world; the viewport looks through the camera."""
    scene = bpy.context.scene
    head = next(o for o in avatar.objects if o.type == "MESH" and o.name.endswith(".head"))
    corners = [head.matrix_world @ Vector(corner) for corner in head.bound_box]
    centre = sum(corners, Vector()) / 8
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.data.lens = 70
    camera.data.display_size = 0.05
    camera.location = centre + Vector((0, -1.05, 0.02))
    look_at(camera, centre)
    light = bpy.data.objects.new("Key", bpy.data.lights.new("Key", "AREA"))
    light.data.energy, light.data.size = 20, 0.6
    light.location = centre + Vector((0.7, -0.9, 0.7))
    look_at(light, centre)
    for obj in (camera, light):
        scene.collection.objects.link(obj)
    light.hide_set(True)  # only its drawing in the viewport
    scene.camera = camera
    scene.render.resolution_x, scene.render.resolution_y = 900, 900
    scene.render.fps = 24
    for space in (s for screen in bpy.data.screens for area in screen.areas for s in area.spaces if s.type == "VIEW_3D"):
        space.shading.type = "SOLID"
        space.overlay.show_floor = space.overlay.show_axis_x = space.overlay.show_axis_y = False
        if space.region_3d:
            space.region_3d.view_perspective = "PERSP"
            space.region_3d.view_location = centre
            space.region_3d.view_distance = 0.75
            space.region_3d.view_rotation = Euler((math.pi / 2, 0, 0)).to_quaternion()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("avatar", type=Path)
    parser.add_argument("blend", type=Path)
    parser.add_argument("--extension", type=Path)
    arguments = parser.parse_args(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else None)
    api = installed_api(arguments.extension and arguments.extension.resolve())
    for obj in list(bpy.data.objects):
        bpy.data.objects.remove(obj)
    collection = api.import_avatar(arguments.avatar.resolve())
    first, last = api.key_performance(collection, start=1, frames=80)
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = first, last
    stage_scene(collection)
    bpy.context.scene.frame_set(first)
    partial = arguments.blend.resolve().with_suffix(".part.blend")
    bpy.ops.wm.save_as_mainfile(filepath=str(partial), compress=True)
    os.replace(partial, arguments.blend.resolve())
    print(f"saved {arguments.blend}: {collection.name}, frames {first} to {last}")


if __name__ == "__main__":
    main()
