"""The list of the file's avatars, kept equal to the selection in both directions without any handler.

The list's index is computed from the active object whenever it is drawn, and setting it selects the avatar.
"""

from __future__ import annotations

import bpy
from bpy.types import UIList


def active_index(session: bpy.types.PropertyGroup) -> int:
    """Position of the active object's avatar among the file's collections, -1 where there is none. Budget: 100 microseconds."""
    from ..avatar import active_avatar

    avatar = active_avatar(bpy.context)
    if avatar is None:
        return -1
    return next((i for i, collection in enumerate(bpy.data.collections) if collection == avatar), -1)


def select_index(session: bpy.types.PropertyGroup, index: int) -> None:
    """Select the avatar at a position among the file's collections."""
    from .. import api

    if 0 <= index < len(bpy.data.collections) and bpy.data.collections[index].lookalike.is_avatar:
        api.select_avatar(bpy.data.collections[index])


class LOOKALIKE_UL_avatars(UIList):
    """Avatars of this file"""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index=0, flt_flag=0) -> None:
        row = layout.row(align=True)
        row.prop(item.lookalike, "shown_name", text="", emboss=False, icon="OUTLINER_OB_ARMATURE")
        if item.library is not None:
            row.label(text="", icon="LINKED")
        elif item.override_library is not None:
            row.label(text="", icon="LIBRARY_DATA_OVERRIDE")

    def filter_items(self, context, data, property_name):
        text, inverted = self.filter_name.lower(), self.use_filter_invert
        shown = [c.lookalike.is_avatar and (text in c.name.lower()) != inverted for c in getattr(data, property_name)]
        # Blender itself shows what is not flagged where the filter is inverted.
        flags = [self.bitflag_filter_item if show != inverted else 0 for show in shown]
        return flags, []


CLASSES = (LOOKALIKE_UL_avatars,)
