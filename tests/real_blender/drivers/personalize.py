"""The Personalize panel with the mouse: its button, the avatar changing, the curve, cancel, the adapter's switch; widths and themes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bpy
import numpy as np
from avatar_scene import PACKAGE, empty_scene, hide_rig, import_avatar, look_at, part, settle, uploads
from driving import (
    ARGUMENTS,
    HERE,
    Steps,
    drag,
    findings,
    move,
    press_button,
    redraw,
    region,
    region_box,
    screenshot,
    space,
    start,
    view_area,
    window,
)

AVATAR, PHOTO = ARGUMENTS[1:3]
STEPS = int(ARGUMENTS[3]) if len(ARGUMENTS) > 3 else 60
PATIENCE = 120.0


def the_avatar() -> bpy.types.Collection:
    return next(c for c in bpy.data.collections if c.lookalike.is_avatar)


def colour() -> float:
    """Mean of the colours of level 1, as stored."""
    obj = part("avatar").splats_of(the_avatar())[1]
    return float(np.mean(part("avatar.host").read_splats(obj.data).radiance[:, :3]))


def keys() -> list[str]:
    """What an animator has made: action and curves, and what the splats follow."""
    armature = part("avatar").armature_of(the_avatar())
    bound = [part("avatar.binding_nodes").bound_rig(obj).name for obj in part("avatar").splats_of(the_avatar()).values()]
    return [armature.animation_data.action.name, *bound]


def until(holds, what: str, pause: float = 0.1) -> Steps:
    began = time.monotonic()
    while not holds():
        jobs = bpy.context.window_manager.lookalike.jobs
        if time.monotonic() - began > PATIENCE or (jobs and jobs[0].state == "FAILED"):
            screenshot("failed")
            raise TimeoutError(f"{what}: {[(job.state, job.error) for job in jobs]}")
        yield pause


def steps() -> Steps:
    endpoint = json.loads((HERE.parent / "endpoint.json").read_text())
    preferences = bpy.context.preferences.addons[PACKAGE].preferences
    preferences.location, preferences.address, preferences.server_key = "REMOTE", endpoint["address"], endpoint["key"]
    empty_scene()
    import_avatar(AVATAR)
    part("api").key_performance(the_avatar())
    bpy.context.scene.frame_set(20)
    hide_rig(the_avatar())
    look_at(part("avatar").head_of(the_avatar()))
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        bpy.ops.ed.undo_push(message="before")
    others = yield from only_this_panel()
    with bpy.context.temp_override(window=window(), area=view_area(), region=region("UI")):
        # What Accept in the file browser calls.
        bpy.ops.lookalike.add_person_photos("INVOKE_DEFAULT", directory=str(HERE.parent), files=[{"name": PHOTO}])
    bpy.context.window_manager.lookalike.personalize_steps = STEPS
    yield from settle()
    screenshot("panel")
    findings["before"], findings["keys"] = colour(), keys()
    yield from press_button("lookalike.personalize", start=0.45)
    yield from follow()
    yield from adapters()
    yield from appearance()
    findings["uploads"] = uploads()
    for cls in others:
        bpy.utils.register_class(cls)


def only_this_panel() -> Generator[float, None, list[type]]:
    """Nobody can see all panels at once: the others are taken out, and returned, and this one is opened."""
    panel = bpy.types.LOOKALIKE_PT_personalize
    ours = [cls for cls in part("registration").CLASSES if "_PT_" in cls.__name__ and getattr(cls, "bl_category", "") == "Lookalike"]
    others = [cls for cls in ours if cls.__name__ not in {"LOOKALIKE_PT_avatars", panel.__name__}]
    for cls in (*reversed(others), panel):
        bpy.utils.unregister_class(cls)
    panel.bl_options = set()
    bpy.utils.register_class(panel)
    space().show_region_ui = True
    yield 0.5
    region("UI").active_panel_category = "Lookalike"
    redraw()
    yield 0.7
    return others


def follow() -> Steps:
    """From the click to the adapter: the avatar changes before the end, the curve comes, cancel keeps the best so far."""
    began = time.monotonic()
    state, personalizing = bpy.context.window_manager.lookalike, part("client.personalizing")
    yield from until(lambda: the_avatar().lookalike.preview == 1, "no level came")
    findings["first_preview"] = [round(time.monotonic() - began, 1), colour()]
    screenshot("preview")
    seen = colour()
    yield from until(lambda: colour() != seen, "no second level came")
    job = state.jobs[0]
    yield from until(lambda: part("ui.curve_picture").icon(job.name) > 0, "no curve came")
    yield from settle(0.4)
    findings["ui_box"], findings["curve"] = region_box("UI"), part("ui.curve_picture").icon(job.name)
    findings["progress"] = [job.state, job.stage, round(job.fraction, 3)]
    screenshot("curve")
    yield from press_button("lookalike.cancel_job", 0.88, 0.73)
    yield from until(lambda: personalizing.job_of(the_avatar()) is None, "cancel did not end it")
    yield from settle()
    findings["told"] = [job.state, job.error]
    findings["after"], findings["keys_after"] = colour(), keys()
    screenshot("kept")


def adapters() -> Steps:
    api = part("api")
    findings["adapters"] = [[a.name, a.enabled, a.gain] for a in api.adapters(the_avatar())]
    part("api").dismiss(bpy.context.window_manager.lookalike.jobs[0].name)
    redraw()
    yield from settle(0.4)
    yield from press_button("lookalike.switch_adapter", 0.11, 0.4)
    yield from settle()
    findings["off"] = [api.adapters(the_avatar())[0].enabled, colour()]
    screenshot("off")
    for direction in ("undo", "undo", "redo"):
        with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
            getattr(bpy.ops.ed, direction)()
        yield from settle(0.4)
        findings.setdefault("history", []).append([direction, len(api.adapters(the_avatar())), colour()])


def widen(share: float) -> Steps:
    """Drag the sidebar's edge, which each Blender feels a few pixels elsewhere."""
    before = region("UI").width
    for offset in (0, 2, -2, 4, -4, 6):
        ui = region("UI")
        x, y = ui.x + offset, ui.y + ui.height // 2
        yield from move(x, y)
        yield from drag(x, y, -share * ui.width, 0, "LEFTMOUSE")
        redraw()
        yield from settle(0.4)
        if abs(region("UI").width - before) > 20:
            return


def appearance() -> Steps:
    """A narrow sidebar, and Blender's light theme."""
    yield from widen(-0.4)
    findings["narrow"] = region("UI").width
    screenshot("narrow")
    folder = Path(bpy.utils.system_resource("SCRIPTS")) / "presets" / "interface_theme"
    light = next(path for path in folder.iterdir() if path.name.lower() == "blender_light.xml")
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        bpy.ops.script.execute_preset(filepath=str(light), menu_idname="USERPREF_MT_interface_theme_presets")
    yield from widen(0.7)
    findings["wide"] = region("UI").width
    screenshot("light")


start(steps)
