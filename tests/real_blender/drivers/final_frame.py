"""F12 in a window: the frame that is rendered beside the viewport's picture through the same camera."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bpy
import numpy as np
from avatar_scene import empty_scene, hide_rig, import_avatar, part, settle
from driving import OUT, Steps, findings, save_array, screenshot, start, window

SIZE = (200, 150)


def steps() -> Steps:
    empty_scene()
    avatar = import_avatar("portrait")
    avatar.lookalike.lod = "2"
    hide_rig(avatar)
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera, camera.data.clip_start = camera, 0.01
    camera.location, camera.rotation_euler = (0.3, -0.45, 0.06), (1.42, 0, 0.59)
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    scene.render.film_transparent = True
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 16, False
    scene.view_settings.view_transform = "AgX"
    yield from settle()
    # The view transform was just set: its subscriber runs with the main loop.
    findings["baked"] = part("rendering.quads").LINEAR in avatar_splats(avatar).data.attributes
    keep_viewport_picture(camera)
    scene.render.filepath = str(OUT / "final.png")
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    with bpy.context.temp_override(window=window()):
        bpy.ops.render.render("INVOKE_DEFAULT", write_still=True)
    for _ in range(600):
        yield 0.2
        if not bpy.app.is_job_running("RENDER") and (OUT / "final.png").exists():
            break
    yield 0.5
    screenshot("after_render")
    findings["engine"] = scene.render.engine
    findings["bounces"] = scene.cycles.transparent_max_bounces
    keep_shot_for_a_farm(avatar)


def avatar_splats(avatar: bpy.types.Collection) -> bpy.types.Object:
    return next(o for o in avatar.objects if o.lookalike.role == "SPLATS" and o.lookalike.level == 2)


def keep_shot_for_a_farm(avatar: bpy.types.Collection) -> None:
    """A small shot in a folder of its own: the head goes from left to right in five frames."""
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, 5
    scene.render.resolution_x, scene.render.resolution_y, scene.cycles.samples = 100, 75, 4
    avatar.lookalike.render_lod = "0"
    armature = next(o for o in avatar.objects if o.type == "ARMATURE")
    for frame, x in ((1, -0.05), (5, 0.05)):
        armature.location.x = x
        armature.keyframe_insert("location", index=0, frame=frame)
    (OUT / "shot").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(OUT / "shot" / "shot.blend"))
    findings["ready"] = list(bpy.ops.lookalike.make_render_ready())


def keep_viewport_picture(camera: bpy.types.Object) -> None:
    depsgraph = bpy.context.evaluated_depsgraph_get()
    projection = camera.calc_matrix_camera(depsgraph, x=SIZE[0], y=SIZE[1])
    picture = part("viewport.picture").draw_picture(depsgraph, camera.matrix_world.inverted(), projection, SIZE)
    save_array("viewport", np.asarray(picture))


start(steps)
