"""The face board in a real window: presets, motion and lip-sync with undo and redo, a stream, the menu by key and by search, themes."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bpy
from avatar_scene import empty_scene, hide_rig, import_avatar, look_at, part, settle
from driving import OUT, Steps, event, findings, move, press, redraw, region, region_box, screenshot, space, start, view_area, window

WAVE = [abs(((i / 15) % 2) - 1) for i in range(61)]


def operator(name: str, **options: object) -> None:
    """Call an operator as a button does, with an undo step."""
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        getattr(bpy.ops.lookalike, name)("EXEC_DEFAULT", True, **options)


def steps(direction: str) -> None:
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        getattr(bpy.ops.ed, direction)()


def parts() -> tuple[bpy.types.Object, bpy.types.Object]:
    """Armature and head, looked up each time: undo replaces data-blocks."""
    found = {o.lookalike.role: o for o in bpy.data.objects}
    return found["ARMATURE"], found["HEAD"]


def state() -> dict[str, object]:
    armature, head = parts()
    data = armature.animation_data
    values = {key.name: round(key.value, 3) for key in head.data.shape_keys.key_blocks[1:]}
    return {"action": data.action.name if data.action else "", "tracks": [t.name for t in data.nla_tracks], "values": values}


def undone_and_redone(name: str) -> Steps:
    """Findings of a step: as it is, without it, and with it again."""
    seen = {"after": state()}
    for direction, label in (("undo", "undone"), ("redo", "redone")):
        steps(direction)
        yield from settle(0.4)
        seen[label] = state()
    findings[name] = seen


def run() -> Steps:
    empty_scene()
    import_avatar()
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        bpy.ops.ed.undo_push(message="the scene as it is now")
    space().show_region_ui = True
    yield 0.5
    region("UI").active_panel_category = "Lookalike"
    look_at(parts()[1])
    yield from settle(0.5)
    screenshot("panels")
    operator("apply_preset", preset="emotion_joy")
    yield from settle(0.4)
    yield from undone_and_redone("preset")
    operator("reset_pose")
    names = ["mouthSmileLeft", "mouthSmileRight", "jawOpen"]
    frames = [{"weights": [v, v, 0.5 * v], "time": i / 30, "rotation": []} for i, v in enumerate(WAVE)]
    (OUT / "take.json").write_text(json.dumps({"names": names, "frames": frames}))
    bpy.context.scene.frame_set(1)
    operator("import_motion", filepath=str(OUT / "take.json"))
    bpy.context.scene.frame_set(1)
    yield from settle(0.4)
    yield from undone_and_redone("motion")
    (OUT / "line.tsv").write_text("0.00\tX\n0.20\tD\n0.50\tF\n0.80\tX\n")
    operator("import_motion", filepath=str(OUT / "line.tsv"))
    yield from settle(0.4)
    yield from undone_and_redone("lipsync")
    for mode_and_bone in ("face", "jaw"):
        operator("select_bone", bone=mode_and_bone)
        yield from settle(0.3)
    findings["selected"] = [bpy.context.mode, bpy.context.active_pose_bone.name]
    yield from stream()
    hide_rig(next(c for c in bpy.data.collections if c.lookalike.is_avatar))
    screenshot("end")
    yield from menu_and_search()
    yield from appearance()


def stream() -> Steps:
    """Packets on a socket move the face, by the add-on's own timer."""
    link, api = part("protocol.live_link"), part("api")
    parts()[0].animation_data_clear()
    port = api.start_live(next(c for c in bpy.data.collections if c.lookalike.is_avatar), 0)
    weights = tuple(0.75 if name == "mouthSmileLeft" else 0.0 for name in link.SHAPES)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for i in range(20):
            sender.sendto(link.write_packet(link.Packet("phone", i / 60, weights, (0.2, 0.0, 0.0))), ("127.0.0.1", port))
            yield 0.05
    yield from settle(0.4)
    findings["streamed"] = round(parts()[0].pose.bones["arkit"]["mouthSmileLeft"], 3)
    api.stop_live()


def menu_and_search() -> Steps:
    """The menu by its key, then one of its operators by F3, typed as a user types."""
    view = region()
    x, y = view.x + view.width // 3, view.y + view.height // 2
    key = {"ctrl": True, "shift": True, "alt": True}
    defaults = bpy.context.window_manager.keyconfigs.default.keymaps
    findings["default_items"] = sum(len(keymap.keymap_items) for keymap in defaults)
    findings["key_taken_by"] = [
        item.idname
        for name in ("Window", "Screen", "3D View", "3D View Generic", "Object Mode", "Object Non-modal", "Pose")
        for item in defaults[name].keymap_items
        if (item.type, item.value) == ("L", "PRESS") and item.ctrl and item.shift and item.alt
    ]
    findings["view_box"] = region_box()
    yield from move(x, y)
    yield from press("L", x, y, **key)
    yield 0.5
    screenshot("menu")
    yield from press("ESC", x, y)
    face = parts()[0].pose.bones["face"]
    face["mouthSmile"] = 0.5
    parts()[0].update_tag()
    yield from press("F3", x, y)
    yield 0.5
    for letter in "Reset Face Con":
        event("SPACE" if letter == " " else letter.upper(), "PRESS", x, y, unicode=letter)
        yield 0.05
    yield 0.8
    screenshot("search")
    before = parts()[0].pose.bones["face"]["mouthSmile"]
    yield from press("RET", x, y)
    yield from settle(0.4)
    findings["search"] = [before, parts()[0].pose.bones["face"]["mouthSmile"]]


def appearance() -> Steps:
    """Blender's light theme, and a display of twice the resolution."""
    preferences = bpy.context.preferences
    folder = Path(bpy.utils.system_resource("SCRIPTS")) / "presets" / "interface_theme"
    light = next(path for path in folder.iterdir() if path.name.lower() == "blender_light.xml")
    shown = {}
    for name in ("dark", "light", "large"):
        if name == "light":
            with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
                bpy.ops.script.execute_preset(filepath=str(light), menu_idname="USERPREF_MT_interface_theme_presets")
        elif name == "large":
            preferences.view.ui_scale = 2.0
        redraw()
        yield 1.0
        redraw()
        yield 0.5
        screenshot(f"theme_{name}")
        shown[name] = {"box": region_box("UI"), "pixel_size": preferences.system.pixel_size, "ui_scale": preferences.system.ui_scale}
    findings["appearance"] = shown | {"last_error": part("viewport").status.last_error}


start(run)
