"""Dropping files onto a 3D viewport or its sidebar: photos go to the panel, avatars into the scene, motion onto the active avatar."""

from __future__ import annotations

import bpy
from bpy.types import FileHandler

PHOTO_SUFFIXES = ".jpg;.jpeg;.png;.webp;.tif;.tiff;.bmp;.heic;.heif"


def _over_viewport(context: bpy.types.Context) -> bool:
    return context.area is not None and context.area.type == "VIEW_3D"


class LOOKALIKE_FH_photos(FileHandler):
    bl_idname = "LOOKALIKE_FH_photos"
    bl_label = "Lookalike: Add Photos"
    bl_import_operator = "lookalike.add_photos"
    bl_file_extensions = PHOTO_SUFFIXES

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return _over_viewport(context)


class LOOKALIKE_FH_avatar(FileHandler):
    bl_idname = "LOOKALIKE_FH_avatar"
    bl_label = "Lookalike Avatar"
    bl_import_operator = "lookalike.import_avatar"
    bl_file_extensions = ".lookalike"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return _over_viewport(context)


class LOOKALIKE_FH_motion(FileHandler):
    bl_idname = "LOOKALIKE_FH_motion"
    bl_label = "Lookalike Motion"
    bl_import_operator = "lookalike.import_motion"
    bl_file_extensions = ".csv;.json;.npz;.pkl;.motion;.tsv;.xml"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        from .. import api

        return _over_viewport(context) and bool(api.avatars(context.scene))


CLASSES = (LOOKALIKE_FH_photos, LOOKALIKE_FH_avatar, LOOKALIKE_FH_motion)
