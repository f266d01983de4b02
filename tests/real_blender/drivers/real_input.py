"""What only real input can show: files dropped from another program (XDND), and Ctrl F12 pressed on the keyboard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bpy
from avatar_scene import empty_scene, look_at, settle
from driving import HERE, OUT, Steps, findings, region, screenshot, space, start, window

SHARE = HERE.parent
PATIENCE = 40.0
F12 = 96
"""Code of the key on every X keyboard of evdev."""


def steps() -> Steps:
    empty_scene()
    yield from settle()
    # Blender handles pictures and .ply files itself too, and asks: letters choose, as the menu underlines them.
    yield from dropped("photo", SHARE / "photo.png")
    yield from typed("p")
    findings["photos"] = [Path(photo.path).name for photo in bpy.context.window_manager.lookalike.photos]
    findings["objects_after_photo"] = [o.name for o in bpy.data.objects]
    yield from dropped("avatar", SHARE / "portrait.lookalike")
    findings["avatars"] = [c.name for c in bpy.data.collections if c.lookalike.is_avatar]
    yield from dropped("sequence", *(SHARE / f"take_{number:04d}.ply" for number in (1, 2)))
    yield from typed("g")
    found, waited = [], 0.0
    while not found and waited < PATIENCE:  # a user's import reads on while Blender goes on drawing
        yield 0.2
        waited += 0.2
        found = [o.name for o in bpy.data.objects if "Lookalike Sequence" in o.modifiers]
    screenshot("sequence")
    findings["sequence"] = found
    for name in findings["sequence"]:
        bpy.data.objects.remove(bpy.data.objects[name])
    yield from animation()
    yield from chinese()


def dropped(name: str, *files: Path) -> Steps:
    """Let another program drop files onto the middle of the view, and wait until Blender has taken them."""
    r = region()
    x, y = r.x + r.width // 2, window().height - r.y - r.height // 2
    subprocess.run(["xdotool", "mousemove", str(x), str(y)], check=True)
    yield 0.3
    command = ["python3", str(HERE / "xdnd_source.py"), str(x), str(y), *map(str, files)]
    source = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while source.poll() is None:
        yield 0.1
    findings[f"drop_{name}"] = source.stdout.read().strip() if source.stdout else ""
    yield 0.5
    screenshot(f"dropped_{name}")


def typed(key: str) -> Steps:
    subprocess.run(["xdotool", "key", key], check=True)
    yield 0.5
    screenshot(f"typed_{key}")


def animation() -> Steps:
    """Ctrl F12, with the pointer over the view."""
    avatar = next(c for c in bpy.data.collections if c.lookalike.is_avatar)
    armature = next(o for o in avatar.objects if o.type == "ARMATURE")
    head = next(o for o in avatar.objects if o.lookalike.role == "HEAD")
    look_at(head, 0.2, 0.6)
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.clip_start, camera.location, camera.rotation_euler = 0.01, (0.0, -0.55, 0.0), (1.5708, 0, 0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    for frame, x in ((1, -0.06), (3, 0.06)):
        armature.location.x = x
        armature.keyframe_insert("location", index=0, frame=frame)
    avatar.lookalike.render_lod = "0"
    scene.frame_start, scene.frame_end = 1, 3
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 4, False
    scene.render.resolution_x, scene.render.resolution_y = 96, 72
    scene.render.film_transparent = True
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    scene.render.filepath = f"{OUT}/anim/"
    yield from settle()
    screenshot("before_keys")
    # By its code: for the name newer xdotools press Alt too, as F12 switches the console then. As slowly as a hand does.
    for action in ("keydown ctrl", f"keydown {F12}", f"keyup {F12}", "keyup ctrl"):
        subprocess.run(["xdotool", *action.split()], check=True)
        yield 0.3
    waited = 0.0
    while waited < PATIENCE and (bpy.app.is_job_running("RENDER") or not (OUT / "anim" / "0003.png").exists()):
        yield 0.2
        waited += 0.2
    yield 1.0
    screenshot("after_keys")
    findings["windows"] = len(bpy.context.window_manager.windows)


def chinese() -> Steps:
    """The sidebar in Simplified Chinese, where this Blender has it."""
    view = bpy.context.preferences.view
    try:
        view.language = "zh_HANS"
    except TypeError:  # installed without its languages
        return
    view.use_translate_interface = view.use_translate_tooltips = True
    space().show_region_ui = True
    yield 0.5
    region("UI").active_panel_category = "Lookalike"
    yield from settle(0.5)
    screenshot("chinese")
    findings["chinese"] = {text: bpy.app.translations.pgettext_iface(text) for text in ("Make Render-Ready", "Import Motion")}


start(steps)
