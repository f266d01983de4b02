"""Personalize the active avatar by photos or a video of its person, and what is done with the adapters that come of it."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty
from bpy.types import Operator
from bpy_extras.io_utils import ImportHelper

from .. import api
from ..client import personalizing
from ..client.tracking import VIDEO_SUFFIXES
from ..ui import choices
from ..ui.file_handlers import PHOTO_SUFFIXES
from ..ui.personalize_panel import BUILTIN_RIG
from ..ui.properties import session
from ..ui.redraw import redraw
from .base import CANCELLED, FINISHED, RUNNING, FromFiles, OnAvatar, Telling, ToFile, there_is_an_avatar
from .reporting import reported


class LOOKALIKE_OT_personalize(OnAvatar, Operator):
    """Refine the avatar by photos or a video of its person; it gets better before your eyes, and Blender stays free to work in"""

    bl_idname = "lookalike.personalize"
    bl_label = "Personalize Avatar"
    bl_options = {"REGISTER"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        state, avatar = session(context), self.chosen()
        wait = bpy.app.background  # a script without a window has nothing else to do, and no timers
        job = api.personalize(
            [photo.path for photo in state.person_photos],
            avatar,
            steps=state.personalize_steps,
            consent=state.personalize_consent,
            rig="" if avatar.lookalike.rig_id.startswith(BUILTIN_RIG) else choices.chosen_rig(state),
            method=choices.chosen_method(state),
            wait=wait,
        )
        if wait:
            return self.pass_on(job.report.summary())
        return self.tell("Personalizing {name}: progress and Cancel are in the panel", name=avatar.name)


class LOOKALIKE_OT_stop_personalizing(OnAvatar, Operator):
    """Stop refining the avatar and keep the best so far; once more drops it"""

    bl_idname = "lookalike.stop_personalizing"
    bl_label = "Stop Personalizing"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if any(job.kind == personalizing.KIND for job in session(context).jobs):
            return True
        cls.poll_message_set("No avatar is being personalized")
        return False

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        job = personalizing.job_of(self.chosen())
        if job is None:
            self.tell("No avatar is being personalized", "WARNING")
            return CANCELLED
        api.cancel(job.name)
        return FINISHED


class LOOKALIKE_OT_add_person_photos(FromFiles, Operator):
    """Add photos of the avatar's person, or one video; photos of other sides and lights help most"""

    bl_idname = "lookalike.add_person_photos"
    bl_label = "Add Photos or a Video"
    bl_options = {"REGISTER"}

    filter_glob: StringProperty(
        default=";".join([PHOTO_SUFFIXES.replace(".", "*."), *(f"*{suffix}" for suffix in VIDEO_SUFFIXES)]), options={"HIDDEN"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return there_is_an_avatar(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        chosen, photos = self.paths(), session(context).person_photos
        known = {photo.path for photo in photos}
        for path in chosen:
            if path.is_file() and str(path) not in known:
                photo = photos.add()
                photo.name, photo.path = path.name, str(path)
        if not any(path.is_file() for path in chosen):
            self.tell("No photo was chosen", "WARNING")
            return CANCELLED
        session(context).person_photo_index = len(photos) - 1
        redraw()
        return FINISHED


class LOOKALIKE_OT_remove_person_photo(Telling, Operator):
    """Take the photo out of the list; the file stays"""

    bl_idname = "lookalike.remove_person_photo"
    bl_label = "Remove Photo"
    bl_options = {"INTERNAL"}

    index: IntProperty(default=0, min=0, description="Position in the list", options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        photos = session(context).person_photos
        if self.index >= len(photos):
            self.tell("No photo is highlighted", "WARNING")
            return CANCELLED
        photos.remove(self.index)
        return FINISHED


class LOOKALIKE_OT_clear_person_photos(Operator):
    """Take every photo out of the list; the files stay"""

    bl_idname = "lookalike.clear_person_photos"
    bl_label = "Clear Photos"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return len(session(context).person_photos) > 0

    def execute(self, context: bpy.types.Context) -> set[str]:
        session(context).person_photos.clear()
        return FINISHED


class _OnAdapter(OnAvatar):
    """An operator on one adapter of an avatar, by default its last one."""

    adapter: StringProperty(name="Adapter", description="Name of the adapter; empty for the last one", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        from ..adapters import has_adapters

        if any(has_adapters(avatar) for avatar in api.avatars(context.scene)):
            return True
        cls.poll_message_set("No avatar has adapters: personalize one first")
        return False

    def named(self, avatar: bpy.types.Collection) -> str:
        """The adapter that is meant."""
        from ..adapters import listed

        return self.adapter or next((each.name for each in reversed(listed(avatar))), "")


class LOOKALIKE_OT_switch_adapter(_OnAdapter, Operator):
    """Switch the adapter on or off; with all off, the avatar is as it was before"""

    bl_idname = "lookalike.switch_adapter"
    bl_label = "Switch Adapter"
    bl_options = {"REGISTER", "UNDO"}

    state: EnumProperty(
        name="State",
        description="What the adapter shall be",
        items=(
            ("TOGGLE", "The Other", "On where it is off, off where it is on"),
            ("ON", "Adapter On", "It shows"),
            ("OFF", "Adapter Off", "It does not show"),
        ),
    )

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        avatar = self.chosen()
        name = self.named(avatar)
        on = api.switch_adapter(avatar, name, None if self.state == "TOGGLE" else self.state == "ON")
        return self.tell("{name} is on" if on else "{name} is off", name=name)


class LOOKALIKE_OT_merge_adapter(_OnAdapter, Operator):
    """Make the adapter part of the avatar for good, whether it is on or off; it cannot be switched any more"""

    bl_idname = "lookalike.merge_adapter"
    bl_label = "Merge Adapter"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        avatar = self.chosen()
        name = self.named(avatar)
        api.merge_adapter(avatar, name)
        return self.tell("{name} is part of the avatar now", name=name)


class LOOKALIKE_OT_remove_adapter(_OnAdapter, Operator):
    """Take the adapter out of the avatar, which is then as without it"""

    bl_idname = "lookalike.remove_adapter"
    bl_label = "Remove Adapter"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        avatar = self.chosen()
        name = self.named(avatar)
        api.remove_adapter(avatar, name)
        return self.tell("Removed {name}", name=name)


class LOOKALIKE_OT_save_adapter(_OnAdapter, ToFile, Operator):
    """Write the adapter to a file of its own, by default beside the .blend; it stays in the avatar too"""

    bl_idname = "lookalike.save_adapter"
    bl_label = "Save Adapter"
    bl_options = {"REGISTER"}

    filename_ext = ".safetensors"
    filter_glob: StringProperty(default="*.safetensors", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        avatar = api.active_avatar(context)
        if not self.filepath and avatar is not None:
            self.filepath = bpy.path.clean_name(f"{avatar.name} {self.named(avatar)}") + self.filename_ext
        context.window_manager.fileselect_add(self)
        return RUNNING

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        avatar = self.chosen()
        return self.tell("Wrote {path}", path=api.save_adapter(avatar, self.named(avatar), self.target()))


class LOOKALIKE_OT_load_adapter(OnAvatar, ImportHelper, Operator):
    """Add an adapter that was saved from this avatar"""

    bl_idname = "lookalike.load_adapter"
    bl_label = "Load Adapter"
    bl_options = {"REGISTER", "UNDO"}

    filename_ext = ".safetensors"
    filter_glob: StringProperty(default="*.safetensors", options={"HIDDEN"})

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        name = api.load_adapter(self.chosen(), Path(bpy.path.abspath(self.filepath)))
        return self.tell("{name} is on", name=name)


CLASSES = (
    LOOKALIKE_OT_personalize,
    LOOKALIKE_OT_stop_personalizing,
    LOOKALIKE_OT_add_person_photos,
    LOOKALIKE_OT_remove_person_photo,
    LOOKALIKE_OT_clear_person_photos,
    LOOKALIKE_OT_switch_adapter,
    LOOKALIKE_OT_merge_adapter,
    LOOKALIKE_OT_remove_adapter,
    LOOKALIKE_OT_save_adapter,
    LOOKALIKE_OT_load_adapter,
)
