"""The list of photos in the panel."""

from __future__ import annotations

import bpy
from bpy.props import IntProperty, StringProperty
from bpy.types import Operator

from ..ui.file_handlers import PHOTO_SUFFIXES
from ..ui.properties import session
from ..ui.redraw import redraw
from .base import FromFiles, Telling


class LOOKALIKE_OT_add_photos(FromFiles, Operator):
    """Add photos of one person; several views make a better avatar"""

    bl_idname = "lookalike.add_photos"
    bl_label = "Add Photos"
    bl_options = {"INTERNAL"}

    filter_glob: StringProperty(default=PHOTO_SUFFIXES.replace(".", "*."), options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        chosen = self.paths()
        photos = session(context).photos
        known = {photo.path for photo in photos}
        for path in chosen:
            if path.is_file() and str(path) not in known:
                photo = photos.add()
                photo.name = path.name
                photo.path = str(path)
        if not any(path.is_file() for path in chosen):
            self.tell("No photo was chosen", "WARNING")
            return {"CANCELLED"}
        session(context).photo_index = len(photos) - 1
        redraw()
        return {"FINISHED"}


class _OfPhotos(Telling):
    """An operator on the list of photos."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return len(session(context).photos) > 0


class LOOKALIKE_OT_remove_photo(_OfPhotos, Operator):
    """Take the photo out of the list; the file stays"""

    bl_idname = "lookalike.remove_photo"
    bl_label = "Remove Photo"
    bl_options = {"INTERNAL"}

    index: IntProperty(default=-1, description="Position in the list; -1 for the highlighted one", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        state = session(context)
        index = self.index if self.index >= 0 else state.photo_index
        if not 0 <= index < len(state.photos):
            self.tell("No photo is highlighted", "WARNING")
            return {"CANCELLED"}
        state.photos.remove(index)
        state.photo_index = max(0, min(state.photo_index, len(state.photos) - 1))
        return {"FINISHED"}


class LOOKALIKE_OT_clear_photos(_OfPhotos, Operator):
    """Take every photo out of the list; the files stay"""

    bl_idname = "lookalike.clear_photos"
    bl_label = "Clear Photos"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        session(context).photos.clear()
        session(context).photo_index = 0
        return {"FINISHED"}


CLASSES = (LOOKALIKE_OT_add_photos, LOOKALIKE_OT_remove_photo, LOOKALIKE_OT_clear_photos)
