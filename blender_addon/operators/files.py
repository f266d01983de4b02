"""Avatar files in and out."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import CollectionProperty, StringProperty
from bpy.types import Operator, OperatorFileListElement
from bpy_extras.io_utils import ExportHelper, ImportHelper

from .. import api
from .reporting import reported


class LOOKALIKE_OT_import_avatar(Operator, ImportHelper):
    """Build the rig, the splats and their binding from a .lookalike file"""

    bl_idname = "lookalike.import_avatar"
    bl_label = "Import Avatar"
    bl_options = {"REGISTER", "UNDO"}

    filename_ext = ".lookalike"
    filter_glob: StringProperty(default="*.lookalike", options={"HIDDEN"})
    directory: StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files: CollectionProperty(type=OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.directory and self.files:  # dropped: the files are known
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        chosen = [Path(self.directory) / file.name for file in self.files if file.name]
        for path in chosen or [Path(bpy.path.abspath(self.filepath))]:
            api.welcome_avatar(api.import_avatar(path))
        return {"FINISHED"}


class LOOKALIKE_OT_export_avatar(Operator, ExportHelper):
    """Write the avatar to a .lookalike file: neutral head, all levels of detail and provenance"""

    bl_idname = "lookalike.export_avatar"
    bl_label = "Export Avatar"
    bl_options = {"INTERNAL"}

    filename_ext = ".lookalike"
    filter_glob: StringProperty(default="*.lookalike", options={"HIDDEN"})
    avatar: StringProperty(name="Avatar", description="Name of the avatar; empty for the active one", options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not api.avatars(context.scene):
            cls.poll_message_set("There is no avatar in the scene")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        active = api.active_avatar(context)
        name = self.avatar or (active.name if active is not None else "")
        if not self.filepath and name:
            self.filepath = bpy.path.clean_name(name) + self.filename_ext
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        path = api.export_avatar(api.avatar(self.avatar), bpy.path.abspath(self.filepath))
        self.report({"INFO"}, f"Wrote {path}")
        return {"FINISHED"}


class LOOKALIKE_OT_reveal_file(Operator):
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
            self.report({"ERROR"}, f"{path} is not there any more; export the avatar again")
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=str(path.parent))
        return {"FINISHED"}


def draw_import(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Entry of File > Import."""
    menu.layout.operator(LOOKALIKE_OT_import_avatar.bl_idname, text="Lookalike Avatar (.lookalike)")


def draw_export(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Entry of File > Export."""
    menu.layout.operator(LOOKALIKE_OT_export_avatar.bl_idname, text="Lookalike Avatar (.lookalike)")


CLASSES = (LOOKALIKE_OT_import_avatar, LOOKALIKE_OT_export_avatar, LOOKALIKE_OT_reveal_file)
