"""Dropping files onto a 3D viewport or its sidebar: photos go to the panel, avatars into the scene, motion onto the active avatar."""

from __future__ import annotations

import bpy
from bpy.types import FileHandler

from ..client.tracking import VIDEO_SUFFIXES

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


class _OntoAvatar:
    """What is dropped goes to the active avatar."""

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        from .. import api

        return _over_viewport(context) and bool(api.avatars(context.scene))


class LOOKALIKE_FH_motion(_OntoAvatar, FileHandler):
    bl_idname = "LOOKALIKE_FH_motion"
    bl_label = "Lookalike Motion"
    bl_import_operator = "lookalike.import_motion"
    bl_file_extensions = ".csv;.json;.npz;.pkl;.motion;.tsv;.xml"


class LOOKALIKE_FH_video(_OntoAvatar, FileHandler):
    bl_idname = "LOOKALIKE_FH_video"
    bl_label = "Lookalike: Track Video"
    bl_import_operator = "lookalike.track_video"
    bl_file_extensions = ";".join(VIDEO_SUFFIXES)


CLASSES = (LOOKALIKE_FH_photos, LOOKALIKE_FH_avatar, LOOKALIKE_FH_motion, LOOKALIKE_FH_video)
