"""Level of detail by size on screen, for avatars whose setting is AUTO.

Draws report how tall an avatar is in each view; a timer shows the level that the largest view needs. Levels that are
hidden are not evaluated, so a change costs one evaluation: sizes near a limit keep the present level (hysteresis), and a
level must be wanted for SETTLE seconds, so that neither zooming nor playback goes back and forth.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass, field

import bpy

from ..avatar.levels import show_level, shown_level
from ..avatar.parts import splats_of

LIMITS = (160.0, 420.0)
"""Height in pixels, head and shoulders, up to which LOD 0 and LOD 1 do: splats are then about 2 pixels apart."""

HYSTERESIS = 0.2
SETTLE = 0.2


@dataclass
class Seen:
    """What is known of one avatar: its height in each view, and since when another level is wanted."""

    heights: dict[Hashable, float] = field(default_factory=dict)
    wanted: int | None = None
    since: float = 0.0


_seen: dict[int, Seen] = {}


def choose_level(height: float, present: int | None) -> int:
    """Level for an avatar `height` pixels tall that shows level `present` now (None: none yet)."""
    if present is None:
        return sum(height > limit for limit in LIMITS)
    level = present
    while level < len(LIMITS) and height > LIMITS[level] * (1 + HYSTERESIS):
        level += 1
    while level > 0 and height < LIMITS[level - 1] * (1 - HYSTERESIS):
        level -= 1
    return level


def measured(avatar: bpy.types.Collection, level: int, view: Hashable, height: float) -> None:
    """A draw saw `level` of an avatar at this height, in pixels; 0 where it is out of sight. Budget: 5 microseconds."""
    if avatar.lookalike.lod != "AUTO" or avatar.library is not None or avatar.lookalike.preview >= 0:
        return
    seen = _seen.setdefault(avatar.session_uid, Seen())
    seen.heights[view] = height
    tallest = max(seen.heights.values())
    if tallest <= 0:
        return
    wanted = choose_level(tallest, level)
    if wanted == level:
        seen.wanted = None
    elif wanted != seen.wanted:
        seen.wanted, seen.since = wanted, time.monotonic()
    if seen.wanted is not None and not bpy.app.timers.is_registered(apply):
        bpy.app.timers.register(apply, first_interval=SETTLE)


def apply() -> float | None:
    """Timer: show the wanted levels that have settled; ends when nothing is wanted."""
    now = time.monotonic()
    views = _open_views()
    for collection in [c for c in bpy.data.collections if c.session_uid in _seen]:
        seen = _seen[collection.session_uid]
        seen.heights = {view: height for view, height in seen.heights.items() if view in views}
        if seen.wanted is None or now - seen.since < SETTLE:
            continue
        wanted, seen.wanted = seen.wanted, None
        if collection.lookalike.lod == "AUTO" and wanted in splats_of(collection) and shown_level(collection) != wanted:
            show_level(collection, wanted)
    return SETTLE if any(seen.wanted is not None for seen in _seen.values()) else None


def forget() -> None:
    _seen.clear()


def _open_views() -> set[int]:
    """The `View.key` of every 3D view on screen."""
    spaces = (a.spaces.active for w in bpy.context.window_manager.windows for a in w.screen.areas if a.type == "VIEW_3D")
    return {r.as_pointer() for s in spaces for r in (s.region_3d, *s.region_quadviews) if r is not None}
