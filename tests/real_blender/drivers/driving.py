"""Drive a real Blender window from inside: steps on a timer, simulated input, screenshots, recorded findings.

A driver script is a generator: each ``yield seconds`` lets Blender's main loop run, so that what follows sees what a
user would see. It ends by writing findings.json, which the tests read; an exception ends Blender with exit code 4.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np

Steps = Iterator[float]

HERE = Path(__file__).resolve().parent
ARGUMENTS = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
OUT = Path(ARGUMENTS[0]) if ARGUMENTS else HERE
findings: dict[str, Any] = {"blender": bpy.app.version_string}


def start(steps: Callable[[], Steps], before: float = 1.0) -> None:
    """Run a driver after the first redraws; quits Blender at its end."""
    preferences = bpy.context.preferences
    preferences.view.show_splash = False
    preferences.view.smooth_view = 0
    preferences.use_preferences_save = False
    generator = steps()

    def advance() -> float | None:
        try:
            return next(generator)
        except StopIteration:
            finish(0)
        except Exception:
            findings["failure"] = traceback.format_exc()
            traceback.print_exc()
            finish(4)
        return None

    bpy.app.timers.register(advance, first_interval=before, persistent=True)


def finish(code: int) -> None:
    (OUT / "findings.json").write_text(json.dumps(findings, indent=1, default=str))
    sys.stdout.flush()
    sys.exit(code)


def window() -> bpy.types.Window:
    return bpy.context.window_manager.windows[0]


def view_area() -> bpy.types.Area:
    return max((a for a in window().screen.areas if a.type == "VIEW_3D"), key=lambda a: a.width * a.height)


def region(kind: str = "WINDOW", area: bpy.types.Area | None = None) -> bpy.types.Region:
    return next(r for r in (area or view_area()).regions if r.type == kind)


def space() -> bpy.types.SpaceView3D:
    return view_area().spaces.active


def redraw() -> None:
    for area in window().screen.areas:
        area.tag_redraw()


def screenshot(name: str) -> Path:
    """The whole window as a user sees it. X's picture, because Blender's own screenshot is black on Mesa's OpenGL."""
    path = OUT / f"{name}.png"
    subprocess.run(["scrot", "-o", str(path)], check=True)
    return path


def screenshot_when_still(name: str, timeout: float = 240.0, quiet: float = 2.0) -> Steps:
    """Wait until the 3D view has not redrawn itself for some seconds and two screenshots are equal: the last shows the finished picture.

    EEVEE asks for redraws by itself while its shaders compile and while it takes its samples, so a picture that stands
    still for a moment is not taken for the last one.

    Raises:
        TimeoutError: it still changed after `timeout` seconds.
    """
    draws = [0]

    def count() -> None:
        draws[0] += 1

    counter = bpy.types.SpaceView3D.draw_handler_add(count, (), "WINDOW", "POST_PIXEL")
    began, drawn, before = time.monotonic(), 0, b""
    redraw()
    try:
        while True:
            yield quiet
            picture = screenshot(name).read_bytes()
            seconds = time.monotonic() - began
            if picture == before and draws[0] == drawn > 0:
                findings.setdefault("seconds_until_still", {})[name] = round(seconds, 1)
                return
            if seconds > timeout:
                raise TimeoutError(f"{name}: still redrawing itself after {seconds:.0f} s")
            before, drawn = picture, draws[0]
    finally:
        bpy.types.SpaceView3D.draw_handler_remove(counter, "WINDOW")


def region_box(kind: str = "WINDOW", area: bpy.types.Area | None = None) -> list[int]:
    """left, top, right, bottom of a region in screenshot pixels (origin top left)."""
    r, height = region(kind, area), window().height
    return [r.x, height - r.y - r.height, r.x + r.width, height - r.y]


def event(kind: str, value: str, x: float, y: float, **more: object) -> None:
    window().event_simulate(type=kind, value=value, x=int(x), y=int(y), **more)


def move(x: float, y: float) -> Steps:
    event("MOUSEMOVE", "NOTHING", x - 2, y)
    yield 0.1
    event("MOUSEMOVE", "NOTHING", x, y)
    yield 0.15


def click(x: float, y: float, button: str = "LEFTMOUSE") -> Steps:
    """Move there, press, release: one event a pass of the main loop. Window pixels from the bottom left."""
    yield from move(x, y)
    event(button, "PRESS", x, y)
    yield 0.1
    event(button, "RELEASE", x, y)
    yield 0.3


def press(key: str, x: float, y: float, **modifiers: bool) -> Steps:
    event(key, "PRESS", x, y, **modifiers)
    yield 0.1
    event(key, "RELEASE", x, y, **modifiers)
    yield 0.3


def drag(x: float, y: float, dx: float, dy: float, button: str = "MIDDLEMOUSE") -> Steps:
    event(button, "PRESS", x, y)
    yield 0.1
    for i in range(1, 6):
        event("MOUSEMOVE", "NOTHING", x + dx * i / 5, y + dy * i / 5)
        yield 0.1
    event(button, "RELEASE", x + dx, y + dy)
    yield 0.3


def press_button(operator: str, across: float = 0.5, start: float = 1.0) -> Steps:
    """Find a button of the sidebar as a user would, by reading: Ctrl+C over a button copies what it does.

    Args:
        across: where to look, 0 at the sidebar's left and 1 at its right.
        start: from which height on downwards, 1 at its top.
    """
    ui = region("UI")
    x = ui.x + (ui.width - 24) * across
    for y in range(ui.y + int(start * ui.height) - 10, ui.y + 10, -9):
        bpy.context.window_manager.clipboard = ""
        yield from move(x, y)
        event("C", "PRESS", x, y, ctrl=True)
        yield 0.1
        event("C", "RELEASE", x, y)
        yield 0.1
        if operator in bpy.context.window_manager.clipboard:
            yield from click(x, y)
            findings.setdefault("pressed", []).append(operator)
            return
    screenshot("button_not_found")
    raise LookupError(f"no button for {operator} in the sidebar")


def plain_view() -> None:
    """Only what is under test: no grid, axes, cursor or gizmos (Mesa's Vulkan draws the floor grid corrupt)."""
    overlay = space().overlay
    for name in ("show_floor", "show_axis_x", "show_axis_y", "show_axis_z", "show_ortho_grid", "show_cursor", "show_text", "show_stats"):
        if hasattr(overlay, name):
            setattr(overlay, name, False)
    overlay.show_relationship_lines = False
    space().show_gizmo = False


def save_array(name: str, array: np.ndarray) -> None:
    np.save(OUT / f"{name}.npy", array)
