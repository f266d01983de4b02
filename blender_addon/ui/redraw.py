"""Drawing again what no event of Blender's own makes it draw again."""

from __future__ import annotations

import bpy


def redraw() -> None:
    """Draw the viewports with their sidebars, and the preferences, at the next chance."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in {"VIEW_3D", "PREFERENCES"}:
                area.tag_redraw()
