"""Acts the tutorials in a real Blender window and takes their pictures. Run by make_pictures.py, inside Blender."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bpy
from avatar_scene import empty_scene, hide_rig, import_avatar, look_at, part, settle
from driving import HERE, OUT, Steps, drag, event, findings, move, redraw, region, region_box, screenshot, space, start, view_area, window

SHARE = HERE.parent
OPEN = ("LOOKALIKE_PT_presets", "LOOKALIKE_PT_edit", "LOOKALIKE_PT_render")
"""Panels that are closed at first; a picture cannot click."""


def operator(name: str, **options: object) -> None:
    """Press a button, with its undo step."""
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        getattr(bpy.ops.lookalike, name)("EXEC_DEFAULT", True, **options)


def picture(name: str) -> Steps:
    yield from settle(0.4)
    screenshot(name)
    left, top, right, bottom = region_box()
    for kind in ("UI", "HEADER", "TOOL_HEADER"):
        box = region_box(kind)
        left, top, right, bottom = min(left, box[0]), min(top, box[1]), max(right, box[2]), max(bottom, box[3])
    findings.setdefault("boxes", {})[name] = [left, top, right, bottom]


def scroll(steps: int) -> Steps:
    """The sidebar, down by so many turns of the wheel, or up."""
    ui = region("UI")
    x, y = ui.x + ui.width // 2, ui.y + ui.height // 2
    yield from move(x, y)
    for _ in range(abs(steps)):
        event("WHEELDOWNMOUSE" if steps > 0 else "WHEELUPMOUSE", "PRESS", x, y)
        yield 0.04


def show_sidebar() -> Steps:
    space().show_region_ui = True
    yield 0.5
    region("UI").active_panel_category = "Lookalike"
    redraw()
    yield from settle(0.4)


def open_panels() -> None:
    for name in OPEN:
        panel = getattr(bpy.types, name)
        panel.bl_options = set()
        bpy.utils.unregister_class(panel)
        bpy.utils.register_class(panel)


def artist() -> Steps:
    session = bpy.context.window_manager.lookalike
    operator("add_photos", directory=f"{SHARE}/", files=[{"name": "portrait.png"}])
    session.avatar_name, session.consent = "Ada", "NASA portrait, public domain"
    yield from picture("artist_photo")
    operator("clear_photos")
    session.avatar_name = session.consent = ""
    avatar = import_avatar("portrait")
    head = next(o for o in avatar.objects if o.lookalike.role == "HEAD")
    hide_rig(avatar)
    look_at(head, 0.35, 0.55)
    yield from picture("artist_avatar")
    operator("hide_region", region="SHOULDERS")
    yield from scroll(60)
    yield from picture("artist_trim")
    operator("show_hidden")
    yield from scroll(-80)


def animator() -> Steps:
    avatar = next(c for c in bpy.data.collections if c.lookalike.is_avatar)
    head = next(o for o in avatar.objects if o.lookalike.role == "HEAD")
    look_at(head, 0.15, 0.5)
    space().overlay.show_bones = True
    operator("apply_preset", preset="emotion_joy")
    bpy.context.window_manager.lookalike.symmetric = True
    yield from scroll(14)
    yield from picture("animator_board")
    for name in ("joy", "anger", "surprise"):
        operator("apply_preset", preset=f"emotion_{name}")
        operator("save_preset", asset_name=name.capitalize())
    yield from scroll(22)
    yield from picture("animator_presets")
    operator("reset_pose")
    operator("import_motion", filepath=str(SHARE / "take.json"), start=1)
    bpy.context.scene.frame_end = 240
    timeline = next(a for a in window().screen.areas if a.type == "DOPESHEET_EDITOR")
    timeline.ui_type = "DOPESHEET"
    edge = timeline.y + timeline.height
    yield from move(timeline.x + 300, edge)
    yield from drag(timeline.x + 300, edge, 0, 170, "LEFTMOUSE")
    yield from settle(0.4)
    with bpy.context.temp_override(window=window(), area=timeline, region=region("WINDOW", timeline)):
        bpy.ops.action.view_all()
    bpy.context.scene.frame_set(62)
    bpy.context.window_manager.lookalike.face_layer = "arkit"  # where the capture lies
    yield from scroll(-80)
    yield from scroll(14)
    yield from picture("animator_motion")
    bpy.context.window_manager.lookalike.face_layer = "face"
    findings["keys"] = part("avatar").armature_of(avatar).animation_data.action.name


def lighter() -> Steps:
    avatar = next(c for c in bpy.data.collections if c.lookalike.is_avatar)
    head = next(o for o in avatar.objects if o.lookalike.role == "HEAD")
    armature = part("avatar").armature_of(avatar)
    armature.animation_data_clear()
    operator("reset_pose")
    hide_rig(avatar)
    light = bpy.data.objects.new("Key", bpy.data.lights.new("Key", "AREA"))
    light.data.energy, light.data.size, light.data.color = 30, 0.4, (1.0, 0.75, 0.5)
    light.location = head.matrix_world.translation.copy()
    light.location.x, light.location.y, light.location.z = 0.8, -0.6, 0.3
    constraint = light.constraints.new("TRACK_TO")
    constraint.target = head
    bpy.context.scene.collection.objects.link(light)
    look_at(head, 0.25, 0.55)
    yield from settle(0.3)  # the view's matrix is of its last redraw
    bpy.context.scene.camera.matrix_world = space().region_3d.view_matrix.inverted()
    look = part("rendering.look")
    armature[look.EXPOSURE], armature[look.RELIGHT] = -0.6, 0.8
    armature.update_tag()
    yield from scroll(80)
    yield from picture("lighter_look")
    yield from final_frame(head)


def final_frame(head: bpy.types.Object) -> Steps:
    """F12 of the same view, with a wall that takes the shadow."""
    middle = head.matrix_world.translation
    wall = bpy.data.meshes.new("Wall")
    wall.from_pydata([(-2, 0, -2), (2, 0, -2), (2, 0, 2), (-2, 0, 2)], [], [(0, 1, 2, 3)])
    backdrop = bpy.data.objects.new("Wall", wall)
    backdrop.location = (middle.x, middle.y + 0.45, middle.z)
    bpy.context.scene.collection.objects.link(backdrop)
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 24, False
    scene.render.resolution_x, scene.render.resolution_y = 400, 300
    scene.camera.data.lens = 50
    scene.render.image_settings.file_format, scene.render.filepath = "PNG", str(OUT / "lighter_frame.png")
    yield from settle(0.4)
    with bpy.context.temp_override(window=window()):
        bpy.ops.render.render("INVOKE_DEFAULT", write_still=True)
    while bpy.app.is_job_running("RENDER") or not (OUT / "lighter_frame.png").exists():
        yield 0.5
    yield 0.5
    for extra in list(bpy.context.window_manager.windows)[1:]:
        with bpy.context.temp_override(window=extra):
            bpy.ops.wm.window_close()
    bpy.data.objects.remove(backdrop)
    yield from settle(0.4)


def appearance() -> Steps:
    """Blender's light theme, then a display of twice the resolution."""
    folder = Path(bpy.utils.system_resource("SCRIPTS")) / "presets" / "interface_theme"
    light = next(path for path in folder.iterdir() if path.name.lower() == "blender_light.xml")
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        bpy.ops.script.execute_preset(filepath=str(light), menu_idname="USERPREF_MT_interface_theme_presets")
    yield from scroll(-120)
    view = region()
    yield from move(view.x + 80, view.y + 80)  # no tooltip in the pictures
    yield from picture("theme_light")
    bpy.context.preferences.view.ui_scale = 2.0
    redraw()
    yield 1.0
    yield from picture("theme_large")


def run() -> Steps:
    open_panels()
    empty_scene()
    for obj in list(bpy.data.objects):
        bpy.data.objects.remove(obj)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.data.lens, camera.data.clip_start, camera.location = 45, 0.01, (0.0, -3.0, 0.0)
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    yield from show_sidebar()
    yield from artist()
    yield from animator()
    yield from lighter()
    yield from appearance()
    (OUT / "done.json").write_text(json.dumps(findings))


start(run)
