"""Dropping splat files onto a 3D viewport."""

from __future__ import annotations

import bpy
from bpy.types import FileHandler


class LOOKALIKE_FH_splats(FileHandler):
    bl_idname = "LOOKALIKE_FH_splats"
    bl_label = "Gaussian Splats (Lookalike)"
    bl_import_operator = "lookalike.import_splats"
    bl_file_extensions = ".ply;.spz"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


CLASSES = (LOOKALIKE_FH_splats,)
