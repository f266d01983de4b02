"""Start, stop and repeat reconstructions."""

from __future__ import annotations

import bpy
from bpy.props import IntProperty, StringProperty
from bpy.types import Operator

from .. import api
from ..client import personalizing
from ..translations import said
from ..ui import choices
from ..ui.properties import session
from .reporting import reported


class LOOKALIKE_OT_create(Operator):
    """Reconstruct an avatar from the photos in the list; Blender stays free to work in while it runs"""

    bl_idname = "lookalike.create"
    bl_label = "Create Avatar"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not session(context).photos:
            cls.poll_message_set("Add a photo first")
            return False
        return True

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        state = session(context)
        api.create(
            [photo.path for photo in state.photos],
            faces=[photo.face if photo.face >= 0 else None for photo in state.photos],
            name=state.avatar_name,
            consent=state.consent,
            model=choices.chosen(state.model),
            rig=choices.chosen_rig(state),
            wait=bpy.app.background,  # a script without a window has nothing else to do, and no timers
        )
        return {"FINISHED"}


class _OnJob:
    """An operator on one job of the panel."""

    job: StringProperty(name="Job", description="The job's id", options={"HIDDEN", "SKIP_SAVE"})


class LOOKALIKE_OT_cancel_job(_OnJob, Operator):
    """Stop this job; what it has built so far is removed"""

    bl_idname = "lookalike.cancel_job"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """A personalization keeps its best so far, and is dropped when it is stopped again."""
        job = session(context).jobs.get(properties.job)
        if job is None or job.kind != personalizing.KIND:
            return said("Stop this job; what it has built so far is removed")
        if job.state == "CANCELLING":
            return said("Drop this job at once; the avatar stays as it was")
        return said("Stop this job and keep the best so far")

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.cancel(self.job)
        return {"FINISHED"}


class LOOKALIKE_OT_retry_job(_OnJob, Operator):
    """Do this job again with the same photos and settings"""

    bl_idname = "lookalike.retry_job"
    bl_label = "Retry"
    bl_options = {"INTERNAL"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.retry(self.job)
        return {"FINISHED"}


class LOOKALIKE_OT_choose_face(_OnJob, Operator):
    """Create the avatar from this face"""

    bl_idname = "lookalike.choose_face"
    bl_label = "Choose Face"
    bl_options = {"INTERNAL"}

    face: IntProperty(name="Face", description="Position in the list of faces", min=0, options={"HIDDEN", "SKIP_SAVE"})

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.choose_face(self.job, self.face)
        return {"FINISHED"}


class LOOKALIKE_OT_dismiss_error(_OnJob, Operator):
    """Take this job out of the panel"""

    bl_idname = "lookalike.dismiss_error"
    bl_label = "Dismiss"
    bl_options = {"INTERNAL"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.dismiss(self.job)
        return {"FINISHED"}


CLASSES = (
    LOOKALIKE_OT_create,
    LOOKALIKE_OT_cancel_job,
    LOOKALIKE_OT_retry_job,
    LOOKALIKE_OT_choose_face,
    LOOKALIKE_OT_dismiss_error,
)
