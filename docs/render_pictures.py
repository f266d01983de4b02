"""Render the final frames that docs/rendering.md shows: one picture an engine of the Blender that runs this.

    blender -b --python docs/render_pictures.py -- demo/astronaut.lookalike --extension dist/lookalike-....zip
    python docs/render_pictures.py -- demo/astronaut.lookalike --extension dist/lookalike-....zip     (with the bpy module)

`--extension` installs the zip first; without it the installed add-on is used. Writes docs/images/render_<engine>_<version>.jpg.
"""

import argparse
import math
import sys
from pathlib import Path

import bpy
from mathutils import Vector

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "examples"))

from performance_scene import installed_api, look_at  # noqa: E402

EEVEE = "BLENDER_EEVEE" if bpy.app.version >= (5, 0) else "BLENDER_EEVEE_NEXT"
ENGINES = {"cycles": "CYCLES", "eevee": EEVEE}


def painted(name: str, colour: tuple[float, float, float]) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (*colour, 1.0)
    return material


def build_set(scene: bpy.types.Scene) -> None:
    """A wall that takes the avatar's shadow, a ball before its shoulder, a sun, a portrait camera."""
    bpy.ops.mesh.primitive_plane_add(size=6, location=(0, 0.45, 0), rotation=(math.pi / 2, 0, 0))
    bpy.context.object.data.materials.append(painted("wall", (0.25, 0.42, 0.5)))
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.06, location=(0.16, -0.2, -0.16), segments=48, ring_count=24)
    bpy.ops.object.shade_smooth()
    bpy.context.object.data.materials.append(painted("ball", (0.7, 0.12, 0.08)))
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.data.energy, sun.data.angle, sun.rotation_euler = 3.5, 0.05, (1.25, 0, -0.55)
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.lens, camera.location = 70, (0.22, -1.15, 0.04)
    look_at(camera, Vector((-0.03, 0, -0.02)))
    for obj in (sun, camera):
        scene.collection.objects.link(obj)
    scene.camera = camera
    scene.world = bpy.data.worlds.new("grey")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("avatar", type=Path)
    parser.add_argument("--extension", type=Path)
    parser.add_argument("--size", type=int, default=360)
    parser.add_argument("--engine", choices=list(ENGINES), action="append", help="only these")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "images")
    arguments = parser.parse_args(sys.argv[sys.argv.index("--") + 1 :])
    bpy.ops.wm.read_factory_settings(use_empty=True)
    api = installed_api(arguments.extension)
    scene = bpy.context.scene
    avatar = api.import_avatar(arguments.avatar)
    avatar.lookalike.render_lod = "1"
    build_set(scene)
    scene.render.resolution_x = scene.render.resolution_y = arguments.size
    scene.cycles.samples, scene.eevee.taa_render_samples = 16, 16
    settings = scene.render.image_settings
    settings.file_format, settings.quality = "JPEG", 88
    version = ".".join(str(n) for n in bpy.app.version[:2])
    for engine in arguments.engine or ENGINES:
        scene.render.engine = ENGINES[engine]
        scene.render.filepath = str(arguments.output / f"render_{engine}_{version}.jpg")
        bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    main()
