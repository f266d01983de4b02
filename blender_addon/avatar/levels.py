"""Which level of detail shows in the viewport, and which renders. Hidden levels are not evaluated at all."""

from __future__ import annotations

import bpy

from .parts import splats_of


def apply_levels(collection: bpy.types.Collection) -> None:
    """Show and render the levels that the avatar's settings ask for, or the nearest that exist.

    AUTO shows the highest level until somebody who knows the view calls `show_level`.
    """
    present = splats_of(collection)
    if not present:
        return
    chosen, rendered = collection.lookalike.lod, collection.lookalike.render_lod
    _set_visible(present, _nearest(present, max(present) if chosen == "AUTO" else int(chosen)))
    level = _nearest(present, max(present) if rendered == "HIGHEST" else int(rendered))
    for each, obj in present.items():
        if obj.hide_render != (each != level):
            obj.hide_render = each != level


def show_level(collection: bpy.types.Collection, level: int) -> int | None:
    """Show one level in the viewport (AUTO's decision); cheap when it shows already. Returns the level now shown, None without splats."""
    present = splats_of(collection)
    if not present:
        return None
    shown = _nearest(present, level)
    _set_visible(present, shown)
    return shown


def shown_level(collection: bpy.types.Collection) -> int | None:
    """The level that the viewport shows, None where all are hidden."""
    return next((level for level, obj in splats_of(collection).items() if not obj.hide_viewport), None)


def _nearest(present: dict[int, bpy.types.Object], level: int) -> int:
    return min(present, key=lambda each: (abs(each - level), each))


def _set_visible(present: dict[int, bpy.types.Object], level: int) -> None:
    for each, obj in present.items():
        # Writing a property tags the depsgraph even when nothing changes.
        if obj.hide_viewport != (each != level):
            obj.hide_viewport = each != level
