"""Drawing again what no event of Blender's own makes it draw again."""

from __future__ import annotations

import bpy


def redraw() -> None:
    """Draw the sidebars of the viewports and the preferences at the next chance; not the views, which would draw every splat again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()
            for region in area.regions if area.type == "VIEW_3D" else ():
                if region.type == "UI":
                    region.tag_redraw()
