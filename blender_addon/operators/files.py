"""Avatar files in and out."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import StringProperty
from bpy.types import Operator

from .. import api
from .base import FromFiles, Telling, ToFile
from .reporting import reported


class LOOKALIKE_OT_import_avatar(FromFiles, Operator):
    """Build the rig, the splats and their binding from a .lookalike file"""

    bl_idname = "lookalike.import_avatar"
    bl_label = "Import Avatar"
    bl_options = {"REGISTER", "UNDO"}

    filename_ext = ".lookalike"
    filter_glob: StringProperty(default="*.lookalike", options={"HIDDEN"})

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        for path in self.paths():
            api.welcome_avatar(api.import_avatar(path))
        return {"FINISHED"}


class LOOKALIKE_OT_export_avatar(ToFile, Operator):
    """Write the avatar to a .lookalike file: neutral head, all levels of detail and provenance"""

    bl_idname = "lookalike.export_avatar"
    bl_label = "Export Avatar"
    bl_options = {"REGISTER"}

    filename_ext = ".lookalike"
    filter_glob: StringProperty(default="*.lookalike", options={"HIDDEN"})

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        return self.tell("Wrote {path}", path=api.export_avatar(self.chosen(), self.target()))


class LOOKALIKE_OT_reveal_file(Telling, Operator):
    """Show the avatar's .lookalike file in the system's file browser"""

    bl_idname = "lookalike.reveal_file"
    bl_label = "Show Avatar File"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        avatar = api.active_avatar(context)
        if avatar is None or not avatar.lookalike.source_path:
            cls.poll_message_set("The avatar has no file yet: export it")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        avatar = api.active_avatar(context)
        path = Path(bpy.path.abspath(avatar.lookalike.source_path, library=avatar.library))
        if not path.exists():
            return self.tell("{path} is not there any more; export the avatar again", "ERROR", path=path)
        bpy.ops.wm.path_open(filepath=str(path.parent))
        return {"FINISHED"}


def draw_import(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Entry of File > Import."""
    menu.layout.operator(LOOKALIKE_OT_import_avatar.bl_idname, text="Lookalike Avatar (.lookalike)")


def draw_export(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Entry of File > Export."""
    menu.layout.operator(LOOKALIKE_OT_export_avatar.bl_idname, text="Lookalike Avatar (.lookalike)")


CLASSES = (LOOKALIKE_OT_import_avatar, LOOKALIKE_OT_export_avatar, LOOKALIKE_OT_reveal_file)
