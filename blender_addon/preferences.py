"""The add-on's preferences: where the backend is, and how it is started."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty
from bpy.types import AddonPreferences

from .client import backend
from .translations import explained
from .ui.wrapping import draw_wrapped

LOG_LEVELS = (
    ("ERROR", "Errors", "Log errors only"),
    ("WARNING", "Warnings", "Log errors and warnings"),
    ("INFO", "Information", "Log what the backend does"),
    ("DEBUG", "Everything", "Log every detail, for bug reports"),
)


def _other_address(preferences: bpy.types.AddonPreferences, context: bpy.types.Context) -> None:
    """Permission was given for one computer and does not hold for another."""
    preferences.allow_sending = False


class LookalikePreferences(AddonPreferences):
    """Kept by Blender per user; read through `preferences()`."""

    bl_idname = __package__

    location: EnumProperty(
        name="Backend",
        description="Where avatars are reconstructed",
        items=(
            ("LOCAL", "This Computer", "A backend on this computer, started by the add-on; photos do not leave the computer"),
            ("REMOTE", "Another Computer", "A backend that someone runs on another computer; photos are sent there, encrypted"),
        ),
    )
    folder: StringProperty(
        name="Backend Folder",
        description="Folder that holds build.py; leave empty to use the one where “build.py setup” was run",
        subtype="DIR_PATH",
    )
    autostart: BoolProperty(
        name="Start When Needed",
        description="Start the backend when an avatar is created and none is running",
        default=True,
    )
    log_level: EnumProperty(name="Log", description="How much the backend writes to its log", items=LOG_LEVELS, default="INFO")
    address: StringProperty(
        name="Address",
        description="Host and port of the backend, for example render-01:5870",
        maxlen=256,
        update=_other_address,
    )
    server_key: StringProperty(
        name="Server Key",
        description="Public key that the other computer's backend prints when it starts: 40 characters",
        maxlen=40,
    )
    allow_sending: BoolProperty(
        name="Send Photos to This Computer",
        description="Confirm that the people in the photos, and whoever owns the photos, allow sending them to the address above",
        default=False,
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.row().prop(self, "location", expand=True)
        if self.location == "LOCAL":
            self._draw_local(layout, context)
        else:
            self._draw_remote(layout, context)
        self._draw_status(layout, context)

    def _draw_local(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        layout.prop(self, "folder", placeholder="Found by itself")
        layout.prop(self, "autostart")
        layout.prop(self, "log_level")

    def _draw_remote(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        layout.prop(self, "address", placeholder="host:5870")
        layout.prop(self, "server_key")
        layout.prop(self, "allow_sending")
        row = layout.row()
        row.operator("lookalike.copy_client_key", icon="COPYDOWN")
        if not bpy.app.online_access:
            draw_wrapped(layout, context, "Blender's online access is off: turn on System > Network > Allow Online Access", "ERROR")

    def _draw_status(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        box = layout.box()
        text, icon = backend.summary()
        box.label(text=explained(text), icon=icon, translate=False)
        error = backend.error
        if error is not None:
            draw_wrapped(box, context, str(error))
        row = box.row(align=True)
        row.operator("lookalike.start_backend", icon="PLAY")
        row.operator("lookalike.stop_backend", icon="SNAP_FACE")
        row.operator("lookalike.open_log", icon="TEXT")


def preferences(context: bpy.types.Context | None = None) -> LookalikePreferences:
    """The user's settings.

    Raises:
        KeyError: the add-on is not enabled.
    """
    return (context or bpy.context).preferences.addons[__package__].preferences


CLASSES = (LookalikePreferences,)
