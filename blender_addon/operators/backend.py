"""Start and stop the backend, see its log."""

from __future__ import annotations

import bpy
from bpy.types import Operator

from .. import __package__ as base_package
from .. import api
from ..client import backend
from .base import Telling
from .reporting import reported


class LOOKALIKE_OT_start_backend(Operator):
    """Start the backend on this computer, or connect to the one on another computer"""

    bl_idname = "lookalike.start_backend"
    bl_label = "Start Backend"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if backend.running:
            cls.poll_message_set("The backend is running")
        return not backend.running

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.start_backend()
        return {"FINISHED"}


class LOOKALIKE_OT_stop_backend(Operator):
    """Stop the backend, or disconnect from the one on another computer; jobs under way are cancelled"""

    bl_idname = "lookalike.stop_backend"
    bl_label = "Stop Backend"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not backend.running:
            cls.poll_message_set("The backend is not running")
        return backend.running

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.stop_backend()
        return {"FINISHED"}


class LOOKALIKE_OT_open_log(Operator):
    """Show the backend's log in a text editor of the system"""

    bl_idname = "lookalike.open_log"
    bl_label = "Open Log"
    bl_options = {"INTERNAL"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        bpy.ops.wm.path_open(filepath=str(api.log_file()))
        return {"FINISHED"}


class LOOKALIKE_OT_copy_client_key(Telling, Operator):
    """Copy this computer's public key, which the other computer's backend must know before it answers"""

    bl_idname = "lookalike.copy_client_key"
    bl_label = "Copy This Computer's Key"
    bl_options = {"INTERNAL"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = api.client_public_key()
        return self.tell("Public key copied")


class LOOKALIKE_OT_open_preferences(Operator):
    """Show the preferences of Lookalike"""

    bl_idname = "lookalike.open_preferences"
    bl_label = "Lookalike Preferences"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        bpy.ops.preferences.addon_show(module=base_package)
        return {"FINISHED"}


CLASSES = (
    LOOKALIKE_OT_start_backend,
    LOOKALIKE_OT_stop_backend,
    LOOKALIKE_OT_open_log,
    LOOKALIKE_OT_copy_client_key,
    LOOKALIKE_OT_open_preferences,
)
