"""How the brush and the shapes work: kept for the session by the window manager, shown in the tool's header."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, IntProperty, PointerProperty
from bpy.types import PropertyGroup

MODES = (
    ("HIDE", "Hide", "Hide splats: stray shoulders, a hair fringe"),
    ("SHOW", "Restore", "Show hidden splats and take brushed opacity and size back"),
    ("FADE", "Fade", "Make splats more transparent"),
    ("STRENGTHEN", "Strengthen", "Make splats more opaque"),
    ("SHRINK", "Shrink", "Make splats smaller"),
    ("GROW", "Grow", "Make splats larger"),
    ("MIRROR", "Repair", "Replace splats by mirrored ones of the other side of the head"),
)
OPPOSITE = {
    "HIDE": "SHOW",
    "SHOW": "HIDE",
    "FADE": "STRENGTHEN",
    "STRENGTHEN": "FADE",
    "SHRINK": "GROW",
    "GROW": "SHRINK",
    "MIRROR": "MIRROR",
}


class LOOKALIKE_PG_point(PropertyGroup):
    """One point of a stroke or an outline."""

    mouse: FloatVectorProperty(name="Pixel", description="Pixels from the region's lower left corner", size=2)


class LOOKALIKE_PG_edit(PropertyGroup):
    """``window_manager.lookalike_edit``."""

    mode: EnumProperty(name="Brush", description="What the brush does", items=MODES, default="HIDE")
    radius: IntProperty(name="Radius", description="Radius of the brush", default=40, min=1, max=1000, soft_max=300, subtype="PIXEL")
    strength: FloatProperty(name="Strength", description="How much one stroke changes", default=0.5, min=0.0, max=1.0, subtype="FACTOR")
    hardness: FloatProperty(
        name="Hardness", description="Share of the radius that gets all of the strength", default=0.5, min=0.0, max=1.0, subtype="FACTOR"
    )
    through: BoolProperty(name="Through", description="Change what lies behind the visible surface too", default=False)
    mirror: BoolProperty(name="Mirror", description="Do the same on the other side of the head", default=False)
    similar: FloatProperty(
        name="Similar Color",
        description="Change only colors this near to the one under the start of the stroke; 0 changes all",
        default=0.0,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )


CLASSES = (LOOKALIKE_PG_point, LOOKALIKE_PG_edit)


def attach() -> None:
    bpy.types.WindowManager.lookalike_edit = PointerProperty(type=LOOKALIKE_PG_edit, options={"SKIP_SAVE"})


def detach() -> None:
    del bpy.types.WindowManager.lookalike_edit
